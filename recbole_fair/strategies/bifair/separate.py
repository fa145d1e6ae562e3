"""Separate: BiFair's ablation (section 4.5): the projector first, then, with it frozen, the item vectors.

The loss is BiFair's. The two are trained one after the other instead of in turn, so neither answers to the other.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from recbole_fair.strategies.base import Batch, TrainingView
from recbole_fair.strategies.bifair.method import BiFair


class Separate(BiFair):
    """Train theta until it stops early, go back to its best weights, then train Z alone until that stops early.

    Where the paper is open: how long each part lasts. Each has the patience of `stopping_step`; the first has at most
    half of the epochs. The weights that are kept are the second part's best, be they worse than the first part's.
    """

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        self.epochs, self.epoch = int(self.config["epochs"]), 0
        self.frozen_at: int | None = None  # the epoch with which the second part began

    def prepare(self, model: nn.Module) -> None:
        """As BiFair, and refuse gradients of the second part's that do not fit either."""
        super().prepare(model)
        self.refuse_what_does_not_fit([self.vectors])

    @property
    def more_parts(self) -> bool:
        """Whether the item vectors are still to come."""
        return self.frozen_at is None

    def begin_next_part(self) -> None:
        """Freeze theta; the item vectors' part begins."""
        self.frozen_at = self.epoch

    def backward(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        """A gradient into theta, or a step on Z; theta without a gradient is left alone by its optimiser."""
        targets = self.parameters if self.more_parts else [self.vectors]
        balanced = self.balanced(model, model.draw(batch), targets)
        if self.more_parts:
            self.leave(balanced.gradients)
        else:
            self.step_vectors(balanced.gradients[0])
        return {"loss": balanced.loss}

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """The rate of Z falls while Z is trained."""
        figures = super().end_epoch(epoch)
        self.epoch = epoch + 1
        begun = self.epoch if self.frozen_at is None else self.frozen_at
        self.decay((self.epoch - begun) / max(1, self.epochs - begun))
        return figures

    def state_dict(self) -> dict[str, Any]:
        """BiFair's state, and which part it is."""
        return {**super().state_dict(), "epoch": self.epoch, "frozen_at": self.frozen_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict` back."""
        super().load_state_dict(state)
        self.epoch, self.frozen_at = state["epoch"], state["frozen_at"]
