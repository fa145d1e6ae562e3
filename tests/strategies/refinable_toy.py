"""A text-enhanced model of a few numbers in double precision, with the parts that BiFair asks for."""

from __future__ import annotations

from typing import Any

import torch
from strategy_toy import ITEMS, PAIRS, USERS
from torch import Tensor
from torch.nn import functional

from recbole_fair.models.losses import SampledInfoNCE


class TinyText(torch.nn.Module):
    """e = normalise(W2 tanh(W1 z + b)), users the means of their items' z; the negatives stand in the batch."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
        self.first, self.bias, self.second = (torch.nn.Parameter(draw(*shape)) for shape in ((5, 4), (4,), (4, 3)))
        self.register_buffer("item_vectors", draw(ITEMS, 5), persistent=False)
        history = torch.zeros(USERS, ITEMS, dtype=torch.float64)
        for user, item in PAIRS:
            history[user, item] = 1
        self.history = history / history.sum(1, keepdim=True).clamp(min=1)
        self.loss = SampledInfoNCE()

    def draw(self, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return batch["user_id"], batch["item_id"], batch["negatives"]

    def unit_vectors(self) -> tuple[Tensor, Tensor]:
        projected = [
            (torch.tanh(vectors @ self.first + self.bias) @ self.second)
            for vectors in (self.history @ self.item_vectors, self.item_vectors)
        ]
        users, items = (functional.normalize(part, dim=-1) for part in projected)
        return users, items

    def pair_losses(self, rows: Any, users: Tensor, items: Tensor) -> Tensor:
        user, positive, negatives = rows
        chosen = users[user]
        scores = (chosen * items[positive]).sum(1), torch.einsum("bd,bnd->bn", chosen, items[negatives])
        return self.loss(*(part / 0.3 for part in scores))

    def calculate_loss(self, batch: dict[str, Tensor]) -> Tensor:
        return self.pair_losses(self.draw(batch), *self.unit_vectors())

    def forward(self, rows: Any, objective: Any) -> Tensor:
        """For torch.func.functional_call."""
        return objective(self.pair_losses(rows, *self.unit_vectors()))


def batch(size: int = 24, seed: int = 5) -> dict[str, Tensor]:
    """Rows of PAIRS with three negatives each."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.tensor(PAIRS)[torch.randint(len(PAIRS), (size,), generator=generator)]
    negatives = torch.randint(1, ITEMS, (size, 3), generator=generator)
    return {"user_id": rows[:, 0], "item_id": rows[:, 1], "negatives": negatives}


KEYS: dict[str, Any] = {
    "weights": "entropy", "gain": 0.8, "shares": "natural", "least_weight": None, "loss_smoothing": 1.0,
    "fair_weight": 1.0, "columns": "raw", "direction": "groups", "gram": "parameters",
    "solver_steps": 2000, "learning_rate": 0.05, "outer_lr": 0.01, "outer_every": 1, "xi": None, "epsilon": 0.01,
    "implicit": "finite_difference", "epochs": 10, "device": torch.device("cpu"),
}  # fmt: skip
