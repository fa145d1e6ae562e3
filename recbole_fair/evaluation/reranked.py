"""Lists that are not the K largest scores: gathered deeper, chosen for all users of a part together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from recbole_fair.evaluation.ranked import FullCollector
from recbole_fair.groups.membership import Groups
from recbole_fair.host import DataStruct
from recbole_fair.metrics.formulas import FloatArray, IntArray

Chooser = Callable[[IntArray, IntArray, FloatArray, int], IntArray]  # users, items, scores, K -> places [U, K]


class RerankingCollector(FullCollector):
    """Gathers `depth` candidates a user and lists those that `choose` picks."""

    def __init__(self, config: Any, item_groups: Sequence[Groups], choose: Chooser, depth: int) -> None:
        super().__init__(config, item_groups)
        self.choose, self.depth = choose, max(depth, *self.topk)

    def get_data_struct(self) -> DataStruct:
        """What was collected, with the chosen lists in the place of the largest scores."""
        collected = super().get_data_struct()
        items, scores, hits = (collected.get(name) for name in ("rec.items", "rec.scores", "rec.topk"))
        users, k = collected.get("data.user").numpy(), min(max(self.topk), items.shape[1])
        places = torch.from_numpy(self.choose(users, items.numpy(), scores.double().numpy(), k))
        lists, hit = items.gather(1, places), hits[:, :-1].gather(1, places)
        collected.set("rec.items", lists)
        collected.set("rec.scores", scores.gather(1, places))
        collected.set("rec.topk", torch.cat([hit, hits[:, -1:]], dim=1))
        if self.member is not None:
            collected.set("groups.hits", self._hits_by_group(lists, hit > 0))
        return collected

    def _hits_by_group(self, lists: Tensor, hit: Tensor) -> Tensor:
        """[U, T, G] of hits within each K."""
        assert self.member is not None
        return self.member.hits(lists.to(self.device), hit.to(self.device), self.topk).cpu()
