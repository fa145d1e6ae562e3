"""Reweight: inverse group frequency, normalised (BiFair, section 4.3.1; jiang et al. 2024 for LLM recommenders).

Symbols: n_g training interactions of items in group g, w_g its weight, m = `fair_weight` the strength.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_fair.strategies.base import Batch, Strategy, TrainingView, keep_sample_losses


def inverse_frequency(frequency: Tensor) -> Tensor:
    """w_g = (1 / n_g) / mean over training samples of 1 / n_g, so that the average sample weighs 1.

    A group without a training interaction weighs nothing: it can appear in no batch.
    """
    inverse = torch.where(frequency > 0, 1.0 / frequency.clamp(min=1), 0.0)
    return inverse * frequency.sum() / (inverse * frequency).sum().clamp(min=1e-12)


class Reweight(Strategy):
    """Weigh each sample by the inverse frequency of its item's groups.

    Where we differ: an item of several groups takes the mean of their weights; one of no group weighs 1; and the
    weighted mean is mixed with the plain one, m * weighted + (1 - m) * plain, because full weight costs more
    accuracy on ML-100K than any user of a table would accept (m = 1 is the method as cited).
    """

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        assert view.item_groups is not None  # runner.py gives every strategy its fair_group
        membership = torch.from_numpy(view.item_groups.membership).float()  # [I, G]
        weight = inverse_frequency(view.item_counts @ membership)  # [G]
        groups_of_item = membership.sum(1)
        mean_weight = membership @ weight / groups_of_item.clamp(min=1)
        self.item_weight = torch.where(groups_of_item > 0, mean_weight, 1.0)  # [I]
        self.mix = float(self.config["fair_weight"])

    def prepare(self, model: nn.Module) -> None:
        """Take over the reduction of the model's loss."""
        self.item_weight = self.item_weight.to(self.config["device"])
        keep_sample_losses(model, self._reduce)

    def backward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Plain backward of the reweighted loss."""
        self.batch = batch
        return super().backward(model, batch)

    def _reduce(self, samples: Tensor) -> Tensor:
        items = self.batch[self.view.item_field]  # read now: a model may draw the rows of a batch itself
        weight = self.mix * self.item_weight[items] + (1 - self.mix)
        return (weight * samples).mean()
