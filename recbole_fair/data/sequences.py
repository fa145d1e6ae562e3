"""Each user's latest items before a judged part, as the columns that a sequential model reads."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from recbole_fair.host import Dataset, Interaction, cat_interactions
from recbole_fair.settings.config import Config


def last_items(config: Config, dataset: Dataset, parts: Iterable[Interaction], users: torch.Tensor) -> Interaction:
    """Each user's latest rows of `parts`, oldest first, padded with 0, as the columns a sequential model reads."""
    uid, time = dataset.uid_field, dataset.time_field
    rows = cat_interactions(list(parts))
    order = np.lexsort((rows[time].numpy(), rows[uid].numpy()))
    sorted_users = rows[uid].numpy()[order]
    start = np.searchsorted(sorted_users, users.numpy(), side="left")
    stop = np.searchsorted(sorted_users, users.numpy(), side="right")
    length = np.minimum(stop - start, config["MAX_ITEM_LIST_LENGTH"])
    # [U, L]: position l of a user's list is row (stop - length + l) of the sorted table, while l < length.
    position = np.arange(config["MAX_ITEM_LIST_LENGTH"])[None, :]
    taken = torch.from_numpy(order[np.minimum((stop - length)[:, None] + position, len(order) - 1)])
    absent = torch.from_numpy(position >= length[:, None])
    # A user whose every earlier row is left out (no likes before a labeled part) is read as one item of padding:
    # RecBole's models look at place length - 1.
    columns = {config["ITEM_LIST_LENGTH_FIELD"]: torch.from_numpy(np.maximum(length, 1))}
    for field, values in rows.interaction.items():
        if field != uid and values.dim() == 1:
            columns[field + config["LIST_SUFFIX"]] = values[taken].masked_fill(absent, 0)
    return Interaction(columns)
