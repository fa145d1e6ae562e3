"""Seeded subsets: the prompts that a language model can afford, and the users whose labels a defence may see."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from recbole_fair.data.identity import PHASES
from recbole_fair.host import Dataset
from recbole_fair.metrics.formulas import BoolArray, IntArray


def places(count: int, most: int | None, seed: int, phase: str) -> IntArray:
    """At most `most` of `count` places, rising; those of a smaller `most` are among those of a larger one.

    >>> places(5, None, 0, "train").tolist()
    [0, 1, 2, 3, 4]
    >>> set(places(100, 3, 0, "test")) <= set(places(100, 9, 0, "test"))
    True
    """
    if most is None or most >= count:
        return np.arange(count)
    rng = np.random.default_rng([seed, PHASES.index(phase), 1])  # candidates are drawn from [seed, phase]
    return np.sort(rng.permutation(count)[:most])


def training_prompts(config: Any, count: int) -> IntArray:
    """Which of `count` training prompts a model learns from, by `max_train_prompts` and `split_seed`."""
    return places(count, config["max_train_prompts"], int(config["split_seed"]), "train")


def judged_pairs(config: Any, count: int, phase: str) -> IntArray:
    """Which of `count` labeled pairs of a part are judged, by `max_eval_prompts` and `split_seed`."""
    return places(count, config["max_eval_prompts"], int(config["split_seed"]), phase)


def of_judged_users(config: Any, part: Dataset, phase: str) -> Dataset:
    """The rows of the users who are judged among candidates: one prompt is one user's list."""
    rows = part.inter_feat[part.uid_field].numpy()
    users = np.unique(rows)
    chosen = users[judged_pairs(config, len(users), phase)]
    return part.copy(part.inter_feat[torch.from_numpy(np.flatnonzero(np.isin(rows, chosen)))])


def held_back(config: Any, users: int) -> BoolArray:
    """Whose labels are kept from a defence, so that a probe can ask about users that it was never told about.

    True [U] for a share `hold_labels` of the users 1 .. U - 1, drawn by `split_seed`: equal for all models and seeds.

    >>> settings = {"hold_labels": 0.5, "split_seed": 1}
    >>> int(held_back(settings, 9).sum()), bool(held_back(settings, 9)[0])
    (4, False)
    """
    order = np.random.default_rng([int(config["split_seed"]), users]).permutation(users - 1) + 1
    held = np.zeros(users, dtype=bool)
    held[order[: round(float(config["hold_labels"]) * (users - 1))]] = True
    return held
