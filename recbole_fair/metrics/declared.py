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

# RecBole's own metrics: the value that is best of each (None: no side is better), and what it is.
HOST: dict[str, tuple[float | None, str]] = {
    "recall": (inf, "share of a user's held-out items that the list holds"),
    "ndcg": (inf, "how well the list is ordered: hits near its top count more; 1 is perfect"),
    "hit": (inf, "share of users whose list holds at least one held-out item"),
    "mrr": (inf, "1 / place of the first hit in the list"),
    "precision": (inf, "share of the list that was held out"),
    "map": (inf, "mean precision of the list down to each of its hits"),
    "auc": (inf, "chance that a held-out item scores above another one"),
    "gauc": (inf, "chance that a held-out item of a user scores above another one of the same user"),
    "itemcoverage": (inf, "share of all items that are listed for somebody"),
    "shannonentropy": (inf, "entropy of the item in a list place: high where many items are listed"),
    "giniindex": (-inf, "how unequally often items are listed: 0 all alike, near 1 a few have all places"),
    "averagepopularity": (-inf, "mean number of training interactions of the listed items"),
    "rmse": (-inf, "root of the mean squared error of scores"),
    "mae": (-inf, "mean absolute error of scores"),
    "logloss": (-inf, "mean negative log-likelihood of the answers"),
    "tailpercentage": (None, "share of the list that belongs to the least popular items"),
}
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


def mean(name: str) -> Metric:
    """A metric that is a mean over users of what each user's list is worth: RecBole's, or a registered class."""
    made: Any = CLASSES.get(name.lower())
    best, means = HOST.get(name.lower(), (None, "")) if made is None else (-inf if made.smaller else inf, "")
    return Metric(name, [name.lower()], best=best, means=means)


def metric_of(key: MetricKey) -> Metric | None:
    """The metric behind a key of a result; None for one that is not known here."""
    name = key.name.lower()
    metric = METRICS.get(name)
    if metric is not None and metric.answers == (key.k is None):
        return metric
    if name in HOST or name in CLASSES:
        return mean(name)
    return _CHANCE if name.startswith(_ATTACKED) and name != f"{_ATTACKED}_null" else None


def variants(metrics: Iterable[Metric], user_groups: Sequence[Groups]) -> list[Variant]:
    """The variants of a prompt that these metrics need: a model with prompts is asked exactly these."""
    needed: set[Variant] = set()
    for metric in metrics:
        groups: list[Groups | None] = list(user_groups if metric.over else user_groups[:1])
        needed |= set().union(*(metric.variants(one) for one in groups or [None]))
    return sorted(needed)
