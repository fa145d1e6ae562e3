"""Ranking among candidates: each judged user's test items and a number of real items it has never met.

Drawn once from `split_seed`, so every model of a comparison, and every seed, ranks the same; RecBole draws anew on
every pass, and the released UP5 evaluation draws ids of which a third do not exist (docs/methods.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from recbole_fair.data.identity import PHASES
from recbole_fair.data.subsets import of_judged_users
from recbole_fair.host import Dataset, FullSortEvalDataLoader, Sampler
from recbole_fair.metrics.formulas import IntArray


def draw(seen: IntArray, item_num: int, count: int, rng: np.random.Generator) -> IntArray:
    """`count` different items of 1 .. item_num - 1 outside `seen`, or all there are."""
    unseen = item_num - 1 - len(seen)
    if count * 4 >= unseen:
        rest = np.setdiff1d(np.arange(1, item_num), seen, assume_unique=False)
        return np.sort(rng.permutation(rest)[:count])
    chosen: IntArray = np.empty(0, dtype=np.int64)
    while len(chosen) < count:  # at most a quarter of the draws meet an item drawn before, so a few rounds do
        more = rng.integers(1, item_num, size=2 * count)
        fresh = np.setdiff1d(more, seen)
        chosen = np.union1d(chosen, fresh)
    return np.sort(rng.permutation(chosen)[:count])


class CandidateLoader(FullSortEvalDataLoader):
    """The host's loader, whose mask hides everything but a user's candidates.

    One pass over all items costs an ID model less than scoring pairs; the figures are those of ranking the candidates.
    """

    candidates: dict[int, IntArray]  # by user: drawn items, without the positives

    def collate_fn(self, index: Any) -> Any:
        """A batch of users, with the mask of what is no candidate in place of the mask of what was seen."""
        users, _, positive_u, positive_i = super().collate_fn(index)
        hidden = torch.ones(len(users), self._dataset.item_num, dtype=torch.bool)
        hidden[positive_u, positive_i] = False
        for row, user in enumerate(users[self.uid_field].tolist()):
            hidden[row, torch.from_numpy(self.candidates[user])] = False
        return users, hidden, positive_u, positive_i

    def pairs(self) -> Iterator[tuple[int, int]]:
        """(user, item) of every drawn candidate, users in order."""
        for user in sorted(self.candidates):
            yield from ((user, int(item)) for item in self.candidates[user])


def candidate_loader(config: Any, parts: Mapping[str, Dataset], phase: str, history: Sampler) -> CandidateLoader:
    """The loader of one judged part with its candidates drawn."""
    part = of_judged_users(config, parts[phase], phase) if config["max_eval_prompts"] else parts[phase]
    loader = CandidateLoader(config, part, history.set_phase(phase), shuffle=False)
    rng = np.random.default_rng([config["split_seed"], PHASES.index(phase)])
    seen = _seen(parts)
    items, count = parts[phase].item_num, config["num_candidates"]
    loader.candidates = {user: draw(seen[user], items, count, rng) for user in loader.uid_list.tolist()}
    return loader


def _seen(parts: Mapping[str, Dataset]) -> list[IntArray]:
    """Items of each user in any part."""
    first = parts["train"]
    users, items = (
        np.concatenate([part.inter_feat[field].numpy() for part in parts.values()])
        for field in (first.uid_field, first.iid_field)
    )
    order = np.lexsort((items, users))
    stops = np.searchsorted(users[order], np.arange(1, first.user_num))
    return [np.unique(entry) for entry in np.split(items[order], stops)]
