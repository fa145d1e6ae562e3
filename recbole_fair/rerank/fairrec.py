"""FairRec: every group has a minimum exposure, users take turns (Patro et al. 2020).

    places of group g >= floor(alpha U K / G), where the lists hold so many candidates of it

Phase 1: in rounds, users in their order take their best candidate among groups that still lack places. Phase 2: what
is left of a list is filled with its best candidates. Turns leave no user envious of another's list by more than one
item. The producers of the paper are items; here they are groups, so that a provider's field can be named. An item of
several groups serves each of them. Symbols: alpha the share of an equal part that is guaranteed (the strength).
"""

from __future__ import annotations

import numpy as np

from recbole_fair.rerank.candidates import BoolArray, Candidates, IntArray, best

_ROWS = 1 << 12  # users whose picks are looked at together


def fairrec(candidates: Candidates, strength: float) -> IntArray:
    """[U, K] chosen places."""
    users, reachable = len(candidates.items), candidates.due > 0
    lacking = np.where(reachable, int(strength * users * candidates.k / reachable.sum()), 0)
    taken = np.zeros(candidates.items.shape, dtype=bool)
    for _ in range(candidates.k):
        if not _round(candidates, lacking, taken):
            break
    rank = -np.arange(candidates.items.shape[1])  # phase 2: chosen ones first, then by place
    width = candidates.items.shape[1]
    return best(taken * float(width) + rank, candidates.k)


def _round(candidates: Candidates, lacking: IntArray, taken: BoolArray) -> bool:
    """One turn of each user; whether anybody took anything."""
    start, moved, member = 0, False, candidates.share > 0
    while start < len(taken) and (lacking > 0).any():
        rows = slice(start, start + _ROWS)
        patterns = candidates.patterns(rows)
        free = (member @ (lacking > 0))[patterns] & ~taken[rows] & (candidates.items[rows] > 0)
        picks, able = free.argmax(axis=1), free.any(axis=1)
        served = member[patterns[np.arange(len(picks)), picks]] & able[:, None]  # [u, G]
        full = (np.cumsum(served, axis=0) >= np.where(lacking > 0, lacking, len(taken) + 1)).any(axis=1)
        stop = int(full.argmax()) + 1 if full.any() else len(picks)  # a group is full from then on: look again
        users = np.flatnonzero(able[:stop])
        taken[start + users, picks[users]] = True
        lacking -= served[:stop].sum(axis=0)
        start, moved = start + stop, moved or len(users) > 0
    return moved
