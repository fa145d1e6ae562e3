"""MultiFR: a common descent direction of the recommendation loss and of every group's loss (Wu et al., TOIS 2022).

Symbols: L_0 the mean loss of all samples that are in a group, L_1..L_G the group losses, g_k their gradients, B = (g_k'
g_l) the Gram matrix, w the weights that MGDA gives them: min_w || sum_k w_k g_k ||^2 over the simplex.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from recbole_fair.strategies.base import GroupStrategy, TrainingView, group_means
from recbole_fair.strategies.gradients import FloatArray, flat_gradient, frank_wolfe, refuse_too_many_groups


class MultiFR(GroupStrategy):
    """Minimise sum_k w_k L_k, with w found anew in every batch by Frank-Wolfe.

    Where we differ: the paper's fairness objectives are exposures of groups under a smoothed ranking; here they are
    the groups' recommendation losses, the reading of BiFair, appendix B.4, which needs no ranking of the catalogue
    inside a step. Its choice among several Pareto points (least misery) is left to validation. The host's regulariser
    is no objective: it is added as it is. A batch that lacks a group has one objective less.
    """

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        self.steps = int(self.config["solver_steps"])

    def prepare(self, model: nn.Module) -> None:
        """A gradient of every objective must fit."""
        super().prepare(model)
        remedy = "Choose coarser groups"
        refuse_too_many_groups(len(self.names), self.parameters, self.config["device"], remedy, beside=1)

    def objective(self, samples: Tensor, membership: Tensor) -> Tensor:
        """The weighted sum of the objectives; its gradient is the point of smallest norm."""
        means, present = group_means(samples, membership)
        grouped = membership.sum(1) > 0
        if not present.any():
            return samples.mean()
        objectives = torch.cat([samples[grouped].mean().unsqueeze(0), means[present]])  # [K]
        weights = torch.from_numpy(frank_wolfe(self.gram(objectives), self.steps)).to(objectives)
        # Samples of no group (a pointwise model's negatives) keep their weight of plain training.
        return grouped.to(samples).mean() * (weights @ objectives) + samples[~grouped].sum() / len(samples)

    def gram(self, objectives: Tensor) -> FloatArray:
        """B [K, K], one backward pass an objective."""
        rows = torch.stack([flat_gradient(objective, self.parameters) for objective in objectives])  # [K, P]
        return (rows @ rows.T).double().cpu().numpy().astype(np.float64)
