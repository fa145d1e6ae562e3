"""Training speed against doing without this package.

    python benchmarks/train_step.py [--pairs=9]

1. LightGCN: an epoch of ours against an epoch of RecBole's own Trainer on its own data loader, both on ml-100k with
   the same split (goal: <= 1.05 x).
2. AlphaRec: a training step of ours against a bare PyTorch loop with the same formulas and batch (goal: <= 1.1 x).

Pairs are interleaved in one process; the ratio of their medians is printed, with the spread of the paired ratios.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch.nn import functional

from recbole_fair.host import HostConfig, Trainer, create_samplers, get_dataloader, init_seed
from recbole_fair.runner import _Run
from recbole_fair.settings.config import Config
from recbole_fair.training.trainer import FairTrainer


def paired(
    ours: Callable[[], None], theirs: Callable[[], None], pairs: int, clock: Callable[[], float] = perf_counter
) -> tuple[float, list[float]]:
    """Ratio of medians ours / theirs, and the ratio of each pair; which side goes first alternates."""
    ours(), theirs()  # a warm-up of each
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for pair in range(pairs):
        sides = [("ours", ours), ("theirs", theirs)]
        for name, side in sides if pair % 2 else reversed(sides):
            start = clock()
            side()
            seconds[name].append(clock() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = [mine / other for mine, other in zip(seconds["ours"], seconds["theirs"], strict=True)]
    return medians["ours"] / medians["theirs"], ratios


def prepared(model: str, folder: str) -> tuple[object, FairTrainer]:
    """Data and trainer of a run of ours, before its first epoch."""
    work = _Run(Config(model, "ml-100k", overrides={"run_dir": folder}), quiet=True, on_epoch=None)
    Path(folder).mkdir(parents=True, exist_ok=True)
    return work.prepare()


def lightgcn(pairs: int) -> None:
    """Ours against the host's trainer."""
    from recbole.data import create_dataset
    from recbole.model.general_recommender import LightGCN

    with tempfile.TemporaryDirectory() as folder:
        data, ours = prepared("LightGCN", f"{folder}/ours")
        sys.argv = sys.argv[:1]
        keys = {
            "eval_args": {"split": {"RS": [0.4, 0.3, 0.3]}, "order": "TO", "group_by": "user", "mode": "full"},
            **{key: ours.config[key] for key in ("learning_rate", "n_layers", "reg_weight", "train_batch_size")},
            "checkpoint_dir": folder, "metrics": ["Recall", "NDCG", "Hit", "MRR", "Precision"],
        }  # fmt: skip
        config = HostConfig(model=LightGCN, dataset="ml-100k", config_dict=keys)
        init_seed(config["seed"], config["reproducibility"])
        dataset = create_dataset(config)
        parts = dataset.build()
        loader = get_dataloader(config, "train")(
            config, parts[0], create_samplers(config, dataset, parts)[0], shuffle=True
        )
        theirs = Trainer(config, LightGCN(config, loader.dataset).to(config["device"]))
        ratio, ratios = paired(lambda: ours._train_epoch(data.train, 0), lambda: theirs._train_epoch(loader, 0), pairs)
    spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
    print(f"LightGCN epoch, ours / RecBole's trainer: {ratio:.3f} x (pairs {spread}; goal <= 1.05)")


def alpharec(pairs: int, steps: int = 5) -> None:
    """Ours against the formulas written down straight."""
    with tempfile.TemporaryDirectory() as folder:
        data, trainer = prepared("AlphaRec", folder)
        model, batches = trainer.model, [batch for batch, _ in zip(data.train, range(steps), strict=False)]
        bare = bare_loop(model, data.train.dataset.inter_matrix(form="csr"))

        def step() -> None:
            model.train()
            for batch in batches:
                trainer.optimizer.zero_grad()
                model.calculate_loss(batch).backward()
                trainer.optimizer.step()

        ratio, ratios = paired(step, lambda: [bare(batch) for batch in batches], pairs)
    print(f"AlphaRec step, ours / bare loop: {ratio:.3f} x (pairs {min(ratios):.2f}-{max(ratios):.2f}; goal <= 1.1)")


def bare_loop(model: torch.nn.Module, interactions: object) -> Callable[[object], None]:
    """AlphaRec's step in plain PyTorch: dense gathers where they are cheap, a seen-table for the negatives."""
    projector = torch.nn.Sequential(*[type(layer)(*_shape(layer)) for layer in model.projector])
    optimizer = torch.optim.Adam(projector.parameters(), lr=5e-4)
    vectors, history, adjacency = model.item_vectors, model.history, model.adjacency
    users, items = interactions.shape
    seen = torch.from_numpy(np.asarray((interactions != 0).todense()))

    def step(batch: object) -> None:
        user, positive = batch["user_id"], batch["item_id"]
        negative = torch.randint(1, items, (len(user), 256))
        for _ in range(64):
            row, column = seen[user[:, None], negative].nonzero(as_tuple=True)
            if not len(row):
                break
            negative[row, column] = torch.randint(1, items, (len(row),))
        nodes = torch.cat([projector(history @ vectors), projector(vectors)])
        layer = nodes
        for _ in range(model.layers):
            layer = adjacency @ layer
            nodes = nodes + layer
        nodes = functional.normalize(nodes / (model.layers + 1), dim=-1)
        scores = nodes[:users][user] @ nodes[users:].T / 0.15
        logits = torch.cat([scores.gather(1, positive[:, None]), scores.gather(1, negative)], 1)
        optimizer.zero_grad()
        functional.cross_entropy(logits, torch.zeros(len(user), dtype=torch.long)).backward()
        optimizer.step()

    return step


def _shape(layer: torch.nn.Module) -> tuple[int, ...]:
    return (layer.in_features, layer.out_features) if isinstance(layer, torch.nn.Linear) else ()


if __name__ == "__main__":
    count = int(next((word.split("=")[1] for word in sys.argv[1:] if word.startswith("--pairs=")), 9))
    lightgcn(count)
    alpharec(count)
