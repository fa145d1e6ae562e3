"""Drawing negatives and pairs on the device, from the training interactions."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

_DENSE_CELLS = 1 << 28  # a seen-table of up to 256 MiB is looked up directly, beyond that by binary search


class PairSampler(nn.Module):
    """Knows which items each user has in training. A module only so that it moves with its model."""

    def __init__(self, interactions: sp.spmatrix) -> None:
        super().__init__()
        matrix = interactions.tocsr()
        matrix.sum_duplicates()
        self.users, self.items = matrix.shape
        self.pointer: Tensor
        self.item: Tensor
        self.seen: Tensor
        self.register_buffer("pointer", torch.from_numpy(matrix.indptr.astype(np.int64)), persistent=False)
        self.register_buffer("item", torch.from_numpy(matrix.indices.astype(np.int64)), persistent=False)
        self.dense = self.users * self.items <= _DENSE_CELLS
        coo = matrix.tocoo()
        keys = torch.from_numpy(np.sort(coo.row.astype(np.int64) * self.items + coo.col))
        if self.dense:
            table = torch.zeros(self.users * self.items, dtype=torch.bool)
            table[keys] = True
            keys = table
        self.register_buffer("seen", keys, persistent=False)

    def is_seen(self, users: Tensor, items: Tensor) -> Tensor:
        """Whether each (user, item) is a training interaction; shapes broadcast."""
        keys = users * self.items + items
        if self.dense:
            return self.seen[keys]
        place = torch.searchsorted(self.seen, keys).clamp(max=len(self.seen) - 1)
        return self.seen[place] == keys

    def negatives(self, users: Tensor, count: int) -> Tensor:
        """Items [B, count], uniform over the items a user does not have in training, with replacement.

        Draws that hit a training item are drawn again. A user who has nearly everything would keep that loop busy,
        so after 64 rounds what is left of such draws stays.
        """
        owner = users.unsqueeze(1).expand(-1, count).reshape(-1)
        drawn = torch.randint(1, self.items, (len(owner),), device=users.device)
        wrong = self.is_seen(owner, drawn).nonzero().squeeze(1)
        for _ in range(64):
            if not len(wrong):
                break
            drawn[wrong] = torch.randint(1, self.items, (len(wrong),), device=users.device)
            wrong = wrong[self.is_seen(owner[wrong], drawn[wrong])]
        return drawn.view(-1, count)

    def pairs(self, count: int) -> tuple[Tensor, Tensor]:
        """Users uniformly among those with training items, each with one of its items (AlphaRec's released loop)."""
        degree = self.pointer.diff()
        trained = degree.nonzero().squeeze(1)
        users = trained[torch.randint(len(trained), (count,), device=trained.device)]
        offset = (torch.rand(count, device=users.device) * degree[users]).long()
        # rand() < 1, but its product with a large degree may round up to the degree itself
        return users, self.item[self.pointer[users] + torch.minimum(offset, degree[users] - 1)]
