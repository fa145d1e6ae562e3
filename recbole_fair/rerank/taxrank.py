"""TaxRank: exposure is taxed so that those who have less are served first (Xu et al. 2024).

    max_x  sum_g gamma_g W(v_g(x) / gamma_g),   W(y) = y^(1 - t) / (1 - t), log y at t = 1
    v_g(x) = (1/(U K)) sum_ui share_ig s_ui x_ui

Symbols: t the tax rate (the strength; 0 is plain ranking, towards infinity the worst-off group alone counts), gamma_g
the due share, v_g what group g is worth in the lists. The objective is concave in v, so lists follow from its slopes,

    s'_ui = s_ui sum_g share_ig (v_g / gamma_g)^(-t),

with v averaged over the steps (Frank and Wolfe 1956); the best lists are kept. The paper solves the same objective by
entropic transport.
"""

from __future__ import annotations

import numpy as np

from recbole_fair.rerank.candidates import BoolArray, Candidates, FloatArray, IntArray, best

_STEPS = 30
_LEAST = 1e-6  # of v / gamma: the slope of a group without a place is infinite


def taxrank(candidates: Candidates, strength: float) -> IntArray:
    """[U, K] chosen places."""
    reachable = candidates.due > 0
    due = candidates.due[reachable]
    chosen, highest, mean = np.empty((0, candidates.k), dtype=np.int64), -np.inf, np.empty(0)
    slope = np.ones(len(due))
    for step in range(_STEPS):
        places, worth = _lists(candidates, slope, reachable)
        if (value := welfare(worth, due, strength)) > highest:
            chosen, highest = places, value
        mean = worth if step == 0 else mean + 2 / (step + 2) * (worth - mean)
        slope = np.maximum(mean / due, _LEAST) ** -strength
    return chosen


def welfare(worth: FloatArray, due: FloatArray, rate: float) -> float:
    """sum_g gamma_g W(v_g / gamma_g)."""
    relative = np.maximum(worth / due, _LEAST)
    return float(due @ (np.log(relative) if rate == 1 else relative ** (1 - rate) / (1 - rate)))


def _lists(candidates: Candidates, slope: FloatArray, reachable: BoolArray) -> tuple[IntArray, FloatArray]:
    """The best lists under these slopes, and v [G]."""
    share = candidates.share[:, reachable]
    factor = np.where(share.any(axis=1), share @ (slope / slope.mean()), 1.0)  # [P]
    chosen, worth = [], np.zeros(len(slope))
    for rows in candidates.chunks():
        scores, patterns = candidates.scaled(rows), candidates.patterns(rows)
        chosen.append(best(scores * factor[patterns], candidates.k))
        listed, of = (np.take_along_axis(values, chosen[-1], axis=1).ravel() for values in (scores, patterns))
        worth += np.bincount(of, np.where(np.isfinite(listed), listed, 0.0), len(share)) @ share
    places = np.concatenate(chosen)
    return places, worth / places.size
