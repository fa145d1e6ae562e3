"""Asking a finished run for other figures judges its weights again and trains nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from recbole_fair.rundir.result import Result
from recbole_fair.runner import run
from recbole_fair.training.trainer import FairTrainer

PROBED = {"probe": "gender", "min_class_users": 10, "probe_folds": 2, "probe_repeats": 1, "probe_shuffles": 2,
          "probe_attackers": ["logistic"]}  # fmt: skip


@pytest.fixture
def asked(toy: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`asked(model, **keys)`: a run in the usual place below a fresh folder, and how many epochs it trained."""
    monkeypatch.chdir(tmp_path)
    epochs: list[int] = []
    train = FairTrainer._train_epoch

    def counted(trainer: FairTrainer, *args: Any, **keys: Any) -> Any:
        epochs.append(1)
        return train(trainer, *args, **keys)

    monkeypatch.setattr(FairTrainer, "_train_epoch", counted)

    def ask(model: str, **more: Any) -> tuple[Result, int]:
        epochs.clear()
        keys = {key: value for key, value in toy(model, epochs=3, **more).items() if key != "run_dir"}
        return run(**keys), len(epochs)

    return ask


@pytest.mark.parametrize(
    "other",
    [{"metrics": ["Recall", "NDCG", "ItemCoverage"]}, {"user_groups": ["age"]}, {"topk": [5]}, PROBED],
)
def test_other_figures_of_a_run_train_nothing_and_equal_those_of_a_run_from_scratch(
    asked: Callable[..., Any], tmp_path: Path, other: dict[str, Any]
) -> None:
    first, trained = asked("MF")
    again, none = asked("MF", **other)
    assert (trained, none) == (3, 0)
    assert again.run_dir != first.run_dir
    weights = [load_file(Path(result.run_dir, "model.safetensors")) for result in (first, again)]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
    assert Path(again.run_dir, "history.csv").read_bytes() == Path(first.run_dir, "history.csv").read_bytes()
    Path(first.run_dir).rename(tmp_path / "first")
    Path(again.run_dir).rename(tmp_path / "again")
    scratch, epochs = asked("MF", **other)  # without a neighbour
    assert epochs == 3
    assert (scratch.test, scratch.valid, scratch.group_rows) == (again.test, again.valid, again.group_rows)


@pytest.mark.parametrize("other", [{"learning_rate": 0.02}, {"seed": 7}, {"valid_metric": "Recall@5"}])
def test_other_training_trains(asked: Callable[..., Any], other: dict[str, Any]) -> None:
    asked("MF")
    assert asked("MF", **other)[1] == 3


def test_a_strategy_that_reads_the_groupings_trains_on_others(asked: Callable[..., Any]) -> None:
    asked("ReweightMF", item_groups=["pop"])
    assert asked("ReweightMF", item_groups=["genre", "pop"])[1] == 3
    assert asked("ReweightMF", item_groups=["pop"], metrics=["NDCG"])[1] == 0


def test_a_run_whose_settings_were_edited_is_not_taken(asked: Callable[..., Any]) -> None:
    first, _ = asked("MF")
    path = Path(first.run_dir, "config.yaml")
    path.write_text(path.read_text().replace("train_batch_size: 64", "train_batch_size: 32"))
    assert "train_batch_size: 32" in path.read_text()
    assert asked("MF", topk=[5])[1] == 3


def test_a_folder_asked_for_by_name_is_trained(asked: Callable[..., Any], toy: Callable[..., Any]) -> None:
    asked("MF")
    result = run(**toy("MF", epochs=3, topk=[5]))
    assert "trained already" not in Path(result.run_dir, "run.log").read_text()
