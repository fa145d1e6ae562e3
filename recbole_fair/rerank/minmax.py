"""MinMax: a penalty for groups that are ahead of the worst-off one (the min-regulariser beside P-MMF, Xu et al. 2023).

    s'_ui = s_ui - lambda * sum_g share_ig (e_g - min_h e_h),   e_g = B_g / (gamma_g U K)

Symbols: B_g the list places that group g has been given so far, gamma_g its due share, so that e_g = 1 at the end
where it has its due. Users come in their order; each thousandth of them sees the same B (up to 1,999 users: each user
sees all before it, as published).
"""

from __future__ import annotations

import numpy as np

from recbole_fair.rerank.candidates import Candidates, FloatArray, IntArray, best


def minmax(candidates: Candidates, strength: float) -> IntArray:
    """[U, K] chosen places."""
    exposure, chosen = np.zeros(len(candidates.due)), []
    for rows in candidates.chunks(max(1, len(candidates.items) // 1000)):
        penalty = candidates.share @ _ahead_of_worst(exposure, candidates)  # [P]
        places = best(candidates.scaled(rows) - strength * penalty[candidates.patterns(rows)], candidates.k)
        exposure += candidates.exposure(places, rows)
        chosen.append(places)
    return np.concatenate(chosen)


def _ahead_of_worst(exposure: FloatArray, candidates: Candidates) -> FloatArray:
    """[G] of e_g - min_h e_h; 0 for groups that nothing is due."""
    due = candidates.due * len(candidates.items) * candidates.k
    shown = np.divide(exposure, due, out=np.full_like(due, np.inf), where=due > 0)
    return np.where(due > 0, shown - shown.min(), 0.0)
