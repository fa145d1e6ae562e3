"""BiFair at the size of Amazon Books: 100,000 items, 50,000 users, 3 million interactions, vectors of 4096 numbers.

    python benchmarks/bifair_large.py [--steps=10] [--outer_every=10] [--items=100000] ...

Prints the peak memory of the process (goal: <= 16 GB on a CPU) and seconds a step, beside AlphaRec's; on CUDA also the
time of an epoch. Interactions and vectors are made up, popularity is skewed; nothing is read from disk.
"""

from __future__ import annotations

import resource
import sys
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_fair.groups.membership import popularity
from recbole_fair.groups.pairs import of_pairs
from recbole_fair.host import Interaction
from recbole_fair.models.alpharec import AlphaRec
from recbole_fair.strategies.base import TrainingView
from recbole_fair.strategies.bifair.method import BiFair

SIZES = {"steps": 10, "outer_every": 10, "items": 100_000, "users": 50_000, "interactions": 3_000_000, "width": 4096}


class MadeUp:
    """As much of a RecBole data set as AlphaRec reads."""

    def __init__(self, size: dict[str, int]) -> None:
        draw = np.random.default_rng(0)
        self.size = size["users"] + 1, size["items"] + 1
        users = draw.integers(1, self.size[0], size["interactions"])
        items = 1 + (draw.power(0.4, size["interactions"]) * size["items"]).astype(np.int64)
        items = np.minimum(items, size["items"])
        pairs = sp.coo_matrix((np.ones(len(users), np.float32), (users, items)), shape=self.size).tocsr()
        pairs.data[:] = 1
        self.matrix = pairs.tocoo()

    def inter_matrix(self, form: str) -> Any:
        """Interactions as a scipy matrix."""
        return self.matrix.asformat(form)

    def num(self, field: str) -> int:
        """Ids of a side, padding included."""
        return self.size[0] if field == "user_id" else self.size[1]


def settings(size: dict[str, int], device: torch.device) -> dict[str, Any]:
    """AlphaRec with the hidden width that its released code has for 4096-wide vectors, BiFair with its defaults."""
    vectors = np.random.default_rng(1).standard_normal((size["items"] + 1, size["width"]), np.float32) / 64
    vectors[0] = 0
    return {
        "USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "NEG_PREFIX": "neg_", "device": device,
        "item_vectors": vectors, "embedding_size": 64, "hidden_size_factor": 9 / 32, "n_layers": 2,
        "temperature": 0.15, "negatives": 256, "user_sampling": "interaction", "learning_rate": 5e-4,
        "weights": "entropy", "gain": None, "shares": "natural", "least_weight": 0.2,
        "loss_smoothing": 0.1, "fair_weight": 1.0, "columns": "raw", "direction": "groups", "gram": "parameters",
        "solver_steps": 1000, "outer_lr": 1e-4, "outer_every": size["outer_every"], "implicit": "finite_difference",
        "xi": None, "epsilon": 0.01, "epochs": 500,
    }  # fmt: skip


def view(data: MadeUp, config: dict[str, Any]) -> TrainingView:
    """Popularity groups over the made-up interactions."""
    counts = np.bincount(data.matrix.col, minlength=data.size[1])
    groups = of_pairs("pop", [popularity(counts, list(map(str, range(data.size[1]))))], *data.size)
    return TrainingView(
        config, groups, *(torch.from_numpy(side.astype(np.int64)) for side in (data.matrix.row, data.matrix.col))
    )


def seconds_a_step(model: AlphaRec, strategy: BiFair | None, data: MadeUp, steps: int) -> float:
    """Adam over random batches of 4096 interactions."""
    optimizer = torch.optim.Adam(model.parameters(), 5e-4)
    rows = torch.randint(len(data.matrix.row), (steps, 4096))
    start = perf_counter()
    for chosen in rows.numpy():
        batch = Interaction({"user_id": torch.from_numpy(data.matrix.row[chosen].astype(np.int64)),
                             "item_id": torch.from_numpy(data.matrix.col[chosen].astype(np.int64))})  # fmt: skip
        optimizer.zero_grad()
        if strategy is None:
            model.calculate_loss(batch.to(model.device)).backward()
        else:
            strategy.backward(model, batch.to(model.device))
        optimizer.step()
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return (perf_counter() - start) / steps


def peak(device: torch.device) -> float:
    """Gigabytes, of the GPU where there is one, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main(size: dict[str, int]) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data, config = MadeUp(size), settings(size, device)
    model = AlphaRec(config, data).to(device)
    model.train()
    batches = -(-len(data.matrix.row) // 4096)
    print(f"data and model: peak {peak(device):.1f} GB; {batches} batches an epoch", flush=True)
    plain = seconds_a_step(model, None, data, max(1, size["steps"] // 5))
    print(f"AlphaRec: {plain:.2f} s a step, peak {peak(device):.1f} GB", flush=True)
    strategy = BiFair(view(data, config))
    strategy.prepare(model)
    fair = seconds_a_step(model, strategy, data, size["steps"])
    print(f"BiFair, {size['steps']} steps: {fair:.2f} s a step, {fair / plain:.2f} x, peak {peak(device):.1f} GB")
    strategy.end_epoch(0)
    print(f"with the epoch's figures: peak {peak(device):.1f} GB (goal <= 16)")
    if device.type == "cuda":
        print(f"an epoch: AlphaRec {plain * batches:.0f} s, BiFair {fair * batches:.0f} s")


if __name__ == "__main__":
    given = {name: int(value) for name, value in (word.lstrip("-").split("=") for word in sys.argv[1:])}
    main({**SIZES, **given})
