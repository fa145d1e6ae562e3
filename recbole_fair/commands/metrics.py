"""`recbole-fair metrics`: what --metrics takes, and which side is better."""

from __future__ import annotations

from recbole_fair.commands.arguments import Arguments
from recbole_fair.metrics.declared import HOST, METRICS
from recbole_fair.metrics.directions import wish
from recbole_fair.metrics.key import MetricKey
from recbole_fair.metrics.metric import Metric
from recbole_fair.screen import aligned

_OVER = {"item": "groups of items", "user": "groups of users", "": "everyone"}


def main(arguments: Arguments) -> int:
    """Print a line a metric: its name, over whom, of what, and its better side."""
    arguments.refuse_rest("metrics")
    ours = [
        [metric.name, _OVER[metric.over], "yes/no answers" if metric.answers else "lists", wish(_key(metric))]
        for metric in METRICS.values()
    ]
    host = [[name, _OVER[""], "lists (RecBole's)", wish(name)] for name in HOST]
    print("\n".join(aligned([["metric", "over", "judges", "direction"], *host, *ours])))
    print("Formulas and what not to conclude: docs/metrics.md")
    return 0


def _key(metric: Metric) -> str:
    """A key of the metric as results hold it, with a cutoff and a grouping where it has them."""
    return str(MetricKey(metric.name, None if metric.answers else 1, "group" if metric.over else ""))
