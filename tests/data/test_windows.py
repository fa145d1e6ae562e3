"""A split of windows: seeded, stratified by group, the same for a file in another order; what it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_fair import run
from recbole_fair.data.identity import PHASES
from recbole_fair.data.load import load
from recbole_fair.data.prompts import prompt_inputs
from recbole_fair.errors import UsageError
from recbole_fair.models.llm.stereotype_prompts import asked
from recbole_fair.runner import open_run
from recbole_fair.settings.config import Config

Toy = Callable[..., dict[str, Any]]
WINDOWS: dict[str, Any] = {
    "eval_args": {"split": {"WS": [8, 1, 1]}}, "window": 5, "windows": 200, "history_length": 4,
    "history_until": "target", "likes": "[4,inf)", "valid_metric": "AUC", "sf_z": 0.85,
}  # fmt: skip


def config_of(toy: Toy, **more: Any) -> Config:
    return Config(overrides=toy("MoS", **{**WINDOWS, **more}))


def named(config: Config) -> dict[str, set[tuple[str, str]]]:
    loaded = load(config)
    users, items = loaded.names("user"), loaded.names("item")
    return {
        phase: {(users[u], items[i]) for u, i in zip(*loaded.pairs(phase), strict=True)} for phase in ("valid", "test")
    }


def test_windows_are_split_eight_to_one_to_one_within_each_group(toy: Toy) -> None:
    config = config_of(toy)
    loaded = load(config)
    inputs = prompt_inputs(config, loaded)
    lines = inputs.timelines
    counts = {phase: len(loaded.parts[phase]) for phase in PHASES}
    learnt, held_out = lines.learnt(), counts["valid"] + counts["test"]
    assert len(learnt) + held_out == 200 and held_out == pytest.approx(40, abs=4)
    assert counts["train"] == len(lines.items) - held_out, "the rest of the training part is history alone"
    gender = inputs.attributes["gender"].of_user[lines.users()]
    for g in (0, 1):
        held = [int((gender[lines.phases == PHASES.index(phase)] == g).sum()) for phase in ("valid", "test")]
        drawn = int((gender[learnt] == g).sum()) + sum(held)
        assert held == pytest.approx([drawn / 10, drawn / 10], abs=1)
    starts = lines.starts[lines.users()]
    targets = np.concatenate([learnt, np.flatnonzero(lines.phases > 0)])
    assert (targets - starts[targets] >= 4).all(), "each window is full"
    assert (asked(config, inputs).rows[:, None] == learnt).any(1).all()


def test_the_draw_depends_on_the_split_seed_alone(toy: Toy, toy_root: Path, tmp_path: Path) -> None:
    one = named(config_of(toy))
    assert named(config_of(toy, seed=7)) == one
    assert named(config_of(toy, split_seed=7)) != one
    shuffled = tmp_path / "toy"
    shuffled.mkdir()
    for path in (toy_root / "toy").iterdir():
        head, *body = path.read_text().splitlines()
        np.random.default_rng(0).shuffle(body)
        (shuffled / path.name).write_text("\n".join([head, *body]) + "\n")
    assert named(config_of(toy, data_path=str(tmp_path))) == one


def test_a_run_on_windows_shows_only_what_came_before_the_target(toy: Toy) -> None:
    more = {"epochs": 1, "tiny_width": 16, "tiny_layers": 1, "tiny_vocabulary": 400, "bootstrap": 0}
    result = run(**toy("MoS-Base", **WINDOWS, **more))
    _, data, trainer = open_run(Path(result.run_dir))
    prompts, lines = trainer.model.prompts, trainer.model.inputs.timelines
    assert result.prompts["training"] == len(lines.learnt()) < result.prompts["training"] * 1.1
    for user, item in list(data.test.labels)[:5]:
        row = lines.judged_row(user, [item])
        assert (prompts.shown(user, row) == np.arange(row - 4, row)).all()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"windows": 100_000}, r"windows=100000: there are 300 windows"),
        ({"windows": 1}, "part is empty"),
        ({"window": None}, "give window"),
        ({"history_length": 10}, "history_length=4"),
        ({"history_until": "judged"}, "history_until=target"),
        ({"eval_args": {"split": {"WS": [8, 1]}}}, "three"),
        ({"eval_args": {"split": {"WS": [8, 0, 1]}}}, "three"),
        ({"user_groups": []}, "user_groups"),
    ],
)
def test_windows_that_cannot_be_are_refused(more: dict[str, Any], says: str, toy: Toy) -> None:
    with pytest.raises(UsageError, match=says):
        load(config_of(toy, **more))


def test_a_model_without_prompts_is_judged_on_the_same_windows(toy: Toy) -> None:
    keys = {key: value for key, value in WINDOWS.items() if key not in ("history_length", "history_until", "sf_z")}
    config = Config(overrides=toy("MF", **keys, eval_protocol="labeled"))
    assert named(config) == named(config_of(toy))
    assert isinstance(run(**toy("MF", **keys, eval_protocol="labeled", epochs=1)).test["auc"], float)
