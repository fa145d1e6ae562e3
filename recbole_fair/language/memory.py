"""Whether a model's weights fit into the memory that is free, asked before they are read."""

from __future__ import annotations

import torch


def fits(parameters: int, dtype: str, device: str) -> bool:
    """Whether that many numbers of the torch type `dtype` fit into what is free on `device` now.

    Weights alone: gradients, optimiser states and activations come on top.
    """
    return needed_bytes(parameters, dtype) <= free_bytes(device)


def needed_bytes(parameters: int, dtype: str) -> int:
    """The size of the weights in the torch type `dtype`."""
    return parameters * int(getattr(torch, dtype).itemsize)


def free_bytes(device: str) -> int:
    """What a new tensor can have: a card's free memory with torch's own unused blocks, else the machine's."""
    import psutil

    if torch.device(device).type != "cuda":
        return int(psutil.virtual_memory().available)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + unused)
