"""How BiFair balances the groups of a batch: the scalar that both levels minimise, and its gradient.

    ByEntropy   mean loss - gain * H(softmax(l_1 .. l_N)): the paper's objective by its own gradient. Eq. (10)'s
                coefficients are added to the natural shares of the groups; no backward pass per group.
    BySolver    sum_n w_n l_n with w from the group gradients (group_weights.py), mixed with the plain mean. Samples of
                no group count as in plain training, the others with their share of the batch (base.sample_weights).

A group that the batch lacks is left out; a batch with a single group has nothing to balance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from recbole_fair.errors import TrainingError
from recbole_fair.strategies import group_weights
from recbole_fair.strategies.base import group_means
from recbole_fair.strategies.min_norm import FloatArray
from recbole_fair.strategies.refining import Refinable, column_gradients

Solver = Callable[[FloatArray, FloatArray], FloatArray]  # Gram matrix [N, N] and losses [N] to weights [N]


class Balanced(NamedTuple):
    """One batch, balanced. Weights are what multiplies each group's gradient; those of absent groups mean nothing."""

    objective: Callable[[Tensor], Tensor]  # losses of the batch's rows [B] to a scalar, under any theta and Z
    gradients: list[Tensor]  # of the objective by the targets
    loss: Tensor  # the mean over the rows, which unlike the objective compares with plain training's
    present: Tensor  # [G]
    group_losses: Tensor  # [G]
    weights: Tensor  # [G]


class Balance(Protocol):
    """What BiFair asks of either."""

    def __call__(
        self, model: Refinable, rows: Sequence[Tensor], membership: Tensor, targets: Sequence[Tensor]
    ) -> Balanced:
        """Balance the rows, whose groups are `membership` [B, G], for a step on `targets`."""


@dataclass(frozen=True)
class ByEntropy:
    """L = mean - gain * H(softmax(l))."""

    gain: float

    def __call__(
        self, model: Refinable, rows: Sequence[Tensor], membership: Tensor, targets: Sequence[Tensor]
    ) -> Balanced:
        """One backward pass, whatever the number of groups."""

        def objective(samples: Tensor) -> Tensor:
            means, present = group_means(samples, membership)
            return samples.mean() - self.gain * entropy(means[present])

        samples = model.pair_losses(rows, *model.unit_vectors())
        gradients = torch.autograd.grad(objective(samples), targets)
        means, present = group_means(samples.detach(), membership)
        weights = membership.mean(0)  # the natural shares
        if present.any():
            pull = group_weights.entropy_coefficients(_array(means[present]))
            weights[present] += self.gain * torch.from_numpy(pull).to(weights)
        return Balanced(objective, list(gradients), samples.detach().mean(), present, means, weights)


@dataclass(frozen=True)
class BySolver:
    """L = sum_n w_n l_n, w held while the batch lasts."""

    solver: Solver
    mix: float

    def __call__(
        self, model: Refinable, rows: Sequence[Tensor], membership: Tensor, targets: Sequence[Tensor]
    ) -> Balanced:
        """One gradient a group, then weights, then their sum."""
        present = membership.sum(0) > 0
        columns = self.columns(membership[:, present])
        losses, gradients = column_gradients(model, rows, columns, targets)
        means, count = losses @ columns, int(present.sum())
        weights = self.solved(gradients[:count], means[:count])
        share = self.mix * membership.any(1).to(losses).mean()
        coefficients = torch.cat([share * weights, torch.ones_like(means[count:])])  # [N] or [N + 1]
        row_weights = columns @ coefficients  # [B]
        return Balanced(
            lambda samples: row_weights @ samples,
            _split(coefficients @ gradients, targets),
            losses.mean(),
            present,
            _spread(means[:count], present),
            _spread(weights, present),
        )

    def columns(self, membership: Tensor) -> Tensor:
        """Row weights of each group's mean, and of what no group weight changes where there is any, [B, N (+ 1)]."""
        means = membership / membership.sum(0)
        rest = (1 - self.mix * membership.any(1).to(means)) / len(means)
        return torch.cat([means, rest.unsqueeze(1)], 1) if rest.any() else means

    def solved(self, gradients: Tensor, losses: Tensor) -> Tensor:
        """Weights [N] of the groups present, whose gradients are [N, P]."""
        if len(losses) < 2:
            return torch.ones_like(losses)
        gram = _array(gradients @ gradients.T)
        if not np.isfinite(gram).all():
            raise TrainingError("the gradient of a group is not finite")
        return torch.from_numpy(self.solver(gram, _array(losses))).to(losses)


def balance_of(config: Any, groups: int, mix: float) -> Balance:
    """What the keys `weights`, `gain`, `columns`, `direction` and `solver_steps` ask for.

    Without a `gain` it is a quarter of the number of groups: on ML-100K .5 did best for the 2 popularity groups and 4
    for the 18 genres.
    """
    columns = config["columns"]
    if config["weights"] == "entropy":
        return ByEntropy(mix * (groups / 4 if config["gain"] is None else float(config["gain"])))
    if config["weights"] == "lp":
        return BySolver(lambda gram, losses: group_weights.linear_programme(gram, losses, columns), mix)
    direction, steps = config["direction"], int(config["solver_steps"])
    return BySolver(lambda gram, losses: group_weights.algorithm_2(gram, losses, columns, direction, steps), mix)


def entropy(losses: Tensor) -> Tensor:
    """H(softmax(losses)).

    >>> round(float(entropy(torch.zeros(4)).exp()), 4)
    4.0
    """
    log_share = losses.log_softmax(0)
    return -(log_share.exp() * log_share).sum()


def _array(values: Tensor) -> FloatArray:
    return values.detach().double().cpu().numpy()


def _split(flat: Tensor, targets: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(flat, [target.numel() for target in targets])
    return [part.view_as(target) for part, target in zip(parts, targets, strict=True)]


def _spread(values: Tensor, present: Tensor) -> Tensor:
    """Values of the groups present, [N], at their places among all, [G]."""
    return torch.zeros(len(present)).to(values).masked_scatter(present, values)
