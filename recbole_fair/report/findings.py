"""What stands in a table, in sentences: the most accurate row, the fairer ones, their cost, the users served worse."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from recbole_fair.metrics import directions
from recbole_fair.metrics.key import MetricKey
from recbole_fair.report.assemble import Block
from recbole_fair.report.ranking import accuracy_key, best_row, decimals, judged
from recbole_fair.report.rows import Row
from recbole_fair.report.statistics.by_group import Grouping, group_figures, group_sizes, groupings
from recbole_fair.report.writers.numbers import interval, number
from recbole_fair.report.writers.wording import verdict

_CONTROLS = ("Pop", "Random")


def findings(block: Block, keys: Sequence[str]) -> list[str]:
    """One sentence a question; none where no row has figures."""
    accuracy = accuracy_key(keys)
    first = best_row(block.rows, accuracy) if accuracy else None
    if first is None or accuracy is None:
        return []
    tested = judged(keys, block.rows)
    fairness = [key for key in tested if MetricKey.parse(key).grouping and directions.best(key) is not None]
    if sum(bool(row.finished) for row in block.rows) == 1:
        measured = (key for key in (accuracy, *fairness) if first.cells[key].value is not None)
        figures = [f"{key} {_figure(block, first, key)}" for key in measured]
        return [f"{first.label} alone: {', '.join(figures)}.", *_no_better_than_pop(block), *served(first, accuracy)]
    return [
        f"Highest {accuracy}: {first.label}, {_figure(block, first, accuracy)}.",
        *_no_better_than_pop(block),
        *filter(None, (_fairest(block, first, key, accuracy) for key in fairness)),
        *served(first, accuracy),
    ]


def _no_better_than_pop(block: Block) -> Iterator[str]:
    """The rows of which a seed is worse than the list of popular items or not shown to beat it."""
    rows = [row for row in block.rows if row.runs[0].result.model not in _CONTROLS]
    worse = [row for row in rows if any(run.result.popularity.get("high", 1) < 0 for run in row.finished)]
    weak = [row for row in rows if any(run.result.popularity.get("low", 1) <= 0 for run in row.finished)]
    groups = {"Worse than": worse, "Not shown to beat": [row for row in weak if row not in worse]}
    said = [f"{words} Pop: {', '.join(row.label for row in own)}" for words, own in groups.items() if own]
    if said:
        yield f"{'. '.join(said)}. Pop lists what is popular; train or tune before judging fairness."


def _among(block: Block) -> str:
    """Of which rows something is said where not all are accurate enough to be ranked."""
    if not any(row.floor for row in block.rows):
        return ""
    pop = any(row.runs[0].result.model == "Pop" for row in block.rows)
    return f" among the rows at least as accurate as {'Pop' if pop else 'half of the best'}"


def _fairest(block: Block, first: Row, key: str, accuracy: str) -> str:
    """The best row of a fairness metric beside the most accurate one, and what it costs."""
    best = best_row(block.rows, key)
    if best is None or first.cells[key].value is None:
        return ""
    if best is first:
        return f"Best in {key} too{_among(block)}: {first.label}, {_figure(block, first, key)}."
    pair = f"{best.label}, {_figure(block, best, key)}, where {first.label} has {_figure(block, first, key)}"
    cost = f"its {accuracy} is {_share_lost(first, best, accuracy)}"
    return f"Best in {key}{_among(block)}: {pair}{_answer(block, first, best, key)}; {cost}."


def _share_lost(first: Row, best: Row, accuracy: str) -> str:
    most, own = first.cells[accuracy].value, best.cells[accuracy].value
    return "not known" if not most or own is None else f"{100 * (1 - own / most):.1f} % lower"


def _answer(block: Block, first: Row, best: Row, key: str) -> str:
    if block.reference is None or block.reference.label != first.label:
        return ""
    answers = [verdict(test) for test in block.tests if (test.label, test.key) == (best.label, key)]
    return f" ({answers[0].replace(' (', ': ').replace(')', '')})" if answers else ""


def _figure(block: Block, row: Row, key: str) -> str:
    cell, digits = row.cells[key], decimals(block.rows, key)
    ends = "" if cell.low is None or cell.high is None else f" {interval(cell.low, cell.high, digits)}"
    return f"{number(cell.value, digits)}{ends}"


def served(row: Row, accuracy: str) -> Iterator[str]:
    """The users who are served worst and best by a row, a sentence a grouping."""
    for grouping in groupings([row]):
        figures = group_figures(row, grouping, accuracy) if grouping.kind == "user" else {}
        values = {group: cell.value for group, cell in figures.items() if cell.value is not None}
        if len(values) > 1:
            sizes = group_sizes(row, grouping)
            low, *_, high = sorted(values, key=values.__getitem__)
            ends = (f"{group} {values[group]:.4f} ({sizes.get(group, 0)} users)" for group in (low, high))
            words = (" like " if values[low] == values[high] else " below ").join(ends)
            yield f"{grouping.field}, as {row.label} serves it: {words}{_gap(row, grouping, accuracy)}."


def _gap(row: Row, grouping: Grouping, accuracy: str) -> str:
    """The gap between these groups and its interval over users, which may reach 0; other seeds are no part of it."""
    key = f"gap_{accuracy}[{grouping.field}]"
    cell = row.cells.get(key)
    if cell is None or cell.value is None or cell.low is None or cell.high is None or math.isnan(cell.low):
        return ""
    digits = decimals([row], key)
    ends = interval(cell.low, cell.high, digits)
    return f", gap {number(cell.value, digits)} {ends}: {'sure' if cell.low > 0 else 'not sure'}"
