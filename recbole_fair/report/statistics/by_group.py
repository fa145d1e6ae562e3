"""Figures by group of one row: the mean over its seeds, and intervals over users."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_fair.metrics.bootstrap import percentile_interval
from recbole_fair.metrics.metric import Figure, Measure
from recbole_fair.report.rows import Cell, Row
from recbole_fair.report.runs import Run
from recbole_fair.report.statistics.evaluated import LEVEL, Evaluated, resampled, shared_users
from recbole_fair.report.statistics.evidence import users_of

_FACTS = ("kind", "field", "group", "size", "users")
_ENDS = ("_low", "_high")  # of a figure's interval


@dataclass(frozen=True)
class Grouping:
    """One grouping of users or items that runs report."""

    kind: str  # user | item
    field: str


def groupings(rows: Iterable[Row]) -> list[Grouping]:
    """Every grouping that some row reports, in order."""
    entries = (entry for row in rows for run in row.finished for entry in run.result.group_rows)
    return list(dict.fromkeys(Grouping(str(entry.get("kind")), str(entry.get("field"))) for entry in entries))


def metric_of(rows: Iterable[Row], grouping: Grouping, wanted: Sequence[str]) -> str | None:
    """Which metric to show by group: the first wanted one that the groups have, else their last recall."""
    entries = [entry for row in rows for run in row.finished for entry in _entries(run, grouping)]
    keys = dict.fromkeys(key for entry in entries for key in entry if key not in _FACTS and not key.endswith(_ENDS))
    recalls = [key for key in keys if key.startswith("recall@")]
    return next((key for key in (*wanted, *reversed(recalls), *keys) if key in keys), None)


def _entries(run: Run, grouping: Grouping) -> list[dict[str, Any]]:
    return [
        entry for entry in run.result.group_rows if Grouping(entry.get("kind", ""), entry.get("field", "")) == grouping
    ]


def group_sizes(row: Row, grouping: Grouping) -> dict[str, int]:
    """How many users or items each group was judged on, in the first run."""
    kind = "users" if grouping.kind == "user" else "size"
    return {str(entry.get("group")): int(entry.get(kind) or 0) for entry in _entries(row.finished[0], grouping)}


def group_figures(row: Row, grouping: Grouping, metric: str) -> dict[str, Cell]:
    """A cell a group; a group whose figure is not printed (too few users) or undefined is left out."""
    runs = [{str(entry.get("group")): entry for entry in _entries(run, grouping)} for run in row.finished]
    means = {group: _mean([run[group].get(metric) for run in runs if group in run]) for run in runs for group in run}
    ends = _stated(runs[0], metric) if len(runs) == 1 and row.finished[0].level == LEVEL else {}
    ends = ends or _recomputed(row, grouping, metric, means)
    return {
        group: Cell(value, None, *ends.get(group, (None, None))) for group, value in means.items() if value is not None
    }


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if defined else None


def _stated(run: dict[str, dict[str, Any]], metric: str) -> dict[str, tuple[float, float]]:
    ends = {group: (entry.get(f"{metric}_low"), entry.get(f"{metric}_high")) for group, entry in run.items()}
    return {group: (low, high) for group, (low, high) in ends.items() if low is not None and high is not None}


def _recomputed(
    row: Row, grouping: Grouping, metric: str, means: dict[str, float | None]
) -> dict[str, tuple[float, float]]:
    """Intervals over the users of all seeds, for the groups whose figure comes out as stated."""
    tables = [users for run in row.finished if (users := users_of(run)) is not None]
    if len(tables) < len(row.finished):
        return {}
    figure = Figure(metric, grouping.field, tables[0].table.in_use)
    held = [users for users in tables if users.holds(figure)]
    names = {users.table.groups[grouping.field].names for users in held}
    if len(held) < len(tables) or len(names) != 1:
        return {}
    every = {
        name: [Evaluated(users.ids, _measure(figure, column), {figure: users.table.terms(*figure)}) for users in held]
        for column, name in enumerate(names.pop())
    }
    shared = {name: [one.of(shared_users(several)) for one in several] for name, several in every.items()}
    ends = {name: (sampled.point, percentile_interval(sampled.drawn, LEVEL)) for name, sampled in resampled(shared)}
    return {
        name: (float(low), float(high))
        for name, (value, (low, high)) in ends.items()
        if not np.isnan(low) and math.isclose(value, means.get(name) or math.nan, rel_tol=1e-6)
    }


def _measure(figure: Figure, column: int) -> Measure:
    return Measure(figure.name, (figure,), lambda figures: figures[..., column])
