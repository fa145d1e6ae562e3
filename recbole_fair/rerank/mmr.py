"""MMR: maximal marginal relevance (Carbonell and Goldstein 1998), for variety between the groups of a list.

    next item = argmax_i  (1 - lambda) s_ui - lambda max_{j in I} sim(i, j)

Symbols: I the items already chosen, sim the cosine of two items' groups. Greedy by definition: it has no objective of
whole lists that it would come near to.
"""

from __future__ import annotations

import numpy as np

from recbole_fair.rerank.candidates import Candidates, IntArray


def mmr(candidates: Candidates, strength: float) -> IntArray:
    """[U, K] chosen places, in the order in which they were added."""
    lengths = np.linalg.norm(candidates.share, axis=1, keepdims=True)
    unit = candidates.share / np.where(lengths > 0, lengths, 1.0)
    similar = strength * (unit @ unit.T)  # [P, P]

    def choose(rows: slice) -> IntArray:
        values, patterns = candidates.scaled(rows, 1 - strength), candidates.patterns(rows)
        users, nearest = np.arange(len(values)), np.zeros_like(values)
        chosen = np.empty((len(values), candidates.k), dtype=np.int64)
        for place in range(candidates.k):
            chosen[:, place] = (values - nearest).argmax(axis=1)
            values[users, chosen[:, place]] = -np.inf
            to_last = similar[patterns[users, chosen[:, place]]]  # [u, P]
            np.maximum(nearest, np.take_along_axis(to_last, patterns, axis=1), out=nearest)
        return chosen

    return candidates.by_user(choose)
