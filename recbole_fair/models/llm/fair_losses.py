"""L_fair (MoS, Eq. 12) and what stands in its place in the rows that MoS is compared with, one function each.

SF and what it reads come from `metrics/stereotypes.py`: `Histories.pair_terms` gives the rows h_{u in G} and
1(d_{v in G}) of the training pairs. UP5's loss is minus that of the adversary (models/adversary.py), so it has no
function here.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from recbole_fair.errors import UsageError
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray, divide

_LEAST = 1.0  # pairs; the metric's denominators are 0 or at least this, so holding them here changes no metric


def sf_of_sums(sums: Tensor) -> Tensor:
    """SF = 1 - (1/|G|) sum_G sums[0, G] / sums[1, G] (Eq. 4) from the two sums [2, G]; at p in {0, 1} the metric.

    A denominator below one pair is held at one, so that a group that is hardly recommended cannot blow up the
    gradient; a group without any in-group pair is left out. Without a group SF is 0 and has no gradient.
    """
    above, below = sums
    present = below > 0
    fractions = above / below.clamp(min=_LEAST)
    return torch.where(present.any(), 1 - (fractions * present).sum() / present.sum().clamp(min=1), 0.0)


class RunningSF(nn.Module):
    """L_fair = |SF| over running sums, averaged over the prompt kinds of the batch.

    SF of one batch is mostly noise (sd .42 at 128 pairs), so both sums of Eq. 4 run on: S <- decay S + the batch's.
    The gradient is that of the batch's sums times the batches that have run on, w <- decay w + 1: as if the pairs of
    those batches answered like this one's, so that the weight of L_fair means the same at every decay. Each kind of
    prompt (implicit, explicit, counterfactual) has its own sums, because over- and under-recommendation of two kinds
    would cancel inside |SF|. A resumed run needs the sums, so they are in the state.
    """

    sums: Tensor  # [kinds, 2, G]
    batches: Tensor  # [kinds], w

    def __init__(self, groups: int, kinds: int = 1, decay: float = 0.95) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise UsageError(f"sf_decay={decay:g}: give a number from 0 (each batch alone) to below 1")
        self.decay = decay
        self.register_buffer("sums", torch.zeros(kinds, 2, groups))
        self.register_buffer("batches", torch.zeros(kinds))

    def forward(self, yes: Tensor, above: Tensor, below: Tensor, kinds: Tensor | None = None) -> Tensor:
        """Of p(Yes) [B] and the pairs' rows [B, G]; kinds [B] says which kind of prompt each pair was asked with."""
        kinds = torch.zeros(len(yes), dtype=torch.long, device=yes.device) if kinds is None else kinds
        terms = [self._of_kind(kind, kinds == kind, yes, above, below) for kind in sorted(set(kinds.tolist()))]
        return torch.stack(terms).mean()

    def _of_kind(self, kind: int, rows: Tensor, yes: Tensor, above: Tensor, below: Tensor) -> Tensor:
        of_batch = torch.stack([yes[rows] @ above[rows], yes[rows] @ below[rows]])
        sums, batches = self.decay * self.sums[kind] + of_batch.detach(), self.decay * self.batches[kind] + 1
        if self.training:
            self.sums[kind], self.batches[kind] = sums, batches
        return sf_of_sums(sums + batches * (of_batch - of_batch.detach())).abs()


def ifairlrs(losses: Tensor, weights: Tensor) -> Tensor:
    """IFairLRS: the mean of the samples' losses [B], each times the weight [B] of its target item's group.

    It stands in place of L_rec + L_fair. The released code takes the mean over a batch before it multiplies, which
    loses the weights; here each sample keeps its own.
    """
    return (losses * weights).mean()


def ifairlrs_weights(history: IntArray, targets: IntArray, member: BoolArray) -> FloatArray:
    """The weight of each training sample: its item group's share in the histories over that among the targets, [N].

    history [H] holds the items of all histories, targets [N] the samples' target items, member [I, G] the item groups.
    The weights of an item's groups are added up; the items of no group are one more group.
    """
    groups = np.column_stack([member, ~member.any(1)])
    in_targets = groups[targets]
    weight = divide(groups[history].mean(0), in_targets.mean(0))  # nan for a group that is no target
    return np.where(in_targets, weight, 0.0).sum(1)


def fairllm(neutral: Tensor, given: Tensor, measure: Literal["snsr", "snsv"] = "snsr") -> Tensor:
    """FaiRLLM's disparity of the similarities between the answers with an attribute value and the neutral ones.

    neutral [B] is p(Yes) without the attribute, given [A, B] with each of its values. The similarity is the Jaccard
    coefficient of the recommended pairs, sum min(p, q) / sum max(p, q), which at p in {0, 1} is the one of two sets.
    `snsr` is the largest less the smallest similarity, `snsv` their population standard deviation.
    """
    both, either = torch.minimum(given, neutral).sum(1), torch.maximum(given, neutral).sum(1)
    similarity = both / either.clamp(min=torch.finfo(either.dtype).tiny)
    return similarity.max() - similarity.min() if measure == "snsr" else _deviation(similarity)


def _deviation(values: Tensor) -> Tensor:
    """The population standard deviation, with gradient 0 where all values are equal."""
    variance = (values - values.mean()).square().mean()
    return torch.where(variance > 0, variance.clamp(min=torch.finfo(values.dtype).tiny).sqrt(), 0.0 * variance)
