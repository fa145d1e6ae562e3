"""A running mean of the weights, which is judged and kept in the place of the weights of one step.

    m <- m + a_t (theta_t - m),   a_t = max(1 / t, 1 / (5 epochs' steps))

At first it is the plain mean of all steps, so the first weights count for no more than others (no bias to undo).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from recbole_fair.training import checkpoint

_EPOCHS = 5


class Average:
    """The mean of what is trained in a model, a strategy's item vectors among it."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.steps_of_epoch = model, 1
        self.restart()

    def restart(self) -> None:
        """Forget all steps so far."""
        self.steps = 0
        self.means = {name: value.detach().clone() for name, value in checkpoint.trained(self.model).items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        share = max(1 / self.steps, 1 / (_EPOCHS * self.steps_of_epoch))
        for name, value in checkpoint.trained(self.model).items():
            self.means[name].lerp_(value, share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model with the means for weights while the block runs, then as it was to the last bit."""
        weights = {name: value.detach().clone() for name, value in checkpoint.trained(self.model).items()}
        self._put(self.means)
        try:
            yield
        finally:
            self._put(weights)

    def _put(self, values: dict[str, Tensor]) -> None:
        for name, value in checkpoint.trained(self.model).items():
            value.data.copy_(values[name])

    def load(self, means: dict[str, Tensor], steps: int) -> None:
        """Go on from a resume point."""
        for name, value in self.means.items():
            value.copy_(means[name])
        self.steps = steps
