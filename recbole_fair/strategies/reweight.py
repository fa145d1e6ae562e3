"""Reweight: inverse group frequency, normalised (BiFair, appendix B.4; Jiang et al. 2024 for LLM recommenders).

Symbols: n_g training interactions of group g, w_g its weight, m = `fair_weight` the strength.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_fair.strategies.base import GroupStrategy, TrainingView


def inverse_frequency(frequency: Tensor) -> Tensor:
    """w_g = (1 / n_g) / mean over training memberships of 1 / n_g, so that the average membership weighs 1.

    A group without a training interaction weighs nothing: it can appear in no batch.
    """
    inverse = torch.where(frequency > 0, 1.0 / frequency.clamp(min=1), 0.0)
    return inverse * frequency.sum() / (inverse * frequency).sum().clamp(min=1e-12)


def mean_weight(weight: Tensor, membership: Tensor) -> Tensor:
    """Mean weight of each sample's groups, [B]; 1 for one of no group."""
    groups = membership.sum(1)  # [B] how many groups each sample is in
    return torch.where(groups > 0, membership @ weight / groups.clamp(min=1), 1.0)


class Reweight(GroupStrategy):
    """Weigh each sample by the inverse frequency of its groups.

    Where we differ: a sample of several groups takes the mean of their weights; one of no group weighs 1; and
    `fair_weight` is .3, because full weight costs more accuracy on ML-100K than any user of a table would accept
    (1 is the method as cited).
    """

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        self.weight = inverse_frequency(view.group_counts).to(self.device)  # [G]

    def objective(self, samples: Tensor, membership: Tensor) -> Tensor:
        """Mean of the weighed samples."""
        return (mean_weight(self.weight, membership) * samples).mean()
