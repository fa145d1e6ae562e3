"""What a prompt may show of a user: never the row that is asked, its label, or what is judged later."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from recbole_fair.data.identity import PHASES
from recbole_fair.data.load import load
from recbole_fair.data.prompts import Timelines, prompt_inputs
from recbole_fair.models.llm.pairs import PairPrompts
from recbole_fair.models.p5.model import P5
from recbole_fair.settings.config import Config

TRAIN, VALID, TEST = range(len(PHASES))


def line(items: list[int], phases: list[int]) -> Timelines:
    """One user, 0, with these interactions."""
    ends = np.array([0, len(items)])
    return Timelines(ends, np.array(items), np.ones(len(items), dtype=bool), None, np.array(phases))


def p5_history(lines: Timelines, *candidates: int) -> list[int]:
    model = cast(Any, SimpleNamespace(wording=SimpleNamespace(timelines=lines)))
    model._known = lambda user, phase: P5._known(model, user, phase)
    return P5._known_before_judged(model, 0, list(candidates)).tolist()


def pair_history(lines: Timelines, item: int, until: str = "judged", targets: int | None = None) -> list[int]:
    prompts = SimpleNamespace(inputs=SimpleNamespace(timelines=lines), until=until, targets=targets)
    return PairPrompts._before(cast(Any, prompts), 0, item).tolist()


def test_p5_does_not_show_a_target_that_the_user_has_met_in_training() -> None:
    lines = line([5, 7, 8, 5], [TRAIN, TRAIN, VALID, TEST])
    assert p5_history(lines, 5, 2, 3) == [5, 7, 8]
    assert p5_history(lines, 8, 2, 3) == [5, 7]


def test_p5_shows_nothing_of_a_user_who_is_judged_alone() -> None:
    assert p5_history(line([5, 7], [TEST, TEST]), 7, 2) == []
    assert p5_history(line([5, 7], [VALID, TEST]), 5, 2) == []


@pytest.mark.parametrize("until", ["judged", "target"])
def test_a_pair_that_comes_again_in_test_is_asked_without_its_validation_row(until: str) -> None:
    assert pair_history(line([5, 8, 8], [TRAIN, VALID, TEST]), 8, until) == [0]
    assert pair_history(line([5, 8, 5], [TRAIN, VALID, TEST]), 5, until) == [0, 1], "a training row may be shown"


def test_a_new_user_shows_what_came_before_the_judged_rows() -> None:
    assert pair_history(line([5, 7, 8, 9], [TEST] * 4), 9, targets=2) == [0, 1]
    assert pair_history(line([5, 7, 8, 9], [TEST] * 4), 6, targets=2) == [0, 1]


def test_in_a_random_order_a_prompt_shows_rows_of_no_later_part() -> None:
    lines = line([1, 2, 3, 4, 5], [TEST, TRAIN, VALID, TRAIN, TEST])
    assert lines.before(0, 3).tolist() == [1]
    assert pair_history(lines, 3, "target") == [1]
    assert pair_history(lines, 5, "target") == [0, 1, 2, 3]
    assert pair_history(lines, 3) == [1, 3]


SPLITS: dict[str, dict[str, Any]] = {
    "RS": {"eval_args": {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO"}},
    "LS": {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"}},
    "US": {"eval_args": {"split": {"US": [0.6, 0.2, 0.2]}, "order": "TO"}},
    "WS": {"eval_args": {"split": {"WS": [8, 1, 1]}, "order": "RO"}, "window": 5, "windows": 200, "history_length": 4,
           "history_until": "target"},
}  # fmt: skip


@pytest.mark.parametrize("split", SPLITS)
def test_where_a_split_goes_by_time_or_by_windows_all_that_came_before_is_shown(
    split: str, toy: Callable[..., dict[str, Any]]
) -> None:
    config = Config(overrides=toy("MoS", likes="[4,inf)", valid_metric="AUC", **SPLITS[split]))
    data = load(config)
    lines = prompt_inputs(config, data).timelines
    rows, users = np.arange(len(lines.items)), lines.users()
    for row in lines.learnt().tolist():
        assert lines.before(users[row], row).tolist() == list(range(lines.starts[users[row]], row))
    for user, item in zip(*data.pairs("test"), strict=True):
        row = int(np.flatnonzero((users == user) & (lines.items == item))[0])
        earlier = rows[(users == user) & (lines.phases < TEST)]
        assert lines.judged_row(user, [item]) == row
        assert lines.known_before(user, "test").tolist() == earlier.tolist()
        assert lines.before(user, row).tolist() == list(range(lines.starts[user], row))
