"""From a table of judged users to figures, and how sure they are; numpy only.

metric.py             what a metric is                 list_metrics.py, answer_metrics.py   the metrics, declared once
declared.py           the table of them, `register`    directions.py                        which way each is better
formulas.py and kin   the mathematics                  list_table.py, answer_table.py       what was judged
intervals.py, bootstrap.py, judging.py                 how sure the figures are
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_fair.metrics.declared import register as register
    from recbole_fair.metrics.metric import Metric as Metric
    from recbole_fair.metrics.metric import Reads as Reads

__all__ = ["Metric", "Reads", "register"]
_HOMES = {"register": "declared", "Metric": "metric", "Reads": "metric"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
