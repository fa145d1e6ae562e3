"""The strongest re-ranking that keeps a share of the accuracy on validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recbole_fair.rerank.candidates import BoolArray, Candidates, IntArray
from recbole_fair.rerank.methods import Method


@dataclass(frozen=True)
class Tried:
    """A strength and what is left of NDCG@K on validation."""

    strength: float
    ndcg: float


def trials(method: Method, candidates: Candidates, liked: IntArray) -> list[Tried]:
    """Every strength of the method's grid; liked [U] counts the validation items of each user, listed or not."""
    assert candidates.relevant is not None
    lists = ((strength, method.choose(candidates, strength)) for strength in method.strengths)
    return [
        Tried(strength, ndcg(np.take_along_axis(candidates.relevant, places, axis=1), liked))
        for strength, places in lists
    ]


def strongest(tried: Sequence[Tried], budget: float) -> Tried:
    """The trial of the largest strength with at least `budget` times the NDCG of the first, which changes nothing."""
    return max((one for one in tried if one.ndcg >= budget * tried[0].ndcg), key=lambda one: one.strength)


def ndcg(hit: BoolArray, liked: IntArray) -> float:
    """Mean over users who like anything of sum_k hit_k / log2(k + 1) over its largest possible value.

    >>> ndcg(np.array([[False, True], [True, False]]), np.array([1, 0])) == 1 / np.log2(3)
    True
    """
    gains = 1 / np.log2(np.arange(hit.shape[1]) + 2)
    counted = liked > 0
    ideal = np.cumsum(gains)[np.minimum(liked[counted], hit.shape[1]) - 1]
    return float((hit[counted] @ gains / ideal).mean())
