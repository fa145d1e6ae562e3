"""Rows of a table: one configuration with its seeds, and what is known of each metric."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from recbole_fair.metrics import directions
from recbole_fair.metrics.bootstrap import NOISE
from recbole_fair.report.labels import labels
from recbole_fair.report.runs import Run


@dataclass(frozen=True)
class Cell:
    """A figure: the value of one seed or the mean of several, how sure it is, and how it stands in its column."""

    value: float | None = None
    spread: float | None = None  # standard deviation over seeds; None for one seed
    low: float | None = None  # 95 % interval over users
    high: float | None = None
    mark: str = ""  # best | second
    reading: str = ""  # "at most" or "at least", where noise alone could have made the value
    note: str = ""  # why there is no value, or not one of every seed


@dataclass(frozen=True)
class Row:
    """One configuration: its runs of several seeds."""

    label: str
    runs: tuple[Run, ...]
    cells: dict[str, Cell] = field(default_factory=dict)
    floor: str = ""  # why it is not marked, where it is less accurate than a list without any model

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs that have figures."""
        return tuple(run for run in self.runs if run.finished)

    @property
    def collapsed(self) -> bool:
        """Whether a run of it gave one answer to everything: its fairness figures say nothing."""
        return any(run.result.status == "collapsed" for run in self.runs)

    @property
    def ranked(self) -> bool:
        """Whether it takes part in best and second."""
        return bool(self.finished) and not self.collapsed

    @property
    def strategy(self) -> str:
        """The fairness strategy, if there is one."""
        return self.runs[0].result.strategy or ""

    def cost(self, key: str) -> float:
        """What should be small, a mean over seeds: errors to either side of a best value do not cancel. Or nan."""
        values = [value for run in self.finished if (value := run.result.test.get(key)) is not None]
        return statistics.fmean(directions.cost(key, values)) if values else math.nan

    def seconds(self) -> float | None:
        """Median seconds of training."""
        return _median(run.result.seconds.get("train") for run in self.finished)

    def memory(self) -> float | None:
        """Median peak memory in bytes."""
        return _median(run.result.environment.get("peak_memory") for run in self.finished)

    def remarks(self, keys: Sequence[str]) -> list[str]:
        """What a reader of the row must know: its state, why cells are empty or to be read with care, its warnings."""
        empty = {key: note for key in keys if self.finished and (note := self.cells[key].note)}
        cells = [f"{', '.join(of_note)}: {note}" for note, of_note in by_text(empty)]
        return [*_state(self), *filter(None, [self.floor]), *cells, *_warnings(self)]


def by_text(texts: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Each text once, with what it is said of.

    >>> by_text({"a": "not measured", "b": "undefined", "c": "not measured"})
    [('not measured', ['a', 'c']), ('undefined', ['b'])]
    """
    names: dict[str, list[str]] = {}
    for name, text in texts.items():
        names.setdefault(text, []).append(name)
    return list(names.items())


def _median(values: Iterable[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return statistics.median(measured) if measured else None


def _state(row: Row) -> list[str]:
    remarks = ["collapsed: nearly one answer to everything; not ranked"] if row.collapsed else []
    for run in row.runs:
        if not run.finished:
            remarks.append(f"seed {run.result.seed} {run.result.status}: {run.result.error or 'no reason stated'}")
    return remarks


def _warnings(row: Row) -> list[str]:
    """Each warning once, with the seeds that gave it where not all did; what cells are marked for is not repeated."""
    by_seed = {
        run.result.seed: [note for note in run.result.warnings if not str(note).startswith(NOISE)]
        for run in row.finished
    }
    remarks = []
    for note in dict.fromkeys(note for notes in by_seed.values() for note in notes):
        seeds = [str(seed) for seed, notes in by_seed.items() if note in notes]
        remarks.append(str(note) if len(seeds) == len(by_seed) else f"{note} (seed {', '.join(seeds)})")
    return remarks


def rows_of(runs: Iterable[Run]) -> list[Row]:
    """Runs of one model and configuration as one row, its seeds in order."""
    rows: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.result.model, run.name)):
        rows.setdefault((run.result.model, run.result.config_hash), []).append(run)
    several = [sorted(group, key=lambda run: run.result.seed) for group in rows.values()]
    names = labels([group[0] for group in several])
    return [Row(label, tuple(group)) for label, group in zip(names, several, strict=True)]
