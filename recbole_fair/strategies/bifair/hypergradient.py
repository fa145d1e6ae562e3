"""The derivative of the outer level by the item vectors, through one step of the inner level (BiFair, Eq. 5-7).

Symbols: Z the item vectors, theta the parameters, L(theta, Z) the loss, theta' = theta - xi grad_theta L(theta, Z).

    grad_Z L(theta', Z) - xi * [d^2 L / dZ dtheta](theta, Z) v,   v = grad_theta' L(theta', Z)                   (Eq. 6)

The product of the mixed second derivative with v is found exactly, or by central differences as in DARTS (Liu et al.,
ICLR 2019), which the paper follows and whose error depends on its step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_fair.strategies.gradients import moved, norm

Loss = Callable[[], Tensor]  # under whatever stands in theta and Z when it is called


class Hypergradient(NamedTuple):
    """The outer gradient by Z, and the gradient by theta' that was met on the way."""

    by_vectors: Tensor  # [I, W]
    by_parameters: list[Tensor]  # v


def hypergradient(
    loss: Loss, parameters: Sequence[Tensor], vectors: Tensor, inner: Sequence[Tensor], xi: float, epsilon: float,
    implicit: str,
) -> Hypergradient:  # fmt: skip
    """Eq. (6), where `inner` is grad_theta L(theta, Z). Leaves theta, Z and every `.grad` as they were."""
    with moved(parameters, inner, -xi):
        outer, *ahead = torch.autograd.grad(loss(), [vectors, *parameters])
    if xi and norm(ahead) > 0:
        IMPLICIT[implicit](outer, loss, parameters, vectors, ahead, xi, epsilon)
    return Hypergradient(outer, ahead)


def finite_difference(
    outer: Tensor, loss: Loss, parameters: Sequence[Tensor], vectors: Tensor, ahead: Sequence[Tensor], xi: float,
    epsilon: float,
) -> None:  # fmt: skip
    """Eq. (7): (grad_Z L(theta + e v, Z) - grad_Z L(theta - e v, Z)) / 2e, e = epsilon / |v|, taken off in place.

    One difference after the other, so that no more than two arrays of Z's size exist beside it.
    """
    step = epsilon / norm(ahead)
    for sign in (1.0, -1.0):
        with moved(parameters, ahead, sign * step):
            (gradient,) = torch.autograd.grad(loss(), [vectors])
        outer.add_(gradient, alpha=-sign * xi / (2 * step))


def hessian_vector(
    outer: Tensor, loss: Loss, parameters: Sequence[Tensor], vectors: Tensor, ahead: Sequence[Tensor], xi: float,
    _epsilon: float,
) -> None:  # fmt: skip
    """The same product exactly, as grad_Z of grad_theta L(theta, Z) . v: one backward through a backward."""
    by_parameters = torch.autograd.grad(loss(), parameters, create_graph=True)
    along = torch.stack([(one * other).sum() for one, other in zip(by_parameters, ahead, strict=True)]).sum()
    (mixed,) = torch.autograd.grad(along, [vectors])
    outer.sub_(mixed, alpha=xi)


IMPLICIT = {"finite_difference": finite_difference, "hessian_vector": hessian_vector}
