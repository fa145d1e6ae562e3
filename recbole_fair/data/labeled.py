"""Judging answers instead of lists: whether a user likes an item, yes or no.

The pairs are the test interactions themselves, each with a label (is its rating in `likes`?). A model that only ranks
is asked for its scores of these pairs, and says Yes above a threshold chosen on validation; so it can stand in one
table with a language model that answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from recbole_fair.data.subsets import judged_pairs
from recbole_fair.errors import UsageError
from recbole_fair.groups.bins import within
from recbole_fair.host import Dataset, FullSortEvalDataLoader, Sampler
from recbole_fair.metrics.formulas import BoolArray, IntArray


def likes(config: Any, part: Dataset) -> BoolArray:
    """Whether each row's rating counts as a like."""
    rating, interval = config["RATING_FIELD"], config["likes"]
    if interval is None:
        raise UsageError("likes: labeled evaluation needs the ratings that count as a like, as in likes='[4,inf)'")
    if rating not in part.inter_feat:
        raise UsageError(
            f"eval_protocol=labeled: the data has no field {rating!r} (RATING_FIELD), or load_col omits it"
        )
    if config["normalize_all"] or rating in (config["normalize_field"] or ()):
        raise UsageError("normalize_all: labeled evaluation reads ratings on their own scale; set normalize_all=False")
    if unrated := part.missing[rating]:
        raise UsageError(
            f"{part.dataset_path}: {unrated} interactions have no {rating}, so nobody knows whether they are likes;"
            f" leave them out with val_interval={{{rating}: '[0,inf)'}} (the scale of your ratings)"
        )
    values, places = np.unique(part.inter_feat[rating].numpy(), return_inverse=True)
    liked = within(interval, "likes")
    return np.array([liked(str(value)) for value in values.tolist()], dtype=bool)[places]


class LabeledLoader(FullSortEvalDataLoader):
    """The host's loader over the judged pairs; `labels` says of each (user, item) whether it is liked."""

    phase: str
    labels: dict[tuple[int, int], bool]


def labeled_loader(config: Any, parts: Mapping[str, Dataset], phase: str, history: Sampler) -> LabeledLoader:
    """The latest `targets_per_user` interactions of each user in one part, or `max_eval_prompts` of these."""
    part = parts[phase]
    chosen = latest(part, config["targets_per_user"])
    chosen = chosen[judged_pairs(config, len(chosen), phase)]
    liked = likes(config, part)[chosen]
    if liked.all() or not liked.any():
        raise UsageError(
            f"likes={config['likes']!r}: {'all' if liked.all() else 'none'} of the {phase} pairs are liked"
        )
    judged = part.copy(part.inter_feat[torch.from_numpy(chosen)])
    users, items = (judged.inter_feat[name].tolist() for name in (part.uid_field, part.iid_field))
    loader = LabeledLoader(config, judged, history.set_phase(phase), shuffle=False)
    loader.phase, loader.labels = phase, dict(zip(zip(users, items, strict=True), liked.tolist(), strict=True))
    return loader


def latest(part: Dataset, count: int | None) -> IntArray:
    """Rows of each user's last `count` interactions (all without a count), in the part's own order."""
    users = part.inter_feat[part.uid_field].numpy()
    if count is None:
        return np.arange(len(users))
    time = part.inter_feat[part.time_field].numpy() if part.time_field in part.inter_feat else np.arange(len(users))
    order = np.lexsort((time, users))
    last_of_user = np.searchsorted(users[order], users[order], side="right")
    return np.sort(order[last_of_user - np.arange(len(users)) <= count])


def asked(loader: LabeledLoader) -> list[tuple[int, int, bool]]:
    """Users, items and labels of the pairs, whatever their order in the files."""
    return sorted((user, item, liked) for (user, item), liked in loader.labels.items())
