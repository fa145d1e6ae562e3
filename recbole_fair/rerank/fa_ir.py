"""FA*IR: every prefix of a list holds as many protected items as a fair draw would (Zehlike et al. 2017).

    m(k) = smallest tau with F(tau; k, p) > alpha_c,   F the binomial distribution

Symbols: p the share of protected items that a fair list has (the strength), m(k) how many the first k places must hold.
A list is tested at each of its K prefixes, so a fair one would fail some test more often than alpha: alpha_c <= alpha
is the largest level at which it fails with probability alpha at most, worked out exactly over all prefixes.
Protected are the items of groups that the lists show less than is due.
"""

from __future__ import annotations

import numpy as np
from scipy.special import bdtr

from recbole_fair.rerank.candidates import Candidates, IntArray

_ALPHA = 0.1  # as in the paper's experiments
_HALVINGS = 40


def fa_ir(candidates: Candidates, strength: float) -> IntArray:
    """[U, K] chosen places: the best protected candidate where a prefix lacks one, else the best of all."""
    required = minimum_protected(candidates.k, strength, adjusted(candidates.k, strength, _ALPHA))

    def choose(rows: slice) -> IntArray:
        protected = ~candidates.ahead[candidates.patterns(rows)] & (candidates.items[rows] > 0)
        free, users = np.ones_like(protected), np.arange(len(protected))
        held, chosen = np.zeros(len(protected), dtype=int), np.empty((len(protected), candidates.k), dtype=np.int64)
        for place, minimum in enumerate(required):
            needed = free & protected & (held < minimum)[:, None]
            chosen[:, place] = np.where(needed.any(axis=1), needed.argmax(axis=1), free.argmax(axis=1))
            free[users, chosen[:, place]] = False
            held += protected[users, chosen[:, place]]
        return chosen

    return candidates.by_user(choose)


def minimum_protected(k: int, p: float, alpha: float) -> IntArray:
    """m(1), ..., m(k).

    >>> minimum_protected(12, 0.5, 0.1).tolist()
    [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4]
    """
    lengths, counts = np.arange(1, k + 1)[:, None], np.arange(k + 1)
    chance = bdtr(np.minimum(counts, lengths), lengths, p)  # of at most so many protected ones
    return np.asarray((chance <= alpha).sum(axis=1))


def failing(required: IntArray, p: float) -> float:
    """Probability that a list whose places are protected with probability p fails some m(k)."""
    passing = np.array([1.0])  # by the number of protected items so far
    for minimum in required:
        passing = np.append((1 - p) * passing, 0.0) + np.append(0.0, p * passing)
        passing[:minimum] = 0.0
    return float(1 - passing.sum())


def adjusted(k: int, p: float, alpha: float) -> float:
    """alpha_c: the largest level at which a fair list of length k fails with probability alpha at most."""
    low, high = 0.0, alpha
    if failing(minimum_protected(k, p, alpha), p) <= alpha:
        return alpha
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if failing(minimum_protected(k, p, middle), p) <= alpha else (low, middle)
    return low
