"""Which way a metric is better: one table for evaluators, reports and searches. docs/metrics.md gives the reasons.

A direction is the value that would be best: infinity for "higher is better", 0 for a disparity, 1/2 for what an
attacker should be reduced to. None means that the figure has no better side, and nothing may be ranked by it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

_HIGHER = math.inf

# By name without cutoff and grouping. A name that is not listed takes the entry of its beginning, up to a "_":
# gap_recall is a gap, rate_sq a rate.
_BEST: dict[str, float | None] = {
    **dict.fromkeys(("recall", "ndcg", "hit", "mrr", "precision", "map", "f1", "auc", "gauc"), _HIGHER),
    **dict.fromkeys(("min", "ratio", "itemcoverage", "coverage", "shannonentropy"), _HIGHER),
    **dict.fromkeys(("cv", "gap", "gd", "rate", "sf", "pull", "flip", "reo", "rsp"), 0.0),
    **dict.fromkeys(("exposure_cv", "merit_cv", "non_parity", "differential_fairness"), 0.0),
    **dict.fromkeys((f"{error}_unfairness" for error in ("value", "absolute", "under", "over")), 0.0),
    **dict.fromkeys(("gini", "giniindex", "averagepopularity", "rmse", "mae", "logloss"), 0.0),
    "attr_auc": 0.5,
    "exposure_to_merit": 1.0,
    **dict.fromkeys(("yes_share", "exposure", "aplt", "tailpercentage"), None),
}


def name_of(key: str) -> str:
    """The metric of a key without its cutoff and grouping.

    >>> name_of("gap_recall@20[gender]")
    'gap_recall'
    """
    return key.partition("[")[0].partition("@")[0].lower()


def best(key: str) -> float | None:
    """The best value of a metric (infinity: the higher the better), None for one without a better side.

    >>> best("ndcg@20"), best("cv_recall@20[gender]"), best("attr_auc[age]"), best("yes_share")
    (inf, 0.0, 0.5, None)
    """
    name = name_of(key)
    while name not in _BEST and "_" in name:
        name = name.rpartition("_")[0]
    return _BEST.get(name)


def smaller(key: str) -> bool:
    """Whether a smaller value is better.

    >>> smaller("cv@20[pop]"), smaller("min@20[pop]"), smaller("attr_auc[gender]")
    (True, False, False)
    """
    return best(key) == 0


def cost(key: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    """What should be small: the distance from the best value, or minus the value where higher is better; else nan.

    >>> cost("recall@20", [0.2]).tolist(), cost("sf", [-0.2]).tolist()
    ([-0.2], [0.2])
    """
    figures, target = np.asarray(values, dtype=float), best(key)
    if target is None:
        return np.full(figures.shape, np.nan)
    return -figures if target == math.inf else np.abs(figures - target)


def arrow(key: str) -> str:
    """A sign for column heads: up, down, towards a value, or nothing."""
    target = best(key)
    if target is None:
        return ""
    if abs(target) == math.inf:
        return "↑"
    return "↓" if target == 0 else f"→{target:g}"


def wish(key: str) -> str:
    """The direction in words.

    >>> wish("cv@20[pop]"), wish("attr_auc[age]")
    ('lower is better', 'best at 0.5')
    """
    words = {"↑": "higher is better", "↓": "lower is better", "": "no better side"}
    return words.get(arrow(key), f"best at {best(key)}")
