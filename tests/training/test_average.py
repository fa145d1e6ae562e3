"""The running mean of weights, against its formula, and runs that are judged by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_fair import run
from recbole_fair.storage import read_tensors
from recbole_fair.training.average import Average


def test_it_is_the_plain_mean_at_first_and_then_forgets() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    average, expected = Average(model), 0.0
    average.steps_of_epoch = 2
    for step, value in enumerate([4.0, 2.0, 9.0] * 6, start=1):
        torch.nn.init.constant_(model.weight, value)
        average.update()
        share = 1 / step if step < 10 else 1 / 10
        expected = (1 - share) * expected + share * value
        assert float(average.means["weight"]) == pytest.approx(expected, rel=1e-5)
    with average.in_place():
        assert model.weight.item() == pytest.approx(expected, rel=1e-5)
    assert model.weight.item() == 9.0


class StopError(Exception):
    """Stands for whatever ends a process between two epochs."""


@pytest.mark.parametrize("model", ["MF", "SeparateAlphaRec"])
def test_the_means_are_judged_kept_and_resumed(toy: Any, tmp_path: Path, model: str) -> None:
    keys = {"epochs": 6, "average": "ema", **({"fair_group": "genre", "outer_lr": 0.01} if model != "MF" else {})}
    whole = run(**toy(model, **keys, run_dir=str(tmp_path / "whole")))

    def stop(epoch: int, score: float) -> None:
        if epoch == 3:
            raise StopError

    with pytest.raises(StopError):
        run(**toy(model, **keys), on_epoch=stop)
    resumed = run(**toy(model, **keys, resume=True))
    weights = [read_tensors(tmp_path / name / "model.safetensors")[0] for name in ("run", "whole")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert (tmp_path / "run/history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()
    assert resumed.valid == whole.valid, "the weights that were kept are those that were judged"
    plain = run(**toy(model, **{**keys, "average": "none"}, run_dir=str(tmp_path / "plain")))
    assert plain.config_hash != whole.config_hash
    without, _ = read_tensors(tmp_path / "plain" / "model.safetensors")
    assert not all(torch.equal(value, weights[0][name]) for name, value in without.items())


def test_a_run_without_has_the_hash_that_it_had_before_there_was_such_a_key(toy: Any, tmp_path: Path) -> None:
    from recbole_fair.settings.config import Config
    from recbole_fair.settings.digest import config_hash

    config = Config(overrides=toy("MF"))
    former = {key: value for key, value in config.effective.items() if key not in ("average", "drop_unseen")}
    assert config_hash(former, "data") == config.hash("data")
