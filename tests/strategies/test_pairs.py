"""Every strategy with every kind of model: it trains, or is refused before training with the reason."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_fair import registry, run
from recbole_fair.errors import TrainingError, UsageError
from recbole_fair.runner import _Run
from recbole_fair.settings.config import Config
from recbole_fair.strategies.base import total
from recbole_fair.strategies.samples import keep_sample_losses, mean
from recbole_fair.training.trainer import FairTrainer

Toy = Callable[..., dict[str, Any]]

STRATEGIES = ("Reweight", "MultiFR", "PopDRO", "DRORec", "ITFR")
TRAINED = ("AlphaRec", "Linear", "LightGCN", "SGL", "MF", "SASRec", "SimpleX", "NeuMF")
# Each strategy with three models and each model with one strategy at least; the other pairs take long and show little.
OFTEN = {
    ("Reweight", "AlphaRec"), ("Reweight", "SGL"), ("Reweight", "NeuMF"), ("MultiFR", "LightGCN"),
    ("MultiFR", "SASRec"), ("MultiFR", "NeuMF"), ("PopDRO", "Linear"), ("PopDRO", "SASRec"), ("PopDRO", "SimpleX"),
    ("DRORec", "MF"), ("DRORec", "SGL"), ("DRORec", "AlphaRec"), ("ITFR", "AlphaRec"), ("ITFR", "LightGCN"),
    ("ITFR", "SimpleX"),
}  # fmt: skip
PAIRS = [pytest.param(*pair, marks=[] if pair in OFTEN else pytest.mark.slow) for pair in product(STRATEGIES, TRAINED)]
REFUSED = {"EASE": "solved in closed form", "MultVAE": "no losses per sample", "BERT4Rec": "no losses per sample"}


def test_the_pairs_of_the_default_run_leave_out_nobody() -> None:
    strategies, models = map(set, zip(*OFTEN, strict=True))
    assert (strategies, models) == (set(STRATEGIES), set(TRAINED))


@pytest.mark.parametrize(("strategy", "model"), PAIRS)
def test_a_pair_trains(strategy: str, model: str, run_toy: Callable[..., Any]) -> None:
    result = run_toy(f"{strategy}{model}", epochs=1, fair_group="gender*genre", stopping_step=0)
    assert (result.status, result.strategy) == ("ok", strategy)
    assert "F*noir, M*comic, M*drawn" in result.warnings[0], "groups that nobody is in are named"
    rows = [line.split(",") for line in (Path(result.run_dir) / "history.csv").read_text().splitlines()]
    logged = {name: float(value) for epoch, name, value in rows[1:]}
    assert np.isfinite(logged["loss"])
    if strategy in ("PopDRO", "DRORec", "ITFR"):
        weights = [logged[f"weight[{group}]"] for group in ("F*comic", "F*drawn", "M*noir")]
        assert sum(weights) == pytest.approx(1, abs=1e-4) and min(weights) > 0


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "Reweight"])
def test_a_strategy_learns_what_was_planted(strategy: str, run_toy: Callable[..., Any]) -> None:
    """Reweight does in tests/models."""
    keys = {"epochs": 8, "learning_rate": 0.05, "fair_group": "genre", "stopping_step": 100}
    assert run_toy(f"{strategy}MF", **keys).test["recall@5"] >= 0.9


def test_a_result_says_that_there_was_no_trend_to_follow(run_toy: Callable[..., Any]) -> None:
    columns = {"inter": ["user_id", "item_id"], "item": ["item_id", "genre"]}
    split = {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "RO"}
    result = run_toy("PopDROMF", load_col=columns, eval_args=split, user_groups=[], item_text=None, epochs=1)
    assert any("no timestamps" in warning for warning in result.warnings)


@pytest.mark.parametrize("model", REFUSED)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_pair_is_refused_before_training(strategy: str, model: str, toy: Toy) -> None:
    keys = toy(f"{strategy}{model}")
    with pytest.raises(UsageError, match=REFUSED[model]):
        run(**keys)
    assert not (Path(keys["run_dir"]) / "run.json").exists(), "nothing is left to remove by hand"


def test_every_strategy_has_its_row_properties_and_reference() -> None:
    from recbole_fair.settings import yamls

    assert set(STRATEGIES) <= set(registry.STRATEGIES)
    references = yamls.packaged("references.yaml")
    for name in STRATEGIES:
        assert yamls.packaged(f"strategy/{name}.yaml")["fair_weight"] > 0
        assert registry.STRATEGIES[name].cite in references


# --- losses per sample


@pytest.mark.parametrize("model", [*TRAINED, "ConvNCF", "NGCF", "FISM", "TransRec", "GRU4Rec", "DGCF"])
def test_the_mean_of_the_samples_is_the_hosts_own_loss(model: str, toy: Toy) -> None:
    work = _Run(Config(overrides=toy(model)), quiet=True, on_epoch=None)
    found, trainer = work.prepare()
    trainer.model.train()
    batch = next(iter(found.train))

    def loss_and_gradients() -> list[torch.Tensor]:
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        trainer.model.zero_grad()
        loss, _ = total(trainer.model.calculate_loss(batch))
        loss.backward()
        return [loss.detach().view(()), *(p.grad.clone() for p in trainer.model.parameters() if p.grad is not None)]

    untouched = loss_and_gradients()
    kept = keep_sample_losses(trainer.model, mean, lambda batch: (batch["user_id"], batch["item_id"]))
    for mine, host in zip(loss_and_gradients(), untouched, strict=True):
        torch.testing.assert_close(mine, host, rtol=1e-4, atol=1e-6)
    assert kept.samples is not None and kept.samples.losses.dim() == 1
    kept.reduction = lambda samples: 2 * samples.losses.mean()
    assert loss_and_gradients()[0] > untouched[0] * 1.2, "the reduction enters the loss"


# --- what goes on after a kill, and what stops a run


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "Reweight"])
def test_a_strategy_is_resumed_exactly(strategy: str, toy: Toy, tmp_path: Path) -> None:
    whole = run(**toy(f"{strategy}MF", epochs=4, run_dir=str(tmp_path / "whole")))

    def stop(epoch: int, score: float) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(**toy(f"{strategy}MF", epochs=4), on_epoch=stop)
    resumed = run(**toy(f"{strategy}MF", epochs=4, resume=True))
    assert (resumed.test, resumed.valid) == (whole.test, whole.valid)
    histories = [(Path(result.run_dir) / "history.csv").read_text() for result in (whole, resumed)]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_gradient_that_is_not_finite_stops_the_run_by_its_group(strategy: str, toy: Toy, monkeypatch: Any) -> None:
    """The losses stay finite; only what flows back to the men's vectors breaks, in the second epoch."""
    epoch_of = FairTrainer._strategy_epoch

    def breaking(self: Any, method: Any, loader: Any, epoch: int) -> float:
        if epoch == 1:
            men = torch.from_numpy(method.view.groups.user[:, 1])
            weight = self.model.user_embedding.weight
            weight.register_hook(lambda given: given.masked_fill(men[:, None] & (given != 0), float("nan")))
        return epoch_of(self, method, loader, epoch)

    monkeypatch.setattr(FairTrainer, "_strategy_epoch", breaking)
    keys = toy(f"{strategy}MF", epochs=3, fair_group="gender")
    with pytest.raises(TrainingError, match=r"epoch 1, batch \d+: .*(not finite|nan) \(from group M of gender"):
        run(**keys)
    folder = Path(keys["run_dir"])
    assert (folder / "model.safetensors").exists(), "the best epoch so far is kept"
    assert '"status": "failed"' in (folder / "result.json").read_text()


def test_a_loss_that_is_not_finite_is_traced_to_its_group(toy: Toy) -> None:
    work = _Run(Config(overrides=toy("DRORecMF", fair_group="gender")), quiet=True, on_epoch=None)
    found, trainer = work.prepare()
    women = torch.from_numpy(trainer.strategy.view.groups.user[:, 0])
    trainer.model.user_embedding.weight.data[women] = float("nan")

    class OnAnotherDevice:
        """A batch of which nothing can be read before it is moved."""

        def to(self, device: torch.device) -> Any:
            return next(iter(found.train))

    with (
        torch.autograd.set_detect_anomaly(False),  # an import of RecBole's may have left it on, see docs/traps.md
        pytest.raises(TrainingError, match=r"here: loss is nan \(from group F of gender\)"),
    ):
        trainer._step(trainer.strategy, OnAnotherDevice(), "here")


def test_losses_of_something_else_than_the_rows_are_refused(toy: Toy, monkeypatch: Any) -> None:
    from recbole_fair.models import losses

    def fewer(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        return losses.bpr(positive, negative)[:3]

    monkeypatch.setattr("recbole_fair.strategies.samples._MODULES", {"BPRLoss": (fewer, False)})
    with pytest.raises(UsageError, match="3 losses for a batch of 64 rows"):
        run(**toy("DRORecMF", epochs=1))


@pytest.mark.parametrize(
    ("strategy", "key", "value"),
    [
        ("ITFR", "sharpness_radius", 1.5),
        ("ITFR", "sharpness_radius", -0.1),
        ("ITFR", "loss_power", -1.0),
        ("ITFR", "group_step", 11.0),
        ("DRORec", "group_step", -0.01),
        ("DRORec", "loss_smoothing", 0.0),
        ("PopDRO", "periods", 0),
        ("PopDRO", "popularity_strength", 21.0),
        ("PopDRO", "trend_strength", 1.1),
        ("MultiFR", "solver_steps", 0),
        ("MultiFR", "fair_weight", 1.1),
    ],
)
def test_values_out_of_bounds_are_refused(strategy: str, key: str, value: float, toy: Toy) -> None:
    with pytest.raises(UsageError, match=f"{key}={value!r}: out of bounds"):
        Config(overrides=toy(f"{strategy}MF", **{key: value}))
