"""`most_steps`: batches grow with the data, so that an epoch has no more steps than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recbole_fair import run
from recbole_fair.errors import UsageError
from recbole_fair.runner import _Run, open_run
from recbole_fair.settings.config import Config


def loader_of(keys: dict[str, Any]) -> Any:
    """The training loader that a run with these keys learns from."""
    keys = dict(keys)
    folder = Path(keys["run_dir"])
    folder.mkdir()
    data, _ = _Run(Config(keys.pop("model"), keys.pop("dataset"), overrides=keys), quiet=True, on_epoch=None).prepare()
    return data.train


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "SASRec"])
def test_an_epoch_has_at_most_so_many_steps_over_the_same_rows(toy: Any, tmp_path: Path, model: str) -> None:
    free = loader_of(toy(model, run_dir=str(tmp_path / "free"), train_batch_size=8))
    bound = loader_of(toy(model, run_dir=str(tmp_path / "bound"), train_batch_size=8, most_steps=5))
    assert len(free) > 5 == len(bound)
    assert bound.config["train_batch_size"] == 8, "the run's own key is as it was given"
    assert bound.growth == bound.step / 8 > 1
    rows = [sorted(int(item) for batch in each for item in batch["item_id"]) for each in (free, bound)]
    assert rows[0] == rows[1]


class StopError(Exception):
    """Stands for whatever ends a process between two epochs."""


def test_the_rate_grows_with_the_batches_and_not_again_when_resumed(toy: Any, tmp_path: Path) -> None:
    keys = {"train_batch_size": 8, "most_steps": 5, "learning_rate": 0.01, "epochs": 3}

    def stop(epoch: int, score: float) -> None:
        if epoch == 1:
            raise StopError

    whole = run(**toy("MF", **keys, run_dir=str(tmp_path / "whole")))
    with pytest.raises(StopError):
        run(**toy("MF", **keys, run_dir=str(tmp_path / "again")), on_epoch=stop)
    run(**toy("MF", **keys, run_dir=str(tmp_path / "again"), resume=True))
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "again")]
    assert weights[0] == weights[1]
    _, data, trainer = open_run(Path(whole.run_dir))
    trainer._start_schedule(data.train)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * data.train.growth)


def test_fewer_steps_than_that_are_left_alone(toy: Any, tmp_path: Path) -> None:
    free = loader_of(toy("BPR", run_dir=str(tmp_path / "free"), train_batch_size=512))
    assert len(free) == len(loader_of(toy("BPR", run_dir=str(tmp_path / "b"), train_batch_size=512, most_steps=5000)))


def test_a_model_with_batches_of_its_own_refuses(toy: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="most_steps=5: P5 makes batches of its own; give train_batch_size"):
        loader_of(toy("P5", run_dir=str(tmp_path / "p5"), most_steps=5))
