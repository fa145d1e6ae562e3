"""Data-parallel training: several processes, one a GPU, train one model on the same batches.

    torchrun --nproc_per_node 2 run_recbole_fair.py --model=CF-Diff ...

Every rank draws the same batch, forwards its `share` of it, and gets what the others computed by `gathered`. So each
computes the loss of the whole batch from the same numbers, and whatever a loss takes over a batch (a mean, a spread, a
running threshold) is over the prompts of all ranks. The gradient reaches a rank's parameters through its own rows:

    L = L(x_1, ..., x_W):   dL/dtheta = sum over ranks r of (dL/dx_r) (dx_r/dtheta)

so the sum over ranks (`sum_gradients`) is the gradient of one process with the whole batch. A term of the loss that
reads parameters rather than rows would be counted W times, hence `once`.

Rank 0 does all that a single process does. The others hear from it (`said`) which run is trained and when an epoch
begins, and write nothing. With one process every function here hands its argument back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed

from recbole_fair.errors import TrainingError, UsageError

_PATIENCE = timedelta(days=30)  # of the ranks that wait while rank 0 evaluates


def launched() -> bool:
    """Whether torchrun has started this process beside others."""
    return distributed.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1


def start(device: torch.device) -> None:
    """Meet the other processes."""
    from accelerate import PartialState

    PartialState(cpu=device.type == "cpu", timeout=_PATIENCE)


def ranks() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


# --- one step


def share(count: int) -> npt.NDArray[np.int64]:
    """The places, of `count` in a batch, that this rank forwards; as even as can be."""
    if count < ranks():
        raise UsageError(
            f"train_batch_size: a batch of {count} cannot be shared by {ranks()} processes; raise it, or start fewer"
        )
    return np.array_split(np.arange(count), ranks())[rank()]


def gathered(own: Tensor) -> Tensor:
    """The rows [n, ...] of all ranks, in the order of the batch; a gradient goes through this rank's own alone."""
    if ranks() == 1:
        return own
    from accelerate.utils import gather, pad_across_processes

    counts = gather(torch.tensor([len(own)], device=own.device)).tolist()
    padded = gather(pad_across_processes(own.detach())).split(max(counts))
    parts = [rows[:count] for rows, count in zip(padded, counts, strict=True)]
    parts[rank()] = own
    return torch.cat(parts)


def once(term: Tensor) -> Tensor:
    """A term of the loss that reads parameters, not rows: its gradient is counted on rank 0 alone."""
    return term if rank() == 0 else term.detach()


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Give every rank the sum over ranks of each gradient."""
    if ranks() == 1:
        return
    from accelerate.utils import reduce

    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = reduce(parameter.grad, "sum")


# --- what rank 0 tells the others


def said(word: Any = None) -> Any:
    """What rank 0 says (the others' own word does not count), as JSON; they wait for it."""
    if ranks() == 1:
        return word
    from accelerate import PartialState
    from accelerate.utils import broadcast

    device = PartialState().device
    text = torch.frombuffer(bytearray(json.dumps(word).encode()), dtype=torch.uint8).to(device)
    length = int(broadcast(torch.tensor([len(text)], device=device)))
    return json.loads(bytes(broadcast(text if rank() == 0 else text.new_empty(length)).tolist()))


@contextmanager
def leading(job: Mapping[str, Any]) -> Iterator[None]:
    """Have the other ranks train this job with us inside the block.

    Errors of training reach every rank, and a refusal between two epochs finds the others waiting. After any other
    error this process ends, and torchrun ends the others.
    """
    said(dict(job))
    try:
        yield
    except (TrainingError, UsageError):
        said(None)
        raise
    said(None)
