"""What BiFair writes into the history after each epoch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_fair.strategies.bifair.balancing import Balanced


class EpochLog:
    """Means over an epoch's batches; begins anew when its figures are read.

    absent[g]      batches without group g
    group loss[g]  its mean loss, weight[g] the sum of its rows' weights, over the batches that had it
    angle          degrees between the inner level's gradient by theta and the outer level's, one step ahead
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.begin()

    def begin(self) -> None:
        """Nothing seen yet."""
        self.batches = 0
        self.sums: Tensor | None = None  # [3, G]: batches with the group, its losses, its weights
        self.angles: list[float] = []

    def batch(self, balanced: Balanced) -> None:
        """Take note of a batch, without waiting for the device."""
        parts = [part * balanced.present for part in (balanced.group_losses, balanced.weights)]
        seen = torch.stack([balanced.present.to(parts[0]), *parts])
        self.sums = seen if self.sums is None else self.sums + seen
        self.batches += 1

    def figures(self) -> dict[str, float]:
        """Mean loss and weight of each group where it was present, and how often it was absent."""
        found: dict[str, float] = {}
        if self.sums is not None:
            for name, (present, loss, weight) in zip(self.names, self.sums.T.tolist(), strict=True):
                found[f"absent[{name}]"] = self.batches - present
                if present:
                    found |= {f"group loss[{name}]": loss / present, f"weight[{name}]": weight / present}
        if self.angles:
            found["angle"] = sum(self.angles) / len(self.angles)
        self.begin()
        return found
