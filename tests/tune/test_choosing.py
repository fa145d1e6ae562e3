"""Objectives, the Pareto front and what is chosen from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_fair.errors import UsageError
from recbole_fair.tune import objectives
from recbole_fair.tune.choosing import choose, pareto_front

BOTH = {"ndcg@20": "max", "cv@20[pop]": "min"}


def rows(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"ndcg@20": ndcg, "cv@20[pop]": cv} for ndcg, cv in pairs]


def config(metric: str = "NDCG@20", bigger: bool = True) -> Any:
    return {"valid_metric": metric, "valid_metric_bigger": bigger}


gains = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 4), min_size=width, max_size=width), min_size=1, max_size=12)
)


@given(gains)
def test_the_front_is_what_nothing_beats(table: list[list[int]]) -> None:
    expected = [
        not any(
            all(a >= b for a, b in zip(other, row, strict=True)) and any(a > b for a, b in zip(other, row, strict=True))
            for other in table
        )
        for row in table
    ]
    assert pareto_front(np.array(table, float)).tolist() == expected
    assert any(expected)


@given(gains, st.randoms(use_true_random=False))
def test_the_front_does_not_depend_on_the_order(table: list[list[int]], random: Any) -> None:
    order = list(range(len(table)))
    random.shuffle(order)
    front = pareto_front(np.array(table, float))
    assert pareto_front(np.array([table[place] for place in order], float)).tolist() == front[order].tolist()


def test_one_objective_takes_its_best_and_the_earlier_of_two() -> None:
    figures = [{"loss": 0.3}, {"loss": 0.1}, {"loss": 0.1}]
    found = choose(figures, {"loss": "min"})
    assert (found.chosen, found.front) == (1, (1, 2))
    assert found.why == "loss 0.1000 is the best of 3 trials"
    assert choose(figures, {"loss": "max"}).chosen == 0


def test_the_limit_says_what_may_be_given_up() -> None:
    figures = rows((0.50, 0.9), (0.495, 0.6), (0.48, 0.3), (0.49, 0.7))
    limit = objectives.parse_limit("ndcg@20 >= 0.98 * best", BOTH)
    found = choose(figures, BOTH, limit)  # 0.98 * 0.5 = 0.49: the third is out
    assert (found.chosen, found.front) == (1, (0, 1, 2))
    assert "best of the 3 trials with ndcg@20 >= 0.98 * best = 0.4900" in found.why
    assert choose(figures, BOTH, objectives.parse_limit("ndcg@20 >= .4", BOTH)).chosen == 2
    assert choose(figures, BOTH, objectives.parse_limit("cv@20[pop] <= 2*best", BOTH)).chosen == 1
    nothing = choose(figures, BOTH, objectives.parse_limit("cv@20[pop] <= 0.1", BOTH))
    assert nothing.chosen is None
    assert "no trial has cv@20[pop] <= 0.1" in nothing.why


def test_without_a_limit_the_point_nearest_to_the_ideal_is_taken() -> None:
    figures = rows((0.5, 1.0), (0.45, 0.2), (0.1, 0.1), (0.2, 0.9))
    found = choose(figures, BOTH)
    assert (found.chosen, found.front) == (1, (0, 1, 2))
    assert "nearest" in found.why
    assert choose(rows((0.5, 1.0)), BOTH).chosen == 0


@given(
    st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=1, max_size=10),
    st.sampled_from([None, "ndcg@20 >= 0.9 * best", "cv@20[pop] <= 1.1 * best"]),
)
def test_what_is_chosen_lies_on_the_front(pairs: list[tuple[float, float]], limit: str | None) -> None:
    found = choose(rows(*pairs), BOTH, objectives.parse_limit(limit, BOTH))
    assert found.chosen is not None
    chosen = pairs[found.chosen]
    assert any(pairs[place] == chosen for place in found.front)


def test_objectives_default_to_the_figure_that_training_is_stopped_by() -> None:
    assert objectives.parse(None, config()) == {"ndcg@20": "max"}
    assert objectives.parse(None, config("Loss@3", False)) == {"loss@3": "min"}
    assert objectives.parse({"NDCG@20": "max", "cv@20[pop]": "min"}, config()) == BOTH


@pytest.mark.parametrize(
    "wrong", [{}, [], "ndcg@20", {"ndcg@20": "maximum"}, {"ndcg@20": True}, {"ndcg@20": None}, {"a": ["max"]}]
)
def test_refused_objectives(wrong: Any) -> None:
    with pytest.raises(UsageError, match="objectives"):
        objectives.parse(wrong, config())


@pytest.mark.parametrize("wrong", [{"ndcg@20": "min"}, {"cv@20[pop]": "max"}, {"min@20[genre]": "min"}])
def test_the_wrong_direction_of_a_figure_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"would choose the worst; (higher|lower) is better"):
        objectives.parse(wrong, config())


@pytest.mark.parametrize(
    "wrong",
    [
        "", "ndcg@20", "ndcg@20 > 0.9", "ndcg@20 >= best", "ndcg@20 >= 0.98 * best; import os", "ndcg@20 >= -1 * best",
        "recall@20 >= 0.9 * best", "ndcg@20 <= 0.9 * best", "cv@20[pop] >= 0.3", "__import__('os') >= 1",
        "ndcg@20 >= 1e999 ** 9", 5, ["ndcg@20 >= 1"],
    ],
)  # fmt: skip
def test_refused_limits(wrong: Any) -> None:
    with pytest.raises(UsageError, match="constraint"):
        objectives.parse_limit(wrong, BOTH)


def test_a_limit_needs_something_else_to_choose_by() -> None:
    with pytest.raises(UsageError, match="several objectives"):
        objectives.parse_limit("ndcg@20 >= 0.9 * best", {"ndcg@20": "max"})
