"""From lists and interactions, whoever made them, to what metrics ask of each user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.metrics.asked import JudgedLists
from recbole_fair.metrics.formulas import BoolArray, IntArray

_ROWS = 1 << 16  # users at a time where an array [U, K, G] would be held


@dataclass(frozen=True)
class Pairs:
    """Interactions of one part: ids from 1, 0 being nobody and nothing."""

    users: IntArray
    items: IntArray


@dataclass(frozen=True)
class Lists:
    """Top-K lists of the judged users, padded with 0."""

    users: IntArray  # [U] ascending
    items: IntArray  # [U, K]
    short: int  # judged users with fewer than K items
    foreign: int  # listed users that have no test item, and so are not judged


def top_lists(listed: Pairs, ranks: IntArray, judged: IntArray, k: int, names: Sequence[str], where: str) -> Lists:
    """Rows (user, item, rank from 1) as one list a judged user; raw user `names` and the file are for refusals."""
    users, items = listed.users, listed.items
    if len(ranks) and ranks.min() < 1:
        raise UsageError(f"{where}: rank {ranks.min()}; ranks count from 1")
    row = np.full(len(names), -1)
    row[judged] = np.arange(len(judged))
    foreign = len(np.unique(users[row[users] < 0]))
    kept = (row[users] >= 0) & (ranks <= k)
    cells = row[users[kept]] * k + ranks[kept] - 1
    times = np.bincount(cells, minlength=len(judged) * k)
    if (times > 1).any():
        cell = int(times.argmax())
        raise UsageError(f"{where}: user {names[judged[cell // k]]} has rank {cell % k + 1} twice; keep one")
    slots = np.zeros(len(judged) * k, dtype=np.int64)
    slots[cells] = items[kept]
    table = slots.reshape(len(judged), k)
    if (repeated := _repeats(table)).any():
        raise UsageError(f"{where}: user {names[judged[int(repeated.argmax())]]} has one item twice; keep one")
    return Lists(judged, table, int((table == 0).any(axis=1).sum()), foreign)


def _repeats(table: IntArray) -> BoolArray:
    """[U] whether a list holds an item twice."""
    ordered = np.sort(table, axis=1)
    return np.asarray(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)).any(axis=1))


def beside_test(
    lists: Lists, test: Pairs, item_groups: Sequence[Groups], topk: Sequence[int], masked: Mapping[str, IntArray]
) -> JudgedLists:
    """What would have been collected while a model made these lists; `masked` is added to what is counted by group."""
    users, item_num = lists.users, 1 + max(int(lists.items.max(initial=0)), int(test.items.max()))
    row = np.searchsorted(users, test.users)
    known = np.unique(row * item_num + test.items)  # a pair that occurs twice is one test item
    hit = hits(lists.items, known, item_num)
    counts: dict[str, npt.NDArray[Any]] = {}
    if item_groups:
        member = np.concatenate([groups.membership for groups in item_groups], axis=1)  # [I, G]
        counts["hits"] = _group_hits(lists.items, hit, member, topk)
        counts["relevant"] = count_by_group(known // item_num, known % item_num, len(users), member)
    return JudgedLists(
        users=users,
        lists=lists.items,
        scores=np.where(lists.items > 0, 0.0, -np.inf),
        hit=hit,
        relevant=np.bincount(known // item_num, minlength=len(users)),
        counts={**counts, **masked},
    )


def hits(lists: IntArray, known: IntArray, item_num: int) -> BoolArray:
    """[U, K] whether a listed item is among the known pairs, which are sorted."""
    cells = np.arange(len(lists))[:, None] * item_num + lists
    after = np.append(known, -1)  # behind the last pair stands none
    return np.asarray(after[np.searchsorted(known, cells)] == cells)  # no pair has item 0, an empty place


def _group_hits(lists: IntArray, hit: BoolArray, member: BoolArray, topk: Sequence[int]) -> npt.NDArray[np.int32]:
    """[U, T, G] of hits by group within each K."""
    counts = np.empty((len(lists), len(topk), member.shape[1]), dtype=np.int32)
    for start in range(0, len(lists), _ROWS):
        rows = slice(start, start + _ROWS)
        by_rank = member[lists[rows]] & hit[rows, :, None]  # [u, K, G]
        for place, k in enumerate(topk):
            counts[rows, place] = by_rank[:, :k].sum(axis=1)
    return counts


def count_by_group(rows: IntArray, items: IntArray, row_count: int, member: BoolArray) -> IntArray:
    """[U, G] of a user's items in each group."""
    columns = [np.bincount(rows[column[items]], minlength=row_count) for column in member.T]
    return np.stack(columns, axis=1)
