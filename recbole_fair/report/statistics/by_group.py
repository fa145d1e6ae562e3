"""Figures by group of one row: the mean over its seeds, and intervals over users."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_fair.metrics.bootstrap import percentile_interval, ratio_samples
from recbole_fair.metrics.formulas import Terms
from recbole_fair.report.rows import Cell, Row
from recbole_fair.report.runs import Run
from recbole_fair.report.statistics.evidence import SAMPLES, SEED
from recbole_fair.report.statistics.sums import Sums, by_item_group, by_user_group, seeds_averaged, shared_users
from recbole_fair.report.users import read_users

_FACTS = ("kind", "field", "group", "size", "users")


@dataclass(frozen=True)
class Grouping:
    """One grouping of users or items that runs report."""

    kind: str  # user | item
    field: str


def groupings(rows: Iterable[Row]) -> list[Grouping]:
    """Every grouping that some row reports, in order."""
    entries = (entry for row in rows for run in row.finished for entry in run.result.groups)
    return list(dict.fromkeys(Grouping(str(entry.get("kind")), str(entry.get("field"))) for entry in entries))


def metric_of(rows: Iterable[Row], grouping: Grouping, wanted: Sequence[str]) -> str | None:
    """Which metric to show by group: the first wanted one that the groups have, else their last recall."""
    entries = [entry for row in rows for run in row.finished for entry in _entries(run, grouping)]
    known = dict.fromkeys(key for entry in entries for key in entry if key not in _FACTS and not _is_end(key))
    recalls = [key for key in known if key.startswith("recall@")]
    return next((key for key in (*wanted, *reversed(recalls), *known) if key in known), None)


def _is_end(key: str) -> bool:
    return key.endswith(("_low", "_high"))


def _entries(run: Run, grouping: Grouping) -> list[dict[str, Any]]:
    return [entry for entry in run.result.groups if Grouping(entry.get("kind", ""), entry.get("field", "")) == grouping]


def group_figures(row: Row, grouping: Grouping, metric: str) -> dict[str, Cell]:
    """A cell a group; a group whose figure is not printed (too few users) or undefined is left out."""
    runs = [{str(entry.get("group")): entry for entry in _entries(run, grouping)} for run in row.finished]
    means = {group: _mean([run[group].get(metric) for run in runs if group in run]) for run in runs for group in run}
    ends = _stated(runs[0], metric) if len(runs) == 1 else {}
    ends = ends or _recomputed(row, grouping, metric, means)
    return {
        group: Cell(value, None, *ends.get(group, (None, None))) for group, value in means.items() if value is not None
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _stated(run: dict[str, dict[str, Any]], metric: str) -> dict[str, tuple[float, float]]:
    ends = {group: (entry.get(f"{metric}_low"), entry.get(f"{metric}_high")) for group, entry in run.items()}
    return {group: (low, high) for group, (low, high) in ends.items() if low is not None and high is not None}


def _recomputed(
    row: Row, grouping: Grouping, metric: str, means: dict[str, float | None]
) -> dict[str, tuple[float, float]]:
    """Intervals over the users of all seeds, for the groups whose figure comes out as stated."""
    found = _of_seeds(row, grouping, metric)
    if found is None:
        return {}
    names, terms = found
    ends = percentile_interval(ratio_samples(*terms, samples=SAMPLES, seed=SEED))
    return {
        name: (float(low), float(high))
        for name, value, low, high in zip(names, terms.value(), *ends, strict=True)
        if not np.isnan(low) and math.isclose(value, means.get(name) or math.nan, rel_tol=1e-6)
    }


def _of_seeds(row: Row, grouping: Grouping, metric: str) -> tuple[list[str], Terms] | None:
    tables = [read_users(run.folder, run.result.threshold) for run in row.finished]
    maker = by_user_group if grouping.kind == "user" else by_item_group
    place = metric if grouping.kind == "user" else metric.removeprefix("recall@")
    made = [(users.ids, *maker(users, grouping.field, place)) for users in tables if users is not None]
    if (
        len(made) < len(tables)
        or not all(terms for _, _, terms in made)
        or len({tuple(names) for _, names, _ in made}) != 1
    ):
        return None
    several = [Sums(ids, terms[0], lambda figures: figures) for ids, _, terms in made]
    return made[0][1], seeds_averaged(several, shared_users(several)).terms
