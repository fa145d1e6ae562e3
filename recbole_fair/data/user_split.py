"""A split by users: each user stands wholly in train, valid or test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from recbole_fair.host import Dataset


def by_users(whole: Dataset, ratios: Sequence[float], seed: int) -> list[Dataset]:
    """One part a ratio of the users who have interactions, drawn by `seed` alone; rows keep their order.

    Users are drawn from their sorted raw ids, so neither the order of the file nor RecBole's numbering matters.
    """
    rows = whole.inter_feat[whole.uid_field].numpy()
    present = np.unique(rows)
    tokens = np.asarray(whole.field2id_token[whole.uid_field], dtype=object)[present]
    drawn = present[np.argsort(tokens, kind="stable")][np.random.default_rng(seed).permutation(len(present))]
    stops = whole._calcu_split_ids(len(present), [ratio / sum(ratios) for ratio in ratios])
    return [_of(whole, np.isin(rows, part)) for part in np.split(drawn, stops)]


def _of(whole: Dataset, mask: npt.NDArray[np.bool_]) -> Dataset:
    return whole.copy(whole.inter_feat[torch.from_numpy(np.flatnonzero(mask))])
