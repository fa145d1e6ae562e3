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
    """[U, K] chosen places, in the order in which they were added."""
    profile = candidates.profile
    assert profile is not None
    share = candidates.share

    def choose(rows: slice) -> IntArray:
        values, patterns = (1 - strength) * candidates.scaled(rows), candidates.patterns(rows)
        users, listed = np.arange(len(values)), np.zeros((len(values), share.shape[1]))
        chosen = np.empty((len(values), candidates.k), dtype=np.int64)
        for place in range(candidates.k):
            gain = strength * _gain(profile[rows], listed, place + 1, share)  # [u, P]
            chosen[:, place] = (values + np.take_along_axis(gain, patterns, axis=1)).argmax(axis=1)
            values[users, chosen[:, place]] = -np.inf
            listed += share[patterns[users, chosen[:, place]]]
        return chosen

    return candidates.by_user(choose)


def _gain(profile: FloatArray, listed: FloatArray, length: int, share: FloatArray) -> FloatArray:
    """[u, P] of what one item more, of each pattern, adds to -KL of lists that are then of this length."""
    sizes, gain = (share > 0).sum(axis=1), np.zeros((len(profile), len(share)))
    for size in np.unique(sizes[sizes > 0]):
        of_size = np.flatnonzero(sizes == size)
        before = (1 - _BLEND) * listed / length + _BLEND * profile
        step = np.divide((1 - _BLEND) / size / length, before, out=np.zeros_like(before), where=profile > 0)
        gain[:, of_size] = (profile * np.log1p(step)) @ (share[of_size] > 0).T
    return gain
