"""How BiFair balances the groups of a batch: the scalar that both levels minimise, and its gradient.

    ByEntropy   the groups' shares of the batch and, added to them, Eq. (10)'s coefficients: the gradient of mean loss -
                gain * H(softmax(l_1 .. l_N)), the paper's objective by itself; no backward pass per group.
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
from recbole_fair.metrics.formulas import FloatArray
from recbole_fair.strategies.base import TrainingView, group_means
from recbole_fair.strategies.bifair import group_weights
from recbole_fair.strategies.bifair.refining import Refinable, column_gradients, vector_gradients
from recbole_fair.strategies.gradients import parts_of
from recbole_fair.strategies.reweight import inverse_frequency, mean_weight
from recbole_fair.strategies.running import RunningMean

Solver = Callable[[FloatArray, FloatArray], FloatArray]  # Gram matrix [N, N] and losses [N] to weights [N]


class Balanced(NamedTuple):
    """What balancing made of one batch.

    A group's weight is the sum of its rows' weights: what multiplies its gradient, where groups do not overlap.
    """

    objective: Callable[[Tensor], Tensor]  # losses of the batch's rows [B] to a scalar, under any theta and Z
    gradients: list[Tensor]  # of the objective by the targets
    loss: Tensor  # the mean over the rows, which unlike the objective compares with plain training's
    present: Tensor  # [G]
    group_losses: Tensor  # [G]
    weights: Tensor  # [G]


class Balance(Protocol):
    """What BiFair asks of ByEntropy and BySolver."""

    def __call__(
        self, model: Refinable, rows: Sequence[Tensor], membership: Tensor, targets: Sequence[Tensor]
    ) -> Balanced:
        """Balance the rows, whose groups are `membership` [B, G], for a step on `targets`."""


@dataclass(frozen=True)
class ByEntropy:
    """L = sum_b r_b l_b, the row weights r [B] held while the batch lasts.

    With c of Eq. (10) and m_bn the membership,

        r_b = (1 - mix) / B + mix * (s_b / B + gain * sum_n m_bn c_n / sum_b m_bn),  at least `least` / B,

    then all scaled to sum 1. s_b is 1 (`natural` shares), or Reweight's weight of the sample (`inverse`), by
    `frequency_weight` [G]. c is that of the batch's groups under their running losses: those of one batch are mostly
    noise for small groups. Without `least` the weight of a group of low loss may fall below 0, and its losses are
    raised; then, with natural shares and without running means, the gradient is that of mean - mix * gain *
    H(softmax(l)).
    """

    gain: float
    mix: float
    frequency_weight: Tensor | None
    least: float | None
    running: RunningMean

    def __call__(
        self, model: Refinable, rows: Sequence[Tensor], membership: Tensor, targets: Sequence[Tensor]
    ) -> Balanced:
        """One backward pass, whatever the number of groups."""
        samples = model.pair_losses(rows, *model.unit_vectors())
        means, present = group_means(samples.detach(), membership)
        row_weights = self.row_weights(membership, self.pull(means, present))
        gradients = torch.autograd.grad(row_weights @ samples, targets)
        return Balanced(
            lambda losses: row_weights @ losses,
            list(gradients),
            samples.detach().mean(),
            present,
            means,
            row_weights @ membership,
        )

    def pull(self, means: Tensor, present: Tensor) -> Tensor:
        """The coefficients c of the groups of this batch, 0 for the others, [G]."""
        running, pull = self.running.update(means, present), torch.zeros_like(means)
        if present.any():
            coefficients = group_weights.entropy_coefficients(_array(running[present]))
            pull[present] = torch.from_numpy(coefficients).to(pull)
        return pull

    def row_weights(self, membership: Tensor, pull: Tensor) -> Tensor:
        """The row weights r, [B]."""
        shares = torch.ones_like(membership[:, 0])
        if self.frequency_weight is not None:
            shares = mean_weight(self.frequency_weight.to(membership), membership)
        size = membership.sum(0).clamp(min=1)
        fair = shares / len(shares) + self.gain * (membership @ (pull / size))
        weights = (1 - self.mix) / len(shares) + self.mix * fair
        if self.least is not None:
            weights = weights.clamp(min=self.least / len(shares))
        return weights / weights.sum()


@dataclass(frozen=True)
class BySolver:
    """L = sum_n w_n l_n, w held while the batch lasts."""

    solver: Solver
    mix: float
    at: str  # where the Gram matrix is taken: by the parameters, or by the vectors of users and items (MGDA-UB)

    def __call__(
        self, model: Refinable, rows: Sequence[Tensor], membership: Tensor, targets: Sequence[Tensor]
    ) -> Balanced:
        """One gradient a group, then weights, then their sum."""
        present = membership.sum(0) > 0
        columns = self.columns(membership[:, present])
        losses, gradients, combined = self.gradients(model, rows, columns, targets)
        means, count = losses @ columns, int(present.sum())
        weights = self.solved(gradients[:count], means[:count])
        share = self.mix * membership.any(1).to(losses).mean()
        coefficients = torch.cat([share * weights, torch.ones_like(means[count:])])  # [N] or [N + 1]
        row_weights = columns @ coefficients  # [B]
        return Balanced(
            lambda samples: row_weights @ samples,
            combined(coefficients),
            losses.mean(),
            present,
            _spread(means[:count], present),
            row_weights @ membership,
        )

    def gradients(
        self, model: Refinable, rows: Sequence[Tensor], columns: Tensor, targets: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Callable[[Tensor], list[Tensor]]]:
        """Losses of the rows, a gradient a column where the Gram matrix is taken, and any combination's by targets."""
        if self.at == "vectors":
            return vector_gradients(model, rows, columns, targets)
        losses, gradients = column_gradients(model, rows, columns, targets)
        return losses, gradients, lambda coefficients: parts_of(coefficients @ gradients, targets)

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


def by_entropy(view: TrainingView, running: RunningMean, shares: str) -> ByEntropy:
    """The entropy form on natural or inverse shares, or, until `shares_for` has an answer, plain training (auto).

    Where `gain` and `fair_weight` are not given they are what ML-100K asks for: a quarter of the number of groups and
    1 on natural shares, 3 and .2 on inverse ones.
    """
    config = view.config
    gain, mix = (3.0, 0.2) if shares == "inverse" else (len(running.values) / 4, 1.0)
    gain = gain if config["gain"] is None else float(config["gain"])
    mix = mix if config["fair_weight"] is None else float(config["fair_weight"])
    inverse = inverse_frequency(view.group_counts) if shares == "inverse" else None
    return ByEntropy(gain, 0.0 if shares == "auto" else mix, inverse, config["least_weight"], running)


def shares_for(counts: Tensor, losses: Tensor) -> str:
    """Inverse shares if the groups of few interactions [G] are those of large loss [G]; else natural ones.

    Inverse frequencies raise rare groups. Rare genres are badly served, but the head of popularity, rarer than the
    rest where the rest is long, is served best: raising it is the opposite of what is wanted.

    >>> shares_for(torch.tensor([10.0, 100.0]), torch.tensor([3.0, 2.0]))
    'inverse'
    """
    met = ~losses.isnan()
    if met.sum() < 2:
        return "natural"
    together = torch.corrcoef(torch.stack([counts[met].log(), losses[met]]))[0, 1]
    return "inverse" if together < 0 else "natural"


def by_solver(config: Any, mix: float) -> BySolver:
    """What the keys `weights`, `columns`, `direction`, `solver_steps` and `gram` ask for."""
    columns = config["columns"]
    if config["weights"] == "lp":
        return BySolver(lambda gram, losses: group_weights.linear_programme(gram, losses, columns), mix, config["gram"])
    direction, steps = config["direction"], int(config["solver_steps"])
    return BySolver(
        lambda gram, losses: group_weights.algorithm_2(gram, losses, columns, direction, steps), mix, config["gram"]
    )


def _array(values: Tensor) -> FloatArray:
    return values.detach().double().cpu().numpy()


def _spread(values: Tensor, present: Tensor) -> Tensor:
    """Values of the groups present, [N], at their places among all, [G]."""
    return torch.zeros(len(present)).to(values).masked_scatter(present, values)
