"""Pop: a control row that recommends the items with most training interactions.

RecBole's own Pop raises the count of an item once a batch, however often the batch holds it, so its ranking depends on
batch size and shuffling: on ml-100k its NDCG@20 differs by a tenth between seeds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_fair.host import GeneralRecommender, InputType, ModelType


class Pop(GeneralRecommender):
    """Score = training interactions of the item; ties go by the data set's order of items."""

    input_type = InputType.POINTWISE
    type = ModelType.TRADITIONAL
    scores_new_users = True
    counts: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        counts = np.bincount(dataset.inter_feat[self.ITEM_ID].numpy(), minlength=self.n_items)
        ties = np.arange(self.n_items) / self.n_items
        self.register_buffer("counts", torch.from_numpy(counts - ties), persistent=False)
        self.unused = nn.Parameter(torch.zeros(1))  # the host's optimiser needs one parameter

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Nothing to learn."""
        return self.unused.sum() * 0.0

    def predict(self, interaction: Any) -> Tensor:
        """Scores of the given pairs."""
        return self.counts[interaction[self.ITEM_ID]]

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """The same scores for every user."""
        return self.counts.repeat(len(interaction), 1).view(-1)


_PRIME = (1 << 31) - 1


class Random(GeneralRecommender):
    """Scores are a fixed pseudo-random function of (seed, user, item)."""

    input_type = InputType.POINTWISE
    type = ModelType.TRADITIONAL
    scores_new_users = True

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
