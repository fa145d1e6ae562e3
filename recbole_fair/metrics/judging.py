"""All that one evaluation says beside its figures: intervals, rows by group, and which groups are left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_fair.metrics.formulas import FloatArray
from recbole_fair.metrics.intervals import Bounds, Intervals, Resampling, intervals
from recbole_fair.metrics.list_table import Table
from recbole_fair.metrics.metric import AS_USED, NOTHING, Figure, Measure, Metric

NO_GROUP = "(none)"
NOTHING_COMPARED = ": fewer than two groups with judged users, so there is nothing to compare"
Row = dict[str, Any]


@dataclass(frozen=True)
class Judgement:
    """What goes into result.json and groups.csv."""

    interval: dict[str, Bounds]
    groups: list[Row]
    notes: list[str]


def judge(table: Table, metrics: Iterable[Metric], how: Resampling | None, min_users: int) -> Judgement:
    """Intervals of all metrics and of each group's figures from one resampling; small groups are not printed."""
    metrics = list(metrics)
    measures = [measure for metric in metrics for measure in metric.measures(table)]
    shown = list(cells(table))
    wanted = [*measures, *(cell.measure for cell in shown)]
    blocks = {name: table.terms(*name) for name in dict.fromkeys(name for one in wanted for name in one.blocks)}
    figures = {name: terms.value() for name, terms in blocks.items()}
    found = intervals(blocks, wanted, len(table.users), how) if how else Intervals()
    rows = [row for field in table.groups for row in _rows(table, field)]
    by_group = {(row["field"], row["group"]): row for row in reversed(rows)}
    for cell in shown:
        row = by_group[cell.grouping, cell.group]
        row.update(_columns(cell, figures, found, printed=row["users"] >= min_users))
    for field in table.groups:
        for name, counts in table.counted(field).items():
            for group, count in zip(table.groups[field].names, counts.tolist(), strict=True):
                by_group[field, group][name] = count
    interval = {measure.key: found.bounds[measure.key] for measure in measures} if how else {}
    notes = [*_absent_groups(table), *_without_prompts(table, metrics), *table.notes(), *found.notes]
    return Judgement(interval, rows, notes)


@dataclass(frozen=True)
class GroupCell:
    """One figure of one group: a cell of groups.csv."""

    grouping: str
    group: str
    figure: str
    measure: Measure


def cells(table: Table) -> Iterator[GroupCell]:
    """Every figure of every group."""
    for field, groups in table.groups.items():
        for figure in table.figures(groups.kind):
            for column, name in enumerate(groups.names):
                measure = Measure(f"{figure}[{field}:{name}]", (Figure(figure, field, table.in_use),), _Column(column))
                yield GroupCell(field, name, figure, measure)


@dataclass(frozen=True)
class _Column:
    """One group's figure."""

    column: int

    def __call__(self, figures: FloatArray) -> FloatArray:
        return np.asarray(figures[..., self.column])


def _rows(table: Table, field: str) -> Iterator[Row]:
    """A row a group of one grouping, and one for those who belong to no group."""
    groups = table.groups[field]
    sizes = [*groups.membership.sum(axis=0), groups.unknown]
    users = [*table.judged(field), table.outside(field)]
    for name, size, judged in zip([*groups.names, NO_GROUP], sizes, users, strict=True):
        if name != NO_GROUP or size:
            yield {"kind": groups.kind, "field": field, "group": name, "size": int(size), "users": int(judged)}


def _columns(cell: GroupCell, figures: Mapping[Figure, FloatArray], found: Intervals, printed: bool) -> Row:
    """A figure and its interval; nothing at all for a group too small to be printed."""
    value = float(cell.measure.of(figures))
    low, high = (found.bounds.get(cell.measure.key) if printed else None) or (None, None)
    shown = value if printed and np.isfinite(value) else None
    return {cell.figure: shown, f"{cell.figure}_low": low, f"{cell.figure}_high": high}


def _without_prompts(table: Table, metrics: Iterable[Metric]) -> Iterator[str]:
    """Figures of what a prompt says are 0 for a model that reads none."""
    names = [
        metric.name.lower()
        for metric in metrics
        if any(read.prompt not in (NOTHING, AS_USED) for read in metric.figures)
    ]
    if names and not getattr(table, "prompts", True):
        yield f"the model has no prompts and cannot be told an attribute, so there is no {', '.join(names)}"


def _absent_groups(table: Table) -> Iterator[str]:
    """Groups that no judged user speaks for are left out of every figure, by name."""
    for field, groups in table.groups.items():
        absent = [name for name, users in zip(groups.names, table.judged(field), strict=True) if not users]
        if absent:
            yield f"{field}: no judged user for {', '.join(absent)}; left out"
        if len(groups.names) - len(absent) < 2:
            yield f"{field}{NOTHING_COMPARED}"
