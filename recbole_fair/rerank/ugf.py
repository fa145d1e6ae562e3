"""UGF: two sides of users, those served better and the others, are brought together (Li et al. 2021).

    max  sum_ui s_ui W_ui   under sum_i W_ui = K and M(W, better) - M(W, others) <= epsilon
    M(W, Z) = (1/|Z|) sum_{u in Z} (1/K) sum_i W_ui y_ui

Symbols: y_ui = 1 if i is known to be liked by u, epsilon = (1 - strength) times the difference that the lists have.
One multiplier mu suffices: for each mu the choice splits by user,

    s'_ui = s_ui - mu z_u y_ui,   z_u = 1/|better| or -1/|others|,

and the difference falls as mu rises, so mu is found by bisection. The choice is the optimum for the difference that
it reaches (Everett 1963). Liked items are moved up for the others and down for those served better: without known
likes in the lists there is nothing to move.
"""

from __future__ import annotations

import numpy as np

from recbole_fair.rerank.candidates import Candidates, IntArray, best

_HALVINGS = 30


def ugf(candidates: Candidates, strength: float) -> IntArray:
    """[U, K] chosen places."""
    better, liked = candidates.served_better, candidates.relevant
    assert liked is not None
    sign = np.where(better, 1 / max(better.sum(), 1), -1 / max((~better).sum(), 1))

    def choose(mu: float) -> IntArray:
        push = mu * sign[:, None] * liked
        return candidates.by_user(lambda rows: best(candidates.scaled(rows) - push[rows], candidates.k))

    def difference(places: IntArray) -> float:
        return float(sign @ np.take_along_axis(liked, places, axis=1).mean(axis=1))

    chosen = choose(0.0)
    allowed = (1 - strength) * difference(chosen)
    if difference(chosen) <= allowed:
        return chosen
    low, high = 0.0, 1.001 / float(np.abs(sign).min())  # beyond it liked items stand above or below all others
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if difference(choose(middle)) <= allowed else (middle, high)
    return choose(high)
