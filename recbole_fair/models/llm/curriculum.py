"""SuperLoss (Castells et al. 2020) as CL-MoE uses it: hard samples are held back for now (Eq. 13-19).

    value(L) = (L - tau) sigma + lambda (log sigma)^2
    sigma = exp(-W(max(-2/e, beta) / 2)),   beta = (L - tau) / lambda

W is the principal branch of the Lambert function. sigma minimises the value (Eq. 14), so where it is free the slope of
the value in L is sigma; where the maximum holds it at its largest, e, the slope is e as well, as the second term is
constant there and stays in the value. Hence sigma is detached and autograd gives sigma exactly.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recbole_fair.errors import UsageError

# Two steps of Halley's method from the start below reach 1e-13 everywhere; one more is for safety.
_STEPS = 3
# Closer than this to the branch point 1 + W is a rounding error and Halley's quotient meaningless: the series is exact.
_NEAR = 1e-3
# The least 1 + W in the slope. In float32 no other number than the branch point itself is this near.
_LEAST = 1e-4


class _LambertW(torch.autograd.Function):
    """W and its slope 1 / (e^W (1 + W))."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        w = _principal_branch(x.double())
        ctx.save_for_backward(w)
        return w.to(x.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        (w,) = ctx.saved_tensors  # type: ignore[attr-defined]
        slope = torch.exp(-w) / (1 + w).clamp(min=_LEAST)
        return (gradients[0] * slope).to(gradients[0].dtype)


def lambert_w(x: Tensor) -> Tensor:
    """The principal branch of the Lambert function, w e^w = x for x >= -1/e, on the device of `x`.

    At -1/e, where scipy gives nan, it is -1, also for the float32 number next below; the slope, infinite there, is
    held at 1e4 / e^-1. Below it is nan.

    >>> lambert_w(torch.tensor([0.0, math.e]))
    tensor([0., 1.])
    """
    result: Tensor = _LambertW.apply(x)  # type: ignore[no-untyped-call]
    return result


def _principal_branch(x: Tensor) -> Tensor:
    above = math.e * x + 1  # 0 at the branch point
    p = torch.sqrt(2 * above.clamp(min=0))
    near = p < _NEAR
    w = torch.where(near, -1 + p - p**2 / 3 + 11 / 72 * p**3, _start(x))
    for _ in range(_STEPS):
        w = torch.where(near, w, _halley(w, x))
    return torch.where(above < -1e-6, torch.nan, w)


def _start(x: Tensor) -> Tensor:
    """A first guess within a few hundredths of W, by other elementary functions below 0 than above."""
    root = torch.sqrt((math.e * x + 1).clamp(min=1e-9))
    below = math.e * x / (root**2 + root) * torch.log1p(root)
    log = torch.log1p(x.clamp(min=0))
    return torch.where(x < 0, below, log * (1 - torch.log1p(log) / (2 + log)))


def _halley(w: Tensor, x: Tensor) -> Tensor:
    """One step towards w e^w = x, of third order."""
    exp = torch.exp(w)
    error = w * exp - x
    return w - error / (exp * (w + 1) - (w + 2) * error / (2 * w + 2))


def confidence(losses: Tensor, tau: Tensor, strength: float) -> Tensor:
    """Eq. (17)-(18): sigma, from e for losses far under tau over 1 at tau down to 0; `strength` is lambda."""
    beta = (losses - tau) / strength
    return torch.exp(-lambert_w(torch.clamp(beta, min=-2 / math.e) / 2))


def super_loss(losses: Tensor, tau: Tensor, strength: float) -> Tensor:
    """Eq. (13) at the sigma of Eq. (17), one value a sample; its slope in the loss is sigma."""
    sigma = confidence(losses.detach(), tau, strength)
    return (losses - tau) * sigma + strength * torch.log(sigma) ** 2


class Curriculum(nn.Module):
    """SuperLoss with its running threshold tau, which starts at log C (C = 2 answers) and is part of a checkpoint.

    Eq. (19) reads "the total loss of all samples": with their sum tau diverges (to -9e4 in a trial), so it is their
    mean. `forward` leaves tau alone; a training step calls `update` once with the mean over its batch.
    """

    tau: Tensor

    def __init__(self, strength: float = 0.25, rate: float = 0.8, classes: int = 2) -> None:
        super().__init__()
        if strength <= 0:
            raise UsageError(f"curriculum_lambda: {strength} must be above 0")
        if not 0 < rate < 1:
            raise UsageError(f"curriculum_delta: {rate} must be between 0 and 1")
        self.strength, self.rate = strength, rate
        self.register_buffer("tau", torch.tensor(math.log(classes)))

    def forward(self, losses: Tensor) -> Tensor:
        """Eq. (15), one value a sample."""
        return super_loss(losses, self.tau, self.strength)

    def update(self, mean: Tensor) -> None:
        """Eq. (19): tau moves the share `rate` (delta) of its way to the batch's mean SuperLoss."""
        self.tau.lerp_(mean.detach().to(self.tau), self.rate)
