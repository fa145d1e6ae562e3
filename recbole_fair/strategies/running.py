"""Running means of what a strategy knows of its groups: a batch has few samples of a small group, or none."""

from __future__ import annotations

import torch
from torch import Tensor


class RunningMean:
    """R~_g <- (1 - a) R~_g + a R_g for the groups of a batch, from the first R_g on; nan for a group not met yet.

    >>> running = RunningMean(2, 0.5, "cpu")
    >>> running.update(torch.tensor([4.0, 0.0]), torch.tensor([True, False]))
    tensor([4., nan])
    >>> running.update(torch.tensor([2.0, 1.0]), torch.tensor([True, True]))
    tensor([3., 1.])
    """

    def __init__(self, groups: int, share: float, device: torch.device | str) -> None:
        self.share = share  # a
        self.values = torch.full((groups,), torch.nan, device=device)  # [G]

    @torch.no_grad()
    def update(self, latest: Tensor, present: Tensor) -> Tensor:
        """Take in R [G] of a batch; groups that it lacks keep what they have."""
        former = torch.where(self.values.isnan(), latest, self.values)
        self.values = torch.where(present, (1 - self.share) * former + self.share * latest, self.values)
        return self.values

    def load(self, values: Tensor) -> None:
        """Go on from stored `values`."""
        self.values = values.to(self.values.device)
