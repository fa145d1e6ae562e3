"""LEACE (Belrose et al. 2023): the affine map that hides an attribute from every linear reader, moving states least.

With W = Sxx^(-1/2) (pseudo-inverse square root), P the orthogonal projection onto the columns of W Sxz and mu the mean,

    r(x) = x - W^+ P W (x - mu)

Then r(x) has no covariance with the attribute's one-hot classes z, so no linear or logistic reader fitted on the same
users beats the best constant; of all affine maps with that property it has the least E |r(x) - x|^2. Of other users it
promises nothing, and held-out folds of the same users are told less than nothing (docs/probe.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_fair.errors import UsageError
from recbole_fair.models.adversary import UNKNOWN


class Eraser(nn.Module):
    """r(x) = x - (x - mean) @ away.T, for states of any leading shape [..., D]."""

    mean: Tensor
    away: Tensor

    def __init__(self, mean: Tensor, away: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)  # [D]
        self.register_buffer("away", away)  # [D, D]

    def forward(self, states: Tensor) -> Tensor:
        """The states without what is linearly readable of the attribute."""
        moved = (states.to(self.mean.dtype) - self.mean) @ self.away.T
        return states - moved.to(states.dtype)


def leace(states: Tensor, classes: Tensor) -> Eraser:
    """The eraser of an attribute [U] (0..C-1, -1: unknown, left out), fitted in double precision on states [U, D].

    For several attributes at once give classes [U, A]: their one-hot columns stand side by side.
    """
    columns = classes.unsqueeze(1) if classes.dim() == 1 else classes
    labelled = (columns != UNKNOWN).all(dim=1)
    x, columns = states[labelled].double(), columns[labelled]
    _check(x, columns)
    z = torch.cat([nn.functional.one_hot(column).double() for column in columns.unbind(1)], dim=1)  # [U, C]
    mean = x.mean(dim=0)
    x, z = x - mean, z - z.mean(dim=0)
    whiten, unwhiten = _whitening(x.T @ x / len(x))
    directions = whiten @ (x.T @ z) / len(x)  # [D, C]
    left, size, _ = torch.linalg.svd(directions, full_matrices=False)
    # Classes sum to one, so a column is always redundant; a correlation below rounding is none.
    span = left[:, size > 1e-8]
    return Eraser(mean, unwhiten @ span @ span.T @ whiten)


def _check(states: Tensor, columns: Tensor) -> None:
    if not torch.isfinite(states).all():
        raise UsageError("erase: a state is not finite")
    for column in columns.unbind(1):
        if not len(column) or bool((column == column[0]).all()):
            raise UsageError("erase: fewer than two classes among the labelled users; there is nothing to hide")


def _whitening(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Sxx^(-1/2) and Sxx^(1/2); directions in which the states do not vary are left out of both."""
    values, vectors = torch.linalg.eigh(covariance)
    varies = values > values.amax() * len(values) * torch.finfo(values.dtype).eps
    root, vectors = values[varies].sqrt(), vectors[:, varies]
    return (vectors / root) @ vectors.T, (vectors * root) @ vectors.T
