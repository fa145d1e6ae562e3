"""UP5's loss upon a model of its own: L = L_rec - lambda L_dis, against an adversary that learns with it.

A model offers `attacked(batch)`, the states [B, D] that the adversary reads and the classes [B] that it looks for, and
`attacked_shape`, the width of a state and the number of classes. UP5, Eq. 3-4; models/adversary.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from recbole_fair.errors import UsageError
from recbole_fair.models.adversary import Adversary
from recbole_fair.strategies.base import Strategy, TrainingView


class Deceived(Strategy):
    """The model learns to recommend and to be unreadable, the adversary to read."""

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        if self.config["hold_labels"]:
            raise UsageError(f"hold_labels: the adversary of {self.config.name} reads labels from prompts; take 0")
        self.weight, self.steps = float(self.config["adversary_weight"]), int(self.config["adversary_steps"])

    def prepare(self, model: nn.Module) -> None:
        """Make the adversary of the states that this model has."""
        width, classes = model.attacked_shape  # type: ignore[misc]
        rate = float(self.config["adversary_learning_rate"])
        self.adversary = Adversary(width, classes, learning_rate=rate, device=self.device)

    def backward(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """The model's gradient first, then the adversary's steps on the same states; its own step comes last."""
        attacked: Callable[[Any], tuple[Tensor, Tensor]] = model.attacked  # type: ignore[assignment]
        recommendation, parts = self.loss(model, batch)
        states, classes = attacked(batch)
        read = self.adversary.loss(states, classes)
        loss = recommendation - self.weight * read
        loss.backward()  # type: ignore[no-untyped-call]
        for _ in range(self.steps):
            self.adversary.attack(states, classes)
        named = {name: value.detach() for name, value in parts.items()}
        return {**named, "adversary": read.detach(), "loss": loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        """The adversary; it is no part of the model."""
        return self.adversary.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the adversary back."""
        self.adversary.load_state_dict(state)
