"""What a fairness strategy is: an object that owns the backward pass of any model's training.

    prepare(model)          before the optimiser is built: what must leave `model.parameters()` leaves it here
    backward(model, batch)  compute losses, leave gradients behind, return what to log
    end_epoch(epoch)        once the epoch's batches are done

A strategy that needs losses per sample asks `keep_sample_losses` for them. RecBole's models reduce their loss inside
`calculate_loss`, but most call a loss *module* there; replacing that module by `KeptLoss` gives the strategy the
losses and lets it choose the reduction, while the host keeps its own regulariser. Nothing of a host model is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from recbole_fair import losses
from recbole_fair.errors import UsageError
from recbole_fair.groups import Groups

Batch = Mapping[str, Tensor]
Reduction = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class TrainingView:
    """What a strategy may know of the data: groups by id, training counts by item, and field names."""

    config: Any
    item_groups: Groups | None
    item_field: str
    item_counts: Tensor  # [I] training interactions of each item


class Strategy:
    """Plain training; every strategy overrides what it changes."""

    def __init__(self, view: TrainingView) -> None:
        self.view = view
        self.config = view.config

    def prepare(self, model: nn.Module) -> None:
        """Look at the model, refuse it or attach to it, before its optimiser exists."""

    def backward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Leave the gradients of one batch in the parameters; return the losses to log."""
        loss = total(model.calculate_loss(batch))  # type: ignore[operator]
        loss.backward()  # type: ignore[no-untyped-call]
        return {"loss": loss.detach()}

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Figures to log for a finished epoch."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What resume needs beyond the model, its optimisers included."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict` back."""


def total(loss: Tensor | tuple[Tensor, ...]) -> Tensor:
    """RecBole's models return a loss or a tuple of parts."""
    return sum(loss[1:], loss[0]) if isinstance(loss, tuple) else loss


class KeptLoss(nn.Module):
    """Stands in for a model's loss module: keeps the per-sample losses and reduces them as the strategy says."""

    def __init__(self, per_sample: Callable[..., Tensor], reduction: Reduction) -> None:
        super().__init__()
        self.per_sample = per_sample
        self.reduction = reduction
        self.samples: Tensor | None = None  # [B] of the latest batch

    def forward(self, *inputs: Tensor) -> Tensor:
        """Per-sample losses of the host's arguments, reduced."""
        self.samples = self.per_sample(*inputs)
        return self.reduction(self.samples)


# Which attribute of a model is the loss module, by the class of that module.
_PER_SAMPLE: dict[str, Callable[..., Tensor]] = {
    "BPRLoss": losses.bpr,
    "SampledInfoNCE": losses.info_nce,
    "CrossEntropyLoss": losses.cross_entropy,
}
_LOSS_ATTRIBUTES = ("loss", "mf_loss", "loss_fct")


def keep_sample_losses(model: nn.Module, reduction: Reduction) -> KeptLoss:
    """Replace the model's loss module; refuse a model whose loss has no per-sample form here."""
    for attribute in _LOSS_ATTRIBUTES:
        module = getattr(model, attribute, None)
        per_sample = _PER_SAMPLE.get(type(module).__name__)
        if per_sample is not None:
            kept = KeptLoss(per_sample, reduction)
            setattr(model, attribute, kept)
            return kept
    raise UsageError(f"{type(model).__name__}: {_why_not(model)}; a strategy on samples cannot train it")


def _why_not(model: nn.Module) -> str:
    if not any(parameter.requires_grad and parameter.numel() > 1 for parameter in model.parameters()):
        return "it is solved in closed form, without a loss"
    return "it reduces its loss inside the model, so there are no losses per sample"
