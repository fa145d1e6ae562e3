"""Everything a report says, before any format: tables, tests and figures of each set of comparable runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_fair.errors import UsageError
from recbole_fair.metrics import directions
from recbole_fair.registry import nearest
from recbole_fair.report.charts.chart import Chart
from recbole_fair.report.comparable import Facts, comparable, counted_once, described
from recbole_fair.report.ranking import best_row, default_metrics, filled, judged, metrics_in, ranked
from recbole_fair.report.rows import Row, by_text, rows_of
from recbole_fair.report.runs import TRAINED_SHARE, Run, read_runs
from recbole_fair.report.statistics.evidence import Evidence, gather
from recbole_fair.report.statistics.significance import Difference, compare

logger = logging.getLogger(__name__)

_SHOWN = 6  # rows in figures that would be unreadable with more


@dataclass(frozen=True)
class Options:
    """What the command line may ask for; nothing named: the usual metrics, the best row, every data set and model."""

    title: str = "Results"
    metrics: tuple[str, ...] = ()
    reference: str | None = None
    datasets: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    dossier: bool = False


@dataclass(frozen=True)
class Block:
    """Rows that may be compared: one data set, split and candidates."""

    facts: Facts
    described: str  # its heading
    rows: tuple[Row, ...]
    reference: Row | None
    tests: tuple[Difference, ...]
    untested: tuple[str, ...]  # what could not be compared, and why
    charts: tuple[Chart, ...]

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.facts[0]


@dataclass(frozen=True)
class Report:
    """All that a report says, whatever it is written as."""

    title: str
    keys: tuple[str, ...]  # shown
    all_keys: tuple[str, ...]  # of the page's metric chooser, those of `keys` first
    blocks: tuple[Block, ...]
    runs: tuple[Run, ...]


def assemble(roots: Sequence[Path], options: Options) -> Report:
    """Read, check, compare and draw."""
    runs = _wanted(counted_once(read_runs(roots)), options)
    sets = comparable(runs)
    keys = _chosen(options.metrics, runs)
    all_keys = tuple(dict.fromkeys([*keys, *metrics_in(runs)]))
    tables = {facts: rows_of(of_set) for facts, of_set in sets.items()}
    _check_reference(options.reference, [row for rows in tables.values() for row in rows])
    blocks = [
        _block(
            (facts, described(facts, tables)), rows, (keys, all_keys), options.reference, f"-{place}" if place else ""
        )
        for place, (facts, rows) in enumerate(tables.items())
    ]
    return Report(options.title, keys, all_keys, tuple(blocks), tuple(runs))


def _wanted(runs: Sequence[Run], options: Options) -> list[Run]:
    """The runs of the data sets and models that were asked for."""
    for key, names, present in (
        ("datasets", options.datasets, {run.result.dataset for run in runs}),
        ("models", options.models, {run.result.model for run in runs}),
    ):
        if unknown := [name for name in names if name not in present]:
            near = nearest(unknown[0], present)
            raise UsageError(f"--{key}={unknown[0]}: no run has it.{near} There are: {', '.join(sorted(present))}")
    return [
        run
        for run in runs
        if (not options.datasets or run.result.dataset in options.datasets)
        and (not options.models or run.result.model in options.models)
    ]


def _chosen(wanted: Sequence[str], runs: Sequence[Run]) -> tuple[str, ...]:
    reported = [*metrics_in(runs), TRAINED_SHARE]
    for key in wanted:
        if key not in reported:
            raise UsageError(
                f"--metrics={key}: no run has it.{nearest(key, reported)} There are: {', '.join(reported)}"
            )
    return tuple(wanted or default_metrics(runs))


def _check_reference(wanted: str | None, rows: Sequence[Row]) -> None:
    if wanted is not None and not _named(rows, wanted):
        names = {name for row in rows for name in (row.label, row.runs[0].result.model)}
        raise UsageError(f"--reference={wanted}: no row, model or run directory of this name.{nearest(wanted, names)}")


def _named(rows: Sequence[Row], wanted: str) -> list[Row]:
    """The row of that label, else those of that model, else the one with a run in that directory."""
    folder = Path(wanted).resolve()
    return (
        [row for row in rows if wanted == row.label]
        or [row for row in rows if wanted == row.runs[0].result.model]
        or [row for row in rows if any(run.folder.resolve() == folder for run in row.runs)]
    )


def _block(
    facts: tuple[Facts, str],
    rows: Sequence[Row],
    keys: tuple[Sequence[str], Sequence[str]],
    wanted: str | None,
    suffix: str,
) -> Block:
    shown, all_keys = keys
    evidence = gather(rows, shown)
    rows = ranked([filled(row, all_keys, evidence) for row in rows], judged(all_keys, rows))
    reference = _reference(rows, shown, wanted)
    logger.info("%s: testing against %s, drawing", facts[1], reference.label if reference else "nothing")
    tests = compare(evidence, reference, rows, judged(shown, rows)) if reference else []
    charts = tuple(_charts(rows, reference, shown, suffix))
    return Block(*facts, tuple(rows), reference, tuple(tests), tuple(_untested(rows, shown, evidence)), charts)


def _reference(rows: Sequence[Row], keys: Sequence[str], wanted: str | None) -> Row | None:
    """The first row that is named so, else the best on the first metric."""
    if wanted is None:
        return best_row(rows, keys[0]) if keys else None
    return next(iter(_named(rows, wanted)), None)


def _untested(rows: Sequence[Row], keys: Sequence[str], evidence: Evidence) -> Iterator[str]:
    """What could not be compared: a line a reason, with the metrics and rows that it holds for."""
    tested = judged(keys, rows)
    if of_everybody := [key for key in keys if key not in tested]:
        yield f"{', '.join(of_everybody)}: of users whose labels the defences had; attr_auc_unseen is of the others"
    sided = [key for key in tested if directions.best(key) is not None]
    if neutral := [key for key in keys if directions.best(key) is None]:
        yield f"{', '.join(neutral)}: no better side"
    if collapsed := [row.label for row in rows if row.collapsed]:
        yield f"{', '.join(collapsed)}: collapsed"
    lacking: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        reasons = {key: evidence.reasons[row.label, key] for key in sided if (row.label, key) in evidence.reasons}
        for reason, metrics in by_text(reasons):
            lacking.setdefault((reason, ", ".join(metrics)), []).append(row.label)
    for (reason, listed), labels in lacking.items():
        yield f"{', '.join(labels)} in {listed}: {reason}"


def _charts(rows: Sequence[Row], reference: Row | None, keys: Sequence[str], suffix: str) -> Iterator[Chart]:
    # matplotlib takes a second to load: not for what refuses before it draws
    from recbole_fair.report.charts import gallery

    finished = [row for row in rows if row.finished]
    few = finished[:_SHOWN]
    if reference and reference not in few:
        few = [*few[: _SHOWN - 1], reference]
    yield from gallery.charts(finished, few, keys, suffix)
