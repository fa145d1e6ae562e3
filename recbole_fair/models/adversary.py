"""A discriminator that reads an attribute from user states, and its two roles in adversarial training.

it attacks:     min over C   L_dis = CE(C(states), classes)         states fixed
it is deceived: min over M   L_rec - lambda L_dis                   C fixed            (UP5, Eq. 3-4)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_fair.errors import UsageError

UNKNOWN = -1  # the class of users without a label: never attacked, never defended
_LEAK = 0.2  # slope of the rectifiers
_NORMALISED = (0, 3)  # layers whose outputs are normalised


class Discriminator(nn.Module):
    """Seven linear layers of widths 2, 4, 2, 2, 1, 1/2 times the state's, then logits of the classes (A.3).

    The released code has nine, normalises over the batch after three of them, and feeds softmaxed values into the
    cross-entropy. Here each user's hidden values are normalised, so that C is the same function in both roles and for
    batches of any size, and logits go into the loss.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        sizes = [width, 2 * width, 4 * width, 2 * width, 2 * width, width, max(width // 2, 1)]
        hidden: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(sizes)):
            normalise = [nn.LayerNorm(after)] if number in _NORMALISED else []
            hidden += [nn.Linear(before, after), *normalise, nn.LeakyReLU(_LEAK)]
        self.layers = nn.Sequential(*hidden, nn.Linear(sizes[-1], classes))

    def forward(self, states: Tensor) -> Tensor:
        """Logits [B, C] of states [B, D]."""
        logits: Tensor = self.layers(states)
        return logits


class Adversary:
    """A discriminator with its own optimiser; it is no part of the model whose states it reads."""

    def __init__(self, width: int, classes: int, *, learning_rate: float, device: torch.device | str = "cpu") -> None:
        if classes < 2:
            raise UsageError(f"adversary: an attribute with {classes} class(es) tells users apart by nothing")
        self.discriminator = Discriminator(width, classes).to(device)
        self.optimizer = torch.optim.AdamW(self.discriminator.parameters(), lr=learning_rate)

    def attack(self, states: Tensor, classes: Tensor) -> float:
        """One step towards reading the classes; the states get no gradient. Returns the loss before the step."""
        self.optimizer.zero_grad()
        loss = _cross_entropy(self.discriminator(states.detach()), classes)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    def loss(self, states: Tensor, classes: Tensor) -> Tensor:
        """L_dis for whoever made the states, to be subtracted; the discriminator gets no gradient."""
        with frozen(self.discriminator):
            return _cross_entropy(self.discriminator(states), classes)

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimiser."""
        return {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict` back."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean over the labelled rows; 0, with a gradient of 0, where no row is labelled."""
    return functional.cross_entropy(logits, classes, ignore_index=UNKNOWN, reduction="sum") / (
        (classes != UNKNOWN).sum().clamp(min=1)
    )


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradient for the parameters of a module inside the block."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def balanced_rows(classes: Tensor, size: int, generator: torch.Generator | None = None) -> Tensor:
    """Rows [size] drawn with replacement so that every class present is as probable as any other.

    >>> rows = balanced_rows(torch.tensor([0] * 97 + [1] * 2 + [-1]), 1000, torch.Generator().manual_seed(0))
    >>> 440 < int((rows >= 97).sum()) < 560, int(rows.max())  # about half, and never the user without a label
    (True, 98)
    """
    sizes = torch.bincount(classes.clamp(min=0), weights=(classes != UNKNOWN).double())  # [C]
    if not sizes.any():
        raise UsageError("adversary: no user has a label")
    weights = torch.where(classes == UNKNOWN, 0.0, 1 / sizes[classes.clamp(min=0)])
    return torch.multinomial(weights, size, replacement=True, generator=generator)


def left_out(attributes: Mapping[str, Tensor]) -> list[str]:
    """How many users each attribute's adversary never sees, in words; nothing of an attribute that all have."""
    counts = {name: int((classes[1:] == UNKNOWN).sum()) for name, classes in attributes.items()}
    return [
        f"{count} users whose {name} is unknown or held back are left out of its adversary"
        for name, count in counts.items()
        if count
    ]


def random_subset(attributes: Sequence[str], generator: torch.Generator | None = None) -> tuple[str, ...]:
    """A non-empty subset, each as probable as any other, in the order of `attributes`."""
    if not attributes:
        raise UsageError("no attribute to choose from: name a sensitive_attribute")
    drawn = int(torch.randint(1, 2 ** len(attributes), (), generator=generator))
    return tuple(attribute for place, attribute in enumerate(attributes) if drawn >> place & 1)
