"""How a metric enters RecBole's evaluator, so that `metrics: [Recall, MyMetric]` works in any property file."""

from __future__ import annotations

from recbole_fair.errors import UsageError
from recbole_fair.host import AbstractMetric, metric_register


def register(metric: type[AbstractMetric]) -> type[AbstractMetric]:
    """Add a RecBole metric class under its lower-case name; usable as a decorator.

    RecBole's Config, Register and Evaluator share four module-level objects and look only there, so these are
    changed in place; a rebound name would change nothing.
    """
    name = metric.__name__.lower()
    if metric_register.metrics_dict.get(name, metric) is not metric:
        raise UsageError(f"metric {metric.__name__}: RecBole has one of this name; choose another")
    metric_register.metrics_dict[name] = metric
    metric_register.metric_information[name] = metric.metric_need
    metric_register.metric_types[name] = metric.metric_type
    if metric.smaller and name not in metric_register.smaller_metrics:
        metric_register.smaller_metrics.append(name)
    return metric
