"""Calibrated: a list mirrors the tastes of its user's profile (Steck 2018), greedily.

    max_I  (1 - lambda) sum_{i in I} s_ui - lambda KL(p_u || q~_u(I))
    q_u(I)_g = (1/|I|) sum_{i in I} share_ig,   q~ = (1 - a) q + a p,   a = 0.01

Symbols: p_u the shares of the groups in what user u had before. The objective is submodular once shifted, so adding
the best item K times reaches 1 - 1/e of the optimum at least. What an item of m groups adds to -KL is a sum over its
groups of p_g (log q~_g with 1/m more - log q~_g), so a table [u, P] by pattern serves all candidates.
"""

from __future__ import annotations

import numpy as np

from recbole_fair.rerank.candidates import Candidates, FloatArray, IntArray

_BLEND = 0.01  # a, as in the paper


def calibrated(candidates: Candidates, strength: float) -> IntArray:
    """[U, K] chosen places."""
    profile, share = candidates.profile, candidates.share
    assert profile is not None
    sizes, holding = _by_size(share)
    holding *= strength

    def choose(rows: slice) -> IntArray:
        values, patterns = candidates.scaled(rows, 1 - strength), candidates.patterns(rows)
        users, listed = np.arange(len(values)), np.zeros((len(values), share.shape[1]))
        cells = patterns + users[:, None] * len(share)  # of the table [u, P]
        chosen = np.empty((len(values), candidates.k), dtype=np.int64)
        for place in range(candidates.k):
            gain = _gains(profile[rows], listed, place + 1, sizes) @ holding
            chosen[:, place] = (values + gain.take(cells)).argmax(axis=1)
            values[users, chosen[:, place]] = -np.inf
            listed += share[patterns[users, chosen[:, place]]]
        return np.sort(chosen, axis=1)

    return candidates.by_user(choose)


def _gains(profile: FloatArray, listed: FloatArray, length: int, sizes: IntArray) -> FloatArray:
    """[u, S G] of p_g (log q~_g with 1/m more - log q~_g) for each size m, in lists that are then of this length."""
    before = (1 - _BLEND) * listed / length + _BLEND * profile
    steps = (1 - _BLEND) / length / np.where(profile > 0, before, np.inf)
    return np.hstack([profile * np.log1p(steps / size) for size in sizes])


def _by_size(share: FloatArray) -> tuple[IntArray, FloatArray]:
    """The numbers of groups that an item may have, and [S G, P]: 1 where a pattern of that size has the group."""
    groups = (share > 0).sum(axis=1)
    sizes = np.unique(groups[groups > 0])
    return sizes, np.vstack([((share > 0) & (groups == size)[:, None]).T for size in sizes]).astype(float)
