"""The optimiser of a run, over what is trained, and the schedule of its rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from recbole_fair.errors import UsageError


def parameter_groups(model: nn.Module, module_rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """Trained parameters: those below each named module with its own rate, then the rest; frozen ones are left out."""
    rest = {name: value for name, value in model.named_parameters() if value.requires_grad}
    groups = []
    for module, rate in module_rates.items():
        names = [name for name in rest if f".{name}".startswith(f".{module}.") or name == module]
        if not names:
            modules = sorted({name.split(".")[0] for name in rest})
            raise UsageError(
                f"module_rates.{module}: no trained parameter lies there; the model's modules are {modules}"
            )
        groups.append({"params": [rest.pop(name) for name in names], "lr": float(rate)})
    return [*groups, {"params": list(rest.values())}] if rest else groups


def adafactor(groups: list[dict[str, Any]], rate: float, weight_decay: float) -> Optimizer:
    """Adafactor (Shazeer and Stern 2018) whose rate is the size of a step, as prompts are tuned with it.

    torch's own scales every step by its parameter's size, and would leave LoRA's B, which begins at 0, where it is.
    """
    from transformers.optimization import Adafactor

    made: Any = Adafactor  # untyped
    return made(groups, lr=rate, weight_decay=weight_decay, scale_parameter=False, relative_step=False)


def schedule(
    optimizer: Optimizer, kind: str, warmup: float, steps: int, *, made: int = 0, growth: float = 1.0
) -> LambdaLR:
    """The rate of every step: it rises over the first share `warmup`, then stays, falls in a line, or as a cosine.

    `made` steps of the `steps` lie behind, in an optimiser that a resume point gave back. Batches `growth` times as
    large as `train_batch_size` are learnt from at so many times the rate.
    """
    rising = math.ceil(warmup * steps)
    falls: dict[str, Callable[[float], float]] = {
        "constant": lambda _: 1.0,
        "linear": lambda share: 1.0 - share,
        "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
    }

    def factor(step: int) -> float:
        if step < rising:
            return growth * (step + 1) / rising
        return growth * falls[kind](min((step - rising) / max(steps - rising, 1), 1.0))

    return LambdaLR(optimizer, factor, last_epoch=made - 1)
