"""What a strategy's training step costs over plain training of the same model, on ml-100k.

    python benchmarks/strategies.py [--pairs=9] [--steps=4] [--model=LightGCN] [--fair_group=pop]

Each strategy's steps and the plain steps of a model of its own run over the same batches, in interleaved pairs in one
process; printed are the ratio of the medians, the spread of the paired ratios and the number of groups. What to
expect: Reweight and DRORec weigh samples (about 1 x); MultiFR and PopDRO take a gradient a group, ITFR a gradient
and a second forward and backward pass a group.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from train_step import paired

from recbole_fair.runner import _Run
from recbole_fair.settings.config import Config

STRATEGIES = ("Reweight", "DRORec", "MultiFR", "PopDRO", "ITFR")


def steps_of(model: str, folder: str, steps: int, keys: dict[str, str]) -> tuple[Callable[[], None], int]:
    """`steps` training steps of a run of ours, and over how many groups."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    overrides = {"run_dir": folder, **keys}
    data, trainer = _Run(Config(model, "ml-100k", overrides=overrides), quiet=True, on_epoch=None).prepare()
    batches = [batch for batch, _ in zip(data.train, range(steps), strict=False)]

    def train() -> None:
        trainer.model.train()
        for batch in batches:
            if trainer.strategy is not None:
                trainer._step(trainer.strategy, batch, "benchmark")
                continue
            trainer.optimizer.zero_grad()
            trainer.model.calculate_loss(batch).backward()
            trainer.optimizer.step()

    return train, len(trainer.strategy.view.groups.names) if trainer.strategy else 0


def main(pairs: int, steps: int, model: str, fair_group: str) -> None:
    """One line a strategy."""
    for strategy in STRATEGIES:
        with tempfile.TemporaryDirectory() as folder:
            plain, _ = steps_of(model, f"{folder}/plain", steps, {})
            fair, groups = steps_of(f"{strategy}{model}", f"{folder}/fair", steps, {"fair_group": fair_group})
            ratio, ratios = paired(fair, plain, pairs)
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(
            f"{strategy}{model} step / plain, {groups} groups of {fair_group}: {ratio:.2f} x (pairs {spread})",
            flush=True,
        )


if __name__ == "__main__":
    given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    main(
        int(given.get("pairs", 9)),
        int(given.get("steps", 4)),
        given.get("model", "LightGCN"),
        given.get("fair_group", "pop"),
    )
