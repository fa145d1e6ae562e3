"""The metrics there are: ours, those that a user registers, and RecBole's means over users."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import Any, TypeVar

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.variants import Variant
from recbole_fair.metrics.answer_metrics import ANSWER_METRICS
from recbole_fair.metrics.key import MetricKey
from recbole_fair.metrics.list_metrics import LIST_METRICS
from recbole_fair.metrics.metric import Metric

Declaration = TypeVar("Declaration", Metric, type)

# RecBole's own metrics and the value that is best of each; None: no side is better.
HOST_BEST: dict[str, float | None] = {
    **dict.fromkeys(("recall", "ndcg", "hit", "mrr", "precision", "map", "auc", "gauc"), inf),
    **dict.fromkeys(("itemcoverage", "shannonentropy"), inf),
    **dict.fromkeys(("giniindex", "averagepopularity", "rmse", "mae", "logloss"), -inf),
    "tailpercentage": None,
}
_ATTACKED = "attr_auc"  # of the probe, by attacker: attr_auc_mlp[gender]
_CHANCE = Metric(_ATTACKED, (), over="user", best=0.5, bounds=(0.0, 1.0))

METRICS: dict[str, Metric] = {metric.name.lower(): metric for metric in (*LIST_METRICS, *ANSWER_METRICS)}
CLASSES: dict[str, type] = {}  # RecBole metric classes that users registered


def register(metric: Declaration) -> Declaration:
    """Add a metric: a declaration, or (as a decorator) a RecBole metric class that is a mean over users."""
    name = metric.name if isinstance(metric, Metric) else metric.__name__
    own = isinstance(metric, Metric) and metric.answers
    former = CLASSES.get(name.lower(), METRICS.get(name.lower()))
    if name.lower() in HOST_BEST and not own:
        raise UsageError(f"metric {name}: RecBole has one of this name; choose another")
    if former not in (None, metric):
        raise UsageError(f"metric {name}: there is one of this name; choose another")
    if isinstance(metric, Metric):
        METRICS[name.lower()] = metric
    else:
        CLASSES[name.lower()] = metric
    return metric


def mean(name: str) -> Metric:
    """A metric that is a mean over users of what each user's list is worth: RecBole's, or a registered class."""
    made: Any = CLASSES.get(name.lower())
    best = HOST_BEST.get(name.lower()) if made is None else -inf if made.smaller else inf
    return Metric(name, [name.lower()], best=best)


def metric_of(key: MetricKey) -> Metric | None:
    """The metric behind a key of a result; None for one that is not known here."""
    name = key.name.lower()
    metric = METRICS.get(name)
    if metric is not None and metric.answers == (key.k is None):
        return metric
    if name in HOST_BEST or name in CLASSES:
        return mean(name)
    return _CHANCE if name.startswith(_ATTACKED) and name != f"{_ATTACKED}_null" else None


def variants(metrics: Iterable[Metric], user_groups: Sequence[Groups]) -> list[Variant]:
    """The variants of a prompt that these metrics need: a model with prompts is asked exactly these."""
    needed: set[Variant] = set()
    for metric in metrics:
        groups: list[Groups | None] = list(user_groups if metric.over else user_groups[:1])
        needed |= set().union(*(metric.variants(one) for one in groups or [None]))
    return sorted(needed)
