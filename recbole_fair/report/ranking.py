"""Filling the table: values over seeds, intervals, and what is best and second in each column."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from recbole_fair.metrics.judging import NOTHING_COMPARED
from recbole_fair.metrics.key import MetricKey
from recbole_fair.report.rows import Cell, Row
from recbole_fair.report.runs import Run
from recbole_fair.report.statistics.evaluated import LEVEL
from recbole_fair.report.statistics.evidence import Evidence

# A column a question: accuracy, items, users, what answers depend on. {k} is the K of 20, or the largest.
_DEFAULT = (
    r"ndcg@{k}", r"recall@{k}", r"hit@{k}", "auc", "f1", "yes_share", r"cv@{k}\[.*", r"gap_ndcg@{k}\[.*", r"flip\[.*",
    r"gd\[.*", "sf", r"attr_auc\[.*",
)  # fmt: skip
_ACCURACY = ("ndcg", "recall", "hit", "mrr", "precision", "map", "auc", "f1")


def metrics_in(runs: Iterable[Run]) -> list[str]:
    """Every metric that some run has, in the runs' order."""
    return list(dict.fromkeys(key for run in runs for key in run.result.test))


def default_metrics(runs: Iterable[Run]) -> list[str]:
    """What is shown unless --metrics says otherwise."""
    reported = metrics_in(runs)
    ranks = {k for key in reported if (k := MetricKey.parse(key).k) is not None}
    k = 20 if 20 in ranks else max(ranks, default=0)
    patterns = [pattern.replace("{k}", str(k)) for pattern in _DEFAULT]
    return [key for pattern in patterns for key in reported if re.fullmatch(pattern, key)] or reported[:3]


def flattered(key: str, present: Iterable[str]) -> bool:
    """Whether an attribute AUC counts users whose labels the defence had, where some were held back from it.

    States that were fitted on labels contradict them in folds of the same users: LEACE's are attacked with an AUC of .2
    there and with the leak that is left on all others. Only the figure of users whose labels nobody had is judged.
    """
    parsed = MetricKey.parse(key)
    of_everybody = parsed.name.startswith("attr_auc") and not parsed.name.endswith(("_unseen", "_null"))
    return of_everybody and f"attr_auc_unseen[{parsed.grouping}]" in present


def judged(keys: Iterable[str], rows: Iterable[Row]) -> list[str]:
    """Those of the keys that are marked and tested in a table of these rows."""
    present = metrics_in(run for row in rows for run in row.finished)
    return [key for key in keys if not flattered(key, present)]


def accuracy_key(keys: Iterable[str]) -> str | None:
    """The first metric that says how accurate a row is, not how fair."""
    parsed = {key: MetricKey.parse(key) for key in keys}
    return next((key for key, parts in parsed.items() if parts.name in _ACCURACY and not parts.grouping), None)


def filled(row: Row, keys: Sequence[str], evidence: Evidence) -> Row:
    """The row with its cells."""
    return replace(row, cells={key: _cell(row, key, evidence) for key in keys})


def _cell(row: Row, key: str, evidence: Evidence) -> Cell:
    if not row.finished:
        return Cell(note="no finished run")
    values = [run.figures.get(key) for run in row.finished]
    defined = [value for value in values if value is not None]
    if not defined:
        return Cell(note=_absence(row, key))
    low, high, reading = _interval(row, key, evidence)
    missing = f"undefined in {len(values) - len(defined)} of {len(values)} seeds" if len(defined) < len(values) else ""
    spread = statistics.stdev(defined) if len(defined) > 1 else None
    return Cell(statistics.fmean(defined), spread, low, high, reading=reading, note=missing)


def _absence(row: Row, key: str) -> str:
    if not any(key in run.figures for run in row.finished):
        return "not measured"
    figure = replace(MetricKey.parse(key), k=None)
    words = (key, f"{figure} is undefined", f"{figure.grouping}{NOTHING_COMPARED}")
    reasons = [note for run in row.finished for note in run.result.warnings if str(note).startswith(words)]
    return f"undefined ({reasons[0]})" if reasons else "undefined"


def _interval(row: Row, key: str, evidence: Evidence) -> tuple[float | None, float | None, str]:
    """As one run states it at 95 %; else (several seeds, another level, none stated) computed anew from the users."""
    alone = len(row.finished) == 1 and row.finished[0].level == LEVEL
    stated = row.finished[0].result.interval.get(key) if alone else None
    if stated is not None:
        return stated[0], stated[1], ""
    return evidence.interval(row.label, key)


def ranked(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """Rows with the best and the second value of each column marked, best of the first column first.

    A row below the accuracy floor is not marked: a list that helps nobody is easily equal. Nor is a row alone.
    """
    marked = _below_floor(rows, keys)
    for key in keys if sum(bool(row.finished) for row in rows) > 1 else ():
        marked = _marked(marked, key)
    return sorted(
        marked, key=lambda row: (not row.finished, row.collapsed, *(_cost(row, key) for key in keys[:1]), row.label)
    )


def _below_floor(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """Rows that are less accurate than Pop, or where there is none than half of the best row, say so."""
    accuracy = accuracy_key(keys)
    best = best_row(rows, accuracy) if accuracy else None
    if accuracy is None or best is None or (most := best.cells[accuracy].value) is None:
        return list(rows)
    pop = [row.cells[accuracy].value for row in rows if row.runs[0].result.model == "Pop"]
    floor, name = (pop[0], "Pop's") if pop and pop[0] is not None else (most / 2, "half of the best")
    note = f"{accuracy} below {name}, {floor:.4f}: not marked"
    low = [row.ranked and (row.cells[accuracy].value or 0) < floor for row in rows]
    return [replace(row, floor=note if below else "") for row, below in zip(rows, low, strict=True)]


def _marked(rows: Sequence[Row], key: str) -> list[Row]:
    """Values that read the same are the same: what is compared is what is printed."""
    digits = decimals(rows, key)
    costs = [round(_cost(row, key), digits) if row.ranked and not row.floor else math.inf for row in rows]
    places = sorted({value for value in costs if math.isfinite(value)})
    names = dict(zip(places, ("best", "second"), strict=False))
    return [
        replace(row, cells={**row.cells, key: replace(row.cells[key], mark=names.get(value, ""))})
        for row, value in zip(rows, costs, strict=True)
    ]


def _cost(row: Row, key: str) -> float:
    cost = row.cost(key)
    return math.inf if math.isnan(cost) else cost


def decimals(rows: Iterable[Row], key: str) -> int:
    """Four, and more where a column's values are small: GD is of the order of 1e-3."""
    sizes = [abs(cell.value) for row in rows if (cell := row.cells[key]).value]
    return 4 if not sizes else min(8, max(4, 2 - math.floor(math.log10(max(sizes)))))


def best_row(rows: Sequence[Row], key: str) -> Row | None:
    """The best row on a metric, None if nothing can be ranked by it."""
    candidates = [row for row in rows if row.ranked and not row.floor and math.isfinite(_cost(row, key))]
    return min(candidates, key=lambda row: _cost(row, key), default=None)
