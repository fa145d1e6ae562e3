"""Whether the gradients that a strategy keeps will fit, said before training finds out."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_fair.errors import UsageError


def refuse_too_many_groups(
    groups: int, gradient: Sequence[Tensor], device: torch.device | str, remedy: str, *, each: int = 1, beside: int = 0
) -> None:
    """Refuse to keep `each` gradients of every group, and some beside, shaped as `gradient`; say how many fit."""
    size, room = sum(part.numel() * part.element_size() for part in gradient), usable_memory(torch.device(device))
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
