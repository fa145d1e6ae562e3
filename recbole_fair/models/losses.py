"""Per-sample recommendation losses: [B] in, [B] out; whoever calls decides how to reduce."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def bpr(positive: Tensor, negative: Tensor, floor: float = 1e-10) -> Tensor:
    """Bayesian personalised ranking, -log sigmoid(s+ - s-), with the floor of RecBole's BPRLoss.

    >>> bpr(torch.tensor([0.0]), torch.tensor([0.0]))
    tensor([0.6931])
    """
    return -torch.log(floor + torch.sigmoid(positive - negative))


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """-log softmax(logits)[target], one value a row."""
    return functional.cross_entropy(logits, target, reduction="none")


def info_nce(positive: Tensor, negative: Tensor) -> Tensor:
    """Sampled InfoNCE (van den Oord et al. 2018; the loss of BiFair, section 4.3 and AlphaRec).

    l = -log( exp(s+) / (exp(s+) + sum_j exp(s-_j)) ), scores already divided by the temperature. The positive
    stands in the denominator too, as in AlphaRec's released code; computed by logsumexp.
    """
    scores = torch.cat([positive.unsqueeze(1), negative], dim=1)  # [B, 1 + n]
    return torch.logsumexp(scores, dim=1) - positive


class SampledInfoNCE(nn.Module):
    """The mean of `info_nce`, as a module that a strategy can replace (strategies/base.py)."""

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Mean over the batch."""
        return info_nce(positive, negative).mean()
