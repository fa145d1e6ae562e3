"""Gradients as vectors: a direction that lowers every loss, steps along a direction, and how many fit into memory.

The direction is the point of smallest norm in the convex hull of the gradients (MGDA: Désidéri 2012; Sener and Koltun,
NeurIPS 2018), which MultiFR and BiFair's Algorithm 2 ask for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from recbole_fair.errors import UsageError
from recbole_fair.metrics.formulas import FloatArray


def frank_wolfe(gram: FloatArray, steps: int) -> FloatArray:
    """Weights w that minimise w'Bw over the simplex, B [K, K] the Gram matrix of K gradients.

    From uniform weights, each step moves weight towards the vertex v = argmin_k (Bw)_k by the exact line search, and
    ends early where no vertex is better by more than rounding. The plain step takes that weight from all vertices
    alike and zigzags: after 1,000 steps it is still 1e-3 above the minimum. Ours takes it from the worst vertex that
    has any, a = argmax (Bw)_k (pairwise steps, Lacoste-Julien and Jaggi, NeurIPS 2015), which converges linearly:

        gamma = clip(((Bw)_a - (Bw)_v) / (B_vv - 2 B_va + B_aa), 0, w_a)

    >>> frank_wolfe(np.array([[1.0, 0.0], [0.0, 3.0]]), 50).round(3).tolist()
    [0.75, 0.25]
    """
    weights = np.full(len(gram), 1.0 / len(gram))
    for _ in range(steps):
        slope = gram @ weights  # [K]
        best, worst = int(slope.argmin()), int(np.where(weights > 0, slope, -np.inf).argmax())
        norm = weights @ slope
        if norm - slope[best] <= 1e-12 * norm:
            break
        curvature = gram[best, best] - 2 * gram[best, worst] + gram[worst, worst]
        gamma = np.clip((slope[worst] - slope[best]) / max(curvature, 1e-300), 0.0, weights[worst])
        weights[best] += gamma
        weights[worst] -= gamma
    return weights


def trained(model: nn.Module) -> list[Tensor]:
    """The parameters that training changes."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def parts_of(flat: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """A vector [P] cut into the shapes of the parameters."""
    pieces = torch.split(flat, [parameter.numel() for parameter in parameters])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, parameters, strict=True)]


def flat_gradient(loss: Tensor, parameters: list[Tensor]) -> Tensor:
    """The gradient of a loss as one vector [P], 0 where there is none; keeps the graph, leaves `.grad` alone."""
    parts = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


@contextmanager
def moved(parameters: Sequence[Tensor], direction: Sequence[Tensor], length: float) -> Iterator[None]:
    """The parameters, moved along a direction while the block runs, then as they were to the last bit."""
    former = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter, part in zip(parameters, direction, strict=True):
            parameter.add_(part, alpha=length)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, former, strict=True):
                parameter.copy_(value)


def norm(parts: Sequence[Tensor]) -> float:
    """Length of all parts as one vector."""
    return float(torch.stack([part.square().sum() for part in parts]).sum().sqrt())


def angle(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Degrees between two directions; 0 where either has no length.

    >>> round(angle([torch.tensor([1.0, 0.0])], [torch.tensor([1.0, 1.0])]), 3)
    45.0
    """
    lengths = norm(one) * norm(other)
    along = float(torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum())
    return float(torch.tensor(along / lengths).clamp(-1, 1).acos().rad2deg()) if lengths > 0 else 0.0


def refuse_too_many_groups(
    groups: int, gradient: Sequence[Tensor], device: torch.device, remedy: str, *, each: int = 1, beside: int = 0
) -> None:
    """Refuse to keep `each` gradients of every group, and some beside, shaped as `gradient`; say how many fit."""
    size, room = sum(part.numel() * part.element_size() for part in gradient), usable_memory(device)
    if (each * groups + beside) * size > room:
        raise UsageError(
            f"fair_group: {groups} groups with {each} x {size / 1e9:.2f} GB of gradients each do not fit in"
            f" {room / 1e9:.1f} GB; at most {max(0, int(room // size) - beside) // each} do. {remedy}"
        )


def usable_memory(device: torch.device) -> float:
    """Half of the device's memory, in bytes: the other half is for the model, its optimisers and a step."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / 2
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
