"""RecBole's metric classes, made of what recbole_fair/metrics declares, so that any property file may name them."""

from __future__ import annotations

from typing import ClassVar

from recbole_fair.host import AbstractMetric, DataStruct, EvaluatorType, metric_register
from recbole_fair.metrics import declared as declarations
from recbole_fair.metrics.declared import host_name
from recbole_fair.metrics.metric import Metric

_NEEDS = {"recommended": "groups.masked"}  # what a figure needs of the collector beyond lists


class DeclaredMetric(AbstractMetric):
    """A declaration as RecBole's evaluator wants it; it reads the table of judged users."""

    metric_type = EvaluatorType.RANKING
    metric_need: ClassVar[list[str]] = []
    declared: ClassVar[Metric]

    def calculate_metric(self, dataobject: DataStruct) -> dict[str, float]:
        """The value of each measure."""
        return self.declared.values(dataobject.get("table"))


def offer_declared() -> None:
    """Put every declared metric that RecBole has not, and every registered class, into RecBole's table.

    RecBole's Config, Register and Evaluator share four module-level objects and look only there, so these are
    changed in place; a rebound name would change nothing.
    """
    for metric in declarations.METRICS.values():
        if host_name(metric).lower() not in metric_register.metrics_dict:
            _offer(class_of(metric))
    for name, made in declarations.CLASSES.items():
        if metric_register.metrics_dict.get(name) is not made:
            _offer(made)


def class_of(metric: Metric) -> type[DeclaredMetric]:
    """A RecBole metric class of a declaration."""
    needs = [_NEEDS[read.figure] for read in metric.figures if read.figure in _NEEDS]
    return type(host_name(metric), (DeclaredMetric,), {
        "declared": metric,
        "metric_need": [] if metric.answers else ["rec.topk", *needs],
        "smaller": metric.side == "lower",
    })  # fmt: skip


def _offer(metric: type[AbstractMetric]) -> None:
    """Put a metric class into RecBole's table, in the place of one of its name."""
    name = metric.__name__.lower()
    metric_register.metrics_dict[name] = metric
    metric_register.metric_information[name] = metric.metric_need
    metric_register.metric_types[name] = metric.metric_type
    if metric.smaller and name not in metric_register.smaller_metrics:
        metric_register.smaller_metrics.append(name)
