"""Which way a figure is better, read from the metric's declaration. docs/metrics.md gives the reasons."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.metrics.declared import metric_of
from recbole_fair.metrics.key import MetricKey
from recbole_fair.metrics.metric import Metric


def declared(key: str) -> Metric | None:
    """The metric that a key names, None for a text that names none."""
    try:
        return metric_of(MetricKey.parse(key))
    except UsageError:
        return None


def best(key: str) -> float | None:
    """The best value: infinity where higher is better, 0 (or -infinity) where lower is, None without a better side.

    >>> best("ndcg@20"), best("cv_recall@20[gender]"), best("attr_auc[age]"), best("yes_share")
    (inf, 0.0, 0.5, None)
    """
    metric = declared(key)
    return None if metric is None else metric.best


def side(key: str) -> str:
    """Which side is better, "higher" or "lower"; empty for a figure that is best at a value or nowhere.

    >>> side("cv@20[pop]"), side("min@20[pop]"), side("sf"), side("attr_auc[gender]")
    ('lower', 'higher', '', '')
    """
    metric = declared(key)
    return "" if metric is None else metric.side


def cost(key: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    """What should be small: the distance from the best value, or minus the value where higher is better; else nan.

    >>> cost("recall@20", [0.2]).tolist(), cost("sf", [-0.2]).tolist()
    ([-0.2], [0.2])
    """
    figures, target = np.asarray(values, dtype=float), best(key)
    if target is None:
        return np.full(figures.shape, np.nan)
    if math.isinf(target):
        return -figures if target > 0 else figures
    return np.abs(figures - target)


def arrow(key: str) -> str:
    """A sign for column heads: up, down, towards a value, or nothing."""
    target = best(key)
    return {"higher": "↑", "lower": "↓"}.get(side(key), "" if target is None else f"→{target:g}")


def wish(key: str) -> str:
    """The direction in words.

    >>> wish("cv@20[pop]"), wish("attr_auc[age]"), wish("yes_share")
    ('lower is better', 'best at 0.5', 'no better side')
    """
    sign = arrow(key)
    words = {"↑": "higher is better", "↓": "lower is better", "": "no better side"}
    return words[sign] if sign in words else f"best at {sign[1:]}"


def meaning(key: str) -> str:
    """What the figure is, in a few words; empty for one that does not say.

    >>> meaning("gap_ndcg@20[gender]")
    'best-served user group minus worst-served one, in NDCG'
    """
    metric = declared(key)
    return "" if metric is None else metric.means
