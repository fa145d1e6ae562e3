"""Random: a control row whose lists differ by user and do not depend on batches or on who drew before.

RecBole's own Random gives every user of a batch the same list, so its figures vary with the batch size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_fair.host import GeneralRecommender, InputType, ModelType

_PRIME = (1 << 31) - 1


class Random(GeneralRecommender):
    """Scores are a fixed pseudo-random function of (seed, user, item)."""

    input_type = InputType.POINTWISE
    type = ModelType.TRADITIONAL

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        generator = torch.Generator().manual_seed(int(config["seed"]))
        draw = [torch.randint(1, _PRIME, (count,), generator=generator) for count in (self.n_users, self.n_items)]
        self.user_code, self.item_code = (code.to(self.device) for code in draw)
        self.unused = nn.Parameter(torch.zeros(1))  # the host's optimiser needs one parameter

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Nothing to learn."""
        return self.unused.sum() * 0.0

    def _score(self, users: Tensor, items: Tensor) -> Tensor:
        return (self.user_code[users] * self.item_code[items] % _PRIME).double()

    def predict(self, interaction: Any) -> Tensor:
        """Scores of the given pairs."""
        return self._score(interaction[self.USER_ID], interaction[self.ITEM_ID])

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of the given users with all items."""
        users = interaction[self.USER_ID].unsqueeze(1)
        return self._score(users, torch.arange(self.n_items, device=users.device).unsqueeze(0)).view(-1)
