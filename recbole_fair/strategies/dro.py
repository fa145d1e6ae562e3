"""DRORec and PopDRO: group distributionally robust training, with streaming estimates of the group losses.

    DRORec (S-DRO)  Wen et al., WWW 2022
    PopDRO (PDRO)   Zhao et al., CIKM 2023

Symbols: L_g the loss of group g in a batch, R_g what its weight answers to, R~_g the running mean of R_g, w_g the
weight, a = `loss_smoothing`, h = `group_step`.

    R~_g <- (1 - a) R~_g + a R_g        w_g <- w_g exp(h R~_g) / sum        loss = sum_g w_g L_g
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from recbole_fair.strategies.base import GroupStrategy, TrainingView, group_means, sample_weights, weights_among
from recbole_fair.strategies.gradients import flat_gradient
from recbole_fair.strategies.running import RunningMean
from recbole_fair.strategies.samples import Samples


class DRORec(GroupStrategy):
    """Weights that grow with the running loss of their group; R_g = L_g.

    Where we differ: groups are those of `fair_group`, of items or users, and may overlap (the paper's are of users).
    The gradient is that of sum_g w_g L_g; the paper's, of sum_g w_g R~_g, is `a` times that, which Adam cannot tell
    apart. R~_g starts at the first loss of its group instead of at 0. A batch that lacks a group leaves its R~_g, and
    its weights share out over the groups that it has; exponents are centred over the groups met so far, so that a
    rare group does not lose weight by being absent.
    """

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        self.step = float(self.config["group_step"])
        self.running = RunningMean(len(self.names), float(self.config["loss_smoothing"]), self.device)  # R~
        self.log_weights = torch.zeros_like(self.running.values)  # [G]

    def objective(self, samples: Tensor, membership: Tensor) -> Tensor:
        """Update the weights by this batch, then weigh its groups."""
        means, present = group_means(samples, membership)
        self.update(self.signal(samples, membership, means), present)
        return (sample_weights(weights_among(self.log_weights, present), membership) * samples).mean()

    def signal(self, samples: Tensor, membership: Tensor, means: Tensor) -> Tensor:
        """R_g, [G]; `means` are the L_g, 0 for a group that the batch lacks."""
        return means.detach()

    @torch.no_grad()
    def update(self, signal: Tensor, present: Tensor) -> None:
        """Move R~ and w one step on, by the R [G] of a batch."""
        running = self.running.update(signal, present)
        centred = (running - running.nanmean()).nan_to_num(0.0)
        self.log_weights = self.log_weights + self.step * centred

    @property
    def weights(self) -> Tensor:
        """The group weights w, [G]."""
        return self.log_weights.softmax(0)

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """The group weights, for the history."""
        return {f"weight[{name}]": weight for name, weight in zip(self.names, self.weights.tolist(), strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """R~ and the logarithms of w."""
        return {"running": self.running.values, "log_weights": self.log_weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict` back."""
        self.running.load(state["running"])
        self.log_weights = state["log_weights"].to(self.device)


class PopDRO(DRORec):
    """DRORec that looks ahead: items about to be popular weigh more, groups that follow the trend are pushed.

    Time is cut into E = `periods` equal spans; c = `popularity_strength`, e = `trend_strength`.

        sample weight within its groups   (1 + q_i)^c, q_i the expected popularity of item i (`expected_popularity`)
        R_g = (1 - e) L_g + e L_g cos(grad L_g, grad L_trend), L_trend = sum_t b_t L_t, b_t growing with period t

    Where we differ: the released code multiplies every score by (1 + q)^c, at training and at ranking; a strategy
    does not score, so the factor weighs the positives' losses, whose gradient it scales there too. Shares of
    interactions are divided by the largest one: as they are, (1 + q)^3 is 1.05 for the most popular film of ML-100K.
    Its groups are thirds of a batch by score, ours those of `fair_group`; it takes one gradient per group and period
    of the item table (G * E passes), we one per group and one for the trend, of all parameters. Its popularities
    count validation and test interactions, ours training only.

    Without timestamps, or where all are equal, there is one period, no trend, and a warning that says so.
    """

    FORESIGHT = 0.2  # `predict` in the released code: how much of the latest change is expected to come again

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        self.periods = int(self.config["periods"]) if _timed(view) else 1
        self.trend = float(self.config["trend_strength"]) if self.periods > 1 else 0.0
        period = periods_of(view, self.periods)  # [N]
        expected = expected_popularity(view.items, period, len(view.groups.item), self.FORESIGHT)
        self.emphasis = (1 + expected).pow(float(self.config["popularity_strength"])).to(self.device)  # [I]
        self.period_of = PairPeriods(view.users, view.items, period, len(view.groups.item), self.device)
        self.recency = torch.softmax((torch.arange(self.periods) - self.periods).exp(), 0).to(self.device)  # [E] b_t

    def membership(self, samples: Samples) -> Tensor:
        """Memberships times the emphasis of the item: within a group, a popular item counts for more."""
        return super().membership(samples) * self.emphasis[samples.items].unsqueeze(1)

    def signal(self, samples: Tensor, membership: Tensor, means: Tensor) -> Tensor:
        """R_g, [G]: the loss, and how far descending on the group descends on the trend."""
        if self.trend == 0:
            return super().signal(samples, membership, means)
        direction = flat_gradient(self.trend_loss(samples, membership), self.parameters)
        similarity = torch.zeros_like(means)
        for group in membership.sum(0).nonzero().flatten().tolist():
            gradient = flat_gradient(means[group], self.parameters)
            similarity[group] = torch.cosine_similarity(gradient, direction, dim=0)
        return means.detach() * (1 - self.trend + self.trend * similarity)

    def trend_loss(self, samples: Tensor, membership: Tensor) -> Tensor:
        """Sum_t b_t L_t over the periods of this batch, of the samples that are in a group."""
        assert self.kept.samples is not None
        period = self.period_of(*self.kept.samples.ids())  # [B]
        grouped = (membership.sum(1, keepdim=True) > 0).to(samples)
        means, present = group_means(samples, grouped * one_hot(period, self.periods))
        weight = self.recency * present
        return means @ (weight / weight.sum().clamp(min=1e-30))

    def notes(self) -> list[str]:
        """Whether there was a trend to follow."""
        if self.periods > 1 or self.config["periods"] == 1:
            return super().notes()
        return [*super().notes(), "PopDRO: the data has no timestamps that differ; one period, trend_strength 0"]


def _timed(view: TrainingView) -> bool:
    return view.times is not None and bool(view.times.min() < view.times.max())


def periods_of(view: TrainingView, count: int) -> Tensor:
    """Which of `count` equal spans of time each training interaction is in, [N]."""
    if count == 1 or view.times is None:
        return torch.zeros_like(view.items)
    times = view.times.double()
    place = (times - times.min()) / (times.max() - times.min()) * count
    return place.long().clamp(max=count - 1)


def expected_popularity(items: Tensor, period: Tensor, size: int, foresight: float) -> Tensor:
    """Popularity q [I] to come: each item's share of the next period's interactions, over the largest share.

    The last period's share p_1 moved on by part of its latest change: max(0, p_1 + foresight * (p_1 - p_0)).

    >>> expected_popularity(torch.tensor([1, 2, 2, 2]), torch.tensor([0, 0, 1, 1]), 3, 0.2).tolist()
    [0.0, 0.0, 1.0]
    """
    last = int(period.max())
    shares = [torch.bincount(items[period == stage], minlength=size).double() for stage in (last, max(0, last - 1))]
    now, before = (counts / counts.sum().clamp(min=1) for counts in shares)
    expected = (now + foresight * (now - before)).clamp(min=0)
    return (expected / expected.max().clamp(min=1e-30)).float()


class PairPeriods:
    """The period of a training (user, item) pair, looked up by id: a batch's rows need not carry their time.

    A pair that occurs several times has its latest period.
    """

    def __init__(self, users: Tensor, items: Tensor, period: Tensor, size: int, device: torch.device) -> None:
        self.size = size
        pairs, place = torch.unique(users * size + items, return_inverse=True)  # sorted
        latest = torch.zeros_like(pairs).scatter_reduce(0, place, period, "amax")
        self.pairs, self.latest = pairs.to(device), latest.to(device)

    def __call__(self, users: Tensor, items: Tensor) -> Tensor:
        """Periods [B]; of no meaning for a pair outside training (a pointwise model's negative, which has no group)."""
        place = torch.searchsorted(self.pairs, users * self.size + items)
        return self.latest[place.clamp(max=len(self.pairs) - 1)]
