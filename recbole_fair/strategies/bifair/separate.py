"""Separate: BiFair's ablation (section 4.5): the projector first, then, with it frozen, the item vectors.

The loss is BiFair's. The two are trained one after the other instead of in turn, so neither answers to the other.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from recbole_fair.strategies.base import Batch, TrainingView
from recbole_fair.strategies.bifair.method import BiFair


class Separate(BiFair):
    """Train theta for the first `projector_epochs` epochs (at most half of all), then Z alone.

    Where the paper is open: how long the first part lasts, and that one selection on validation spans both parts: a
    projector that has stopped improving for `stopping_step` epochs before its part is over ends the run.
    """

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        self.epochs = int(self.config["epochs"])
        self.projector_epochs = min(int(self.config["projector_epochs"]), max(1, self.epochs // 2))
        self.epoch = 0

    def prepare(self, model: nn.Module) -> None:
        """Both parts must fit."""
        super().prepare(model)
        self.refuse_what_does_not_fit([self.vectors])

    def backward(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        """A gradient into theta, or a step on Z; theta without a gradient is left alone by its optimiser."""
        targets = self.parameters if self.epoch < self.projector_epochs else [self.vectors]
        found = self.balanced(model, model.draw(batch), targets)
        if targets is self.parameters:
            self.leave(found.gradients)
        else:
            self.step_vectors(found.gradients[0])
        return {"loss": found.loss}

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """The rate of Z falls while Z is trained."""
        figures = super().end_epoch(epoch)
        self.epoch = epoch + 1
        self.decay((self.epoch - self.projector_epochs) / max(1, self.epochs - self.projector_epochs))
        return figures

    def state_dict(self) -> dict[str, Any]:
        """Also which part it is."""
        return {**super().state_dict(), "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        super().load_state_dict(state)
        self.epoch = state["epoch"]
