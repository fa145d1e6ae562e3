"""P-MMF: accuracy and the exposure of the worst-off group, by prices of groups (Xu et al. 2023).

    max_x  (1/(U K)) sum_ui s_ui x_ui + lambda min_g e_g(x) / gamma_g
    dual:  min_v  (1/(U K)) sum_u max_{|x_u| = K} sum_i x_ui (s_ui + sum_g share_ig v_g / gamma_g),
           v >= 0, sum_g v_g = lambda

Symbols: e_g the share of list places that group g takes, gamma_g its due share, v_g / gamma_g what is added to the
scores of its items. A subgradient of the dual is e_g / gamma_g; its step is Polyak's, its projection onto the simplex
is closed. The paper descends online, user by user; lists that are finished are all at hand, so each step here is over
all users and the best lists are kept. The paper's caps e <= gamma are left out: gamma is what is due, no stock.
"""

from __future__ import annotations

import numpy as np

from recbole_fair.rerank.candidates import Candidates, FloatArray, IntArray, best

_STEPS = 40
_NEAR = 1e-9


def pmmf(candidates: Candidates, strength: float) -> IntArray:
    """[U, K] chosen places."""
    reachable = candidates.due > 0
    due = candidates.due[reachable]
    chosen, highest = np.empty((0, candidates.k), dtype=np.int64), -np.inf
    price, lowest, slope = strength * due, np.inf, np.zeros(len(due))  # the lowest bound so far, where, and its slope
    trial, length = price, 1.0
    for _ in range(_STEPS):
        places, accuracy = _lists(candidates, candidates.share[:, reachable] @ (trial / due))
        shown = candidates.exposure(places)[reachable] / places.size / due
        if (value := accuracy + strength * float(shown.min())) > highest:
            chosen, highest = places, value
        if (bound := accuracy + float(trial @ shown)) < lowest:  # the dual: no lists are worth more
            price, lowest, slope, length = trial, bound, shown, 1.5 * length
        else:
            length /= 2
        tilt = float(slope.var()) * len(slope)
        if lowest - highest < _NEAR or tilt == 0:
            break
        trial = onto_simplex(price - length * (lowest - highest) / tilt * slope, strength)
    return chosen


def _lists(candidates: Candidates, raised: FloatArray) -> tuple[IntArray, float]:
    """The best lists at these prices, and the mean score of their places."""
    chosen, total = [], 0.0
    for rows in candidates.chunks():
        scores = candidates.scaled(rows)
        chosen.append(best(scores + raised[candidates.patterns(rows)], candidates.k))
        listed = np.take_along_axis(scores, chosen[-1], axis=1)
        total += float(listed[np.isfinite(listed)].sum())
    places = np.concatenate(chosen)
    return places, total / places.size


def onto_simplex(values: FloatArray, total: float) -> FloatArray:
    """The nearest point with v >= 0 and sum v = total: max(values - tau, 0).

    >>> onto_simplex(np.array([0.5, 0.9, -1.0]), 1.0).round(3).tolist()
    [0.3, 0.7, 0.0]
    """
    falling = np.sort(values)[::-1]
    excess = (np.cumsum(falling) - total) / np.arange(1, len(values) + 1)
    tau = excess[np.flatnonzero(falling >= excess)[-1]]
    return np.maximum(values - tau, 0.0)
