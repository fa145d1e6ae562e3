"""A model of a few numbers and a view of a few interactions, small enough to follow by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.model.loss import BPRLoss

from recbole_fair.groups.membership import Groups
from recbole_fair.groups.pairs import PairGroups, of_pairs
from recbole_fair.strategies.base import TrainingView

USERS, ITEMS = 4, 7
GENDER = Groups("user", "gender", ("F", "M"), np.array([[0, 0], [1, 0], [0, 1], [1, 0]], dtype=bool))
GENRE = Groups(
    "item",
    "genre",
    ("a", "b", "c"),
    np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=bool),
)
EVERY = Groups("item", "every", ("all",), np.arange(ITEMS)[:, None] > 0)
# user, item of the training interactions; item 6 is of no genre
PAIRS = [(1, 1), (1, 2), (2, 1), (2, 3), (3, 4), (3, 5), (3, 1), (1, 6), (2, 4)]


def names_of(groups: Groups, identifier: int) -> list[str]:
    """Groups that an id belongs to, by a plain loop."""
    return [name for place, name in enumerate(groups.names) if groups.membership[identifier, place]]


def view(*parts: Groups, times: Any = None, **config: Any) -> TrainingView:
    """A strategy's view of PAIRS, grouped by the product of `parts`."""
    groups = of_pairs("*".join(part.field for part in parts), parts, USERS, ITEMS)
    return seen(groups, times=times, **config)


def seen(groups: PairGroups, *, times: Any = None, **config: Any) -> TrainingView:
    """The same for groups made elsewhere."""
    users, items = torch.tensor(PAIRS).T
    keys = {"fair_weight": 1.0, "device": torch.device("cpu"), "enable_amp": False, **config}
    return TrainingView(keys, lambda: groups, users, items, None if times is None else torch.tensor(times))


class Tiny(torch.nn.Module):
    """BPR on a bilinear score with a weak regulariser, so that the loss has curvature and a part of its own."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.user = torch.nn.Parameter(torch.randn(USERS, 3, generator=generator))
        self.item = torch.nn.Parameter(torch.randn(ITEMS, 3, generator=generator))
        self.loss = BPRLoss()

    def samples(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """What the loss module should see per sample, written down anew."""
        user = self.user[batch["user_id"]]
        gap = (user * (self.item[batch["item_id"]] - self.item[batch["neg"]])).sum(1)
        return -torch.log(1e-10 + torch.sigmoid(gap))

    def calculate_loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        user = self.user[batch["user_id"]]
        scores = [(user * self.item[batch[field]]).sum(1) for field in ("item_id", "neg")]
        return self.loss(*scores) + self.regulariser()

    def regulariser(self) -> torch.Tensor:
        return 0.01 * self.item.square().sum()


def batch(size: int = 20, seed: int = 3) -> dict[str, torch.Tensor]:
    """Rows drawn from PAIRS with a negative each."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.tensor(PAIRS)[torch.randint(len(PAIRS), (size,), generator=generator)]
    offset = torch.randint(1, ITEMS - 1, (size,), generator=generator)
    negatives = (rows[:, 1] - 1 + offset) % (ITEMS - 1) + 1  # never the positive itself
    return {"user_id": rows[:, 0], "item_id": rows[:, 1], "neg": negatives}


def gradients(model: torch.nn.Module) -> list[torch.Tensor]:
    """What a backward pass left behind."""
    return [parameter.grad.clone() for parameter in model.parameters()]


def plain_gradients(rows: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Of an untouched model on the same batch."""
    model = Tiny()
    model.calculate_loss(rows).backward()
    return gradients(model)


def gradients_under(strategy: Any, rows: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Of the same model on the same batch, trained by a strategy."""
    model = Tiny()
    strategy.prepare(model)
    strategy.backward(model, rows)
    return gradients(model)
