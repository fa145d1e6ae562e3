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
from recbole_fair.metrics.list_metrics import HOST_METRICS, LIST_METRICS
from recbole_fair.metrics.metric import Metric

Declaration = TypeVar("Declaration", Metric, type)

HOST: dict[str, Metric] = {metric.name.lower(): metric for metric in HOST_METRICS}
_ATTACKED = "attr_auc"  # of the probe, by attacker: attr_auc_mlp[gender]
_CHANCE = Metric(
    _ATTACKED, (), over="user", best=0.5, bounds=(0.0, 1.0),
    means="how well an attacker reads the attribute from user states: AUC, .5 is guessing",
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name.lower(): metric for metric in (*LIST_METRICS, *ANSWER_METRICS)}
CLASSES: dict[str, type] = {}  # RecBole metric classes that users registered


def register(metric: Declaration) -> Declaration:
    """Add a metric: a declaration, or (as a decorator) a RecBole metric class that is a mean over users."""
    name = metric.name if isinstance(metric, Metric) else metric.__name__
    own = isinstance(metric, Metric) and metric.answers
    former = CLASSES.get(name.lower(), METRICS.get(name.lower()))
    if name.lower() in HOST and not own:
        raise UsageError(f"metric {name}: RecBole has one of this name; choose another")
    if former not in (None, metric):
        raise UsageError(f"metric {name}: there is one of this name; choose another")
    if isinstance(metric, Metric):
        METRICS[name.lower()] = metric
    else:
        CLASSES[name.lower()] = metric
    return metric


def of_class(made: Any) -> Metric:
    """A RecBole metric class that a user registered: a mean over users of what each user's list is worth."""
    name = made.__name__.lower()
    return Metric(name, [name], best=-inf if made.smaller else inf)


def host_name(metric: Metric) -> str:
    """The name in RecBole's table, where AUC, Precision and Recall judge lists."""
    return f"Yes_{metric.name}" if metric.answers and metric.name.lower() in HOST else metric.name


def registered(name: str, answers: bool) -> str:
    """The name in RecBole's table of a metric that a user named; unknown ones are refused where they are used."""
    own = METRICS.get(name.lower())
    return host_name(own) if answers and own is not None and name.lower() in HOST else name


def by_host_name() -> dict[str, Metric]:
    """All metrics by their lower-case names in RecBole's table."""
    own = {host_name(metric).lower(): metric for metric in METRICS.values()}
    return {**HOST, **own, **{name: of_class(made) for name, made in CLASSES.items()}}


def metric_of(key: MetricKey) -> Metric | None:
    """The metric behind a key of a result; None for one that is not known here."""
    name = key.name.lower()
    metric = METRICS.get(name)
    if metric is not None and metric.answers == (key.k is None):
        return metric
    if name in HOST or name in CLASSES:
        return of_class(CLASSES[name]) if name in CLASSES else HOST[name]
    return _CHANCE if name.startswith(_ATTACKED) and name != f"{_ATTACKED}_null" else None


def variants(metrics: Iterable[Metric], user_groups: Sequence[Groups]) -> list[Variant]:
    """The variants of a prompt that these metrics need: a model with prompts is asked exactly these."""
    needed: set[Variant] = set()
    for metric in metrics:
        groups: list[Groups | None] = list(user_groups if metric.over else user_groups[:1])
        needed |= set().union(*(metric.variants(one) for one in groups or [None]))
    return sorted(needed)
