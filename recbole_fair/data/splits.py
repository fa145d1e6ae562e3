"""The two splits that RecBole lacks: by users (US), and of windows (WS).

By users each user stands wholly in train, valid or test: `eval_args.split: {US: [0.7, 0.1, 0.2]}`.

A split of windows (MoS, section 4.1.1) is `eval_args.split: {WS: [8, 1, 1]}` with `window` and `windows`. A window is
`window` interactions of a user in a row, the last of which is the target. `windows` of them are drawn from all there
are, and within each group of users the drawn ones are split into train, valid and test. A part holds the targets;
what is no target of valid or test is known to everyone, but only the targets of train are learnt by models
that read prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.host import Dataset
from recbole_fair.metrics.formulas import BoolArray, IntArray

# Columns of a part's rows: their order within a user, and whether a window ends there.
ORDER, TARGET = "window_order", "window_target"


def by_users(whole: Dataset, ratios: Sequence[float], seed: int) -> list[Dataset]:
    """One part a ratio of the users who have interactions, drawn by `seed` alone; rows keep their order.

    Users are drawn from their sorted raw ids, so neither the order of the file nor RecBole's numbering matters.
    """
    rows = whole.inter_feat[whole.uid_field].numpy()
    present = np.unique(rows)
    tokens = np.asarray(whole.field2id_token[whole.uid_field], dtype=object)[present]
    drawn = present[np.argsort(tokens, kind="stable")][np.random.default_rng(seed).permutation(len(present))]
    stops = whole._calcu_split_ids(len(present), [ratio / sum(ratios) for ratio in ratios])
    return [_part(whole, np.isin(rows, part)) for part in np.split(drawn, stops)]


def _part(whole: Dataset, mask: BoolArray) -> Dataset:
    return whole.copy(whole.inter_feat[torch.from_numpy(np.flatnonzero(mask))])


# --- windows


def by_windows(config: Any, whole: Dataset, groups: Groups) -> list[Dataset]:
    """The three parts, drawn by `split_seed` from raw ids, so that the order of the file decides ties of time alone."""
    _check(config)
    random = np.random.default_rng(int(config["split_seed"]))
    order = _order(config, whole, random)
    ends = _window_ends(whole, order, int(config["window"]))
    if (count := config["windows"] or len(ends)) > len(ends):
        raise UsageError(
            f"windows={count}: there are {len(ends)} windows of {config['window']} interactions; give no more"
        )
    drawn = ends[_by_name(whole, ends)][random.permutation(len(ends))[:count]]
    ratios = config["eval_args"]["split"]["WS"]
    phase = np.full(len(order), -1)
    stratum = _strata(groups)[whole.inter_feat[whole.uid_field].numpy()]
    for group in np.unique(stratum[drawn]):
        members = drawn[stratum[drawn] == group]
        stops = whole._calcu_split_ids(len(members), [ratio / sum(ratios) for ratio in ratios])
        for number, rows in enumerate(np.split(members, stops)):
            phase[rows] = number
    whole.inter_feat.interaction[ORDER] = torch.from_numpy(order)
    whole.inter_feat.interaction[TARGET] = torch.from_numpy(phase >= 0)
    return [_part(whole, mask) for mask in (phase <= 0, phase == 1, phase == 2)]


def _check(config: Any) -> None:
    if config["window"] is None:
        raise UsageError(
            "eval_args.split=WS: give window, the interactions of a window with its target, as in window=11"
        )
    until, length = config["history_until"], config["history_length"]
    if until is not None and (until != "target" or length != config["window"] - 1):
        raise UsageError(
            f"eval_args.split=WS: a prompt shows what its window holds before the target; give history_until=target and"
            f" history_length={config['window'] - 1}"
        )


def _by_name(whole: Dataset, rows: IntArray) -> IntArray:
    """Places of rows in the order of their raw ids."""
    raw = [
        np.asarray(whole.field2id_token[field])[whole.inter_feat[field].numpy()[rows]]
        for field in (whole.iid_field, whole.uid_field)
    ]
    return np.lexsort(raw)


def _order(config: Any, whole: Dataset, random: np.random.Generator) -> IntArray:
    """When each row was, as a rank: RecBole has put them in the order of time, or (order: RO) a seeded one is drawn."""
    if config["eval_args"]["order"] == "TO":
        return np.arange(len(whole.inter_feat))
    order = np.empty(len(whole.inter_feat), dtype=np.int64)
    order[_by_name(whole, np.arange(len(order)))] = random.permutation(len(order))
    return order


def _window_ends(whole: Dataset, order: IntArray, length: int) -> IntArray:
    """The rows with at least `length` - 1 earlier ones of the same user."""
    users = whole.inter_feat[whole.uid_field].numpy()
    rows = np.lexsort((order, users))
    place = np.arange(len(rows)) - np.searchsorted(users[rows], users[rows])
    return rows[place >= length - 1]


def _strata(groups: Groups) -> IntArray:
    """The group of each user; those of none or of several are a stratum of their own."""
    member = groups.membership
    return np.where(member.sum(1) == 1, member.argmax(1), -1)
