"""MultiFR: a common descent direction of the recommendation loss and of fairness (Wu et al., TOIS 2022).

Symbols: L_0 the mean loss of all samples that are in a group, L_1..L_G the group losses, T_k the tasks, g_k their
gradients, c_k what these are divided by, B = (g_k' g_l / c_k c_l) the Gram matrix, w the weights that MGDA gives them:
min_w || sum_k w_k g_k / c_k ||^2 over the simplex.

    fair_tasks     spread  T = L_0, (1/G) sum_g (L_g - mean L)^2         each  T = L_0, L_1..L_G
    gradient_scale none  c = 1     l2  c = |g_k|     loss  c = T_k     loss+  c = T_k |g_k|
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from recbole_fair.metrics.formulas import FloatArray
from recbole_fair.strategies.base import GroupStrategy, TrainingView, group_means
from recbole_fair.strategies.gradients import flat_gradient, frank_wolfe, refuse_too_many_groups

# By the tasks [K] and their gradients [K, P]; as in the solver that MGDA's authors released.
SCALES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "none": lambda tasks, _: torch.ones_like(tasks),
    "l2": lambda _, gradients: gradients.norm(dim=1),
    "loss": lambda tasks, _: tasks,
    "loss+": lambda tasks, gradients: tasks * gradients.norm(dim=1),
}


class MultiFR(GroupStrategy):
    """Minimise sum_k w_k T_k, with w found anew in every batch by Frank-Wolfe.

    Where we differ: the paper's fairness objectives are disparities of the groups' exposure under a smoothed ranking;
    here they are of the groups' recommendation losses, the reading of BiFair, appendix B.4, which needs no ranking of
    the catalogue inside a step. Its choice among several Pareto points (least misery) is left to validation. The
    host's regulariser is no objective: it is added as it is. A batch that lacks a group has one group less.

    `each` is our other reading: there L_0 protects nothing where the groups do not overlap, for its gradient is a
    convex combination of theirs, and it takes a gradient a group.
    """

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        self.steps, self.each = int(self.config["solver_steps"]), self.config["fair_tasks"] == "each"
        self.scale = SCALES[self.config["gradient_scale"]]

    def prepare(self, model: nn.Module) -> None:
        """Take over the loss; refuse more objectives than have room for a gradient each."""
        super().prepare(model)
        groups = len(self.names) if self.each else 1
        refuse_too_many_groups(groups, self.parameters, self.device, "Choose coarser groups", beside=1)

    def objective(self, samples: Tensor, membership: Tensor) -> Tensor:
        """The weighted sum of the tasks; the gradient of the scaled tasks is the point of smallest norm."""
        means, present = group_means(samples, membership)
        grouped = membership.sum(1) > 0
        if not present.any():
            return samples.mean()
        tasks = self.tasks(samples[grouped].mean(), means[present])
        weights = torch.from_numpy(frank_wolfe(self.gram(tasks), self.steps)).to(tasks)
        # Samples of no group (a pointwise model's negatives) keep their weight of plain training.
        return grouped.to(samples).mean() * (weights @ tasks) + samples[~grouped].sum() / len(samples)

    def tasks(self, recommendation: Tensor, groups: Tensor) -> Tensor:
        """T [K], of L_0 and the losses of the groups present."""
        if self.each:
            return torch.cat([recommendation.unsqueeze(0), groups])
        return torch.stack([recommendation, groups.var(correction=0)] if len(groups) > 1 else [recommendation])

    def gram(self, tasks: Tensor) -> FloatArray:
        """B [K, K], one backward pass a task; a task without a gradient keeps it."""
        rows = torch.stack([flat_gradient(task, self.parameters) for task in tasks])  # [K, P]
        scale = self.scale(tasks.detach(), rows)
        rows = rows / torch.where(scale > 0, scale, 1.0).unsqueeze(1)
        return (rows @ rows.T).double().cpu().numpy().astype(np.float64)
