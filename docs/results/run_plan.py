"""Run what a plan of this folder lists, PLAN.yaml, and write its page, PLAN.md, from the run directories.

    python docs/results/run_plan.py PLAN [--runs=runs/results] [--only=MODEL,MODEL] [--tables=NAME,NAME] [--write]

Resumable: finished runs are not repeated, a killed one goes on. `--write` only writes the tables. With `--tables` the
other tables stay on the page as they are. A row with `strengths` is one run a value on the first seed; the best of
these on validation, as many as `shortlist` says, run with the other seeds too, and the validation means of all seeds
choose one. `seeds: 1` of a row is the first seed only. A row `after` another is fitted to that row's runs. A row that
`stands_on` another has that row's run of the same seed as its base. A Blend `blends` the runs of several rows of the
same seed, or the runs `of_seeds` of one row. A row with `table` shows runs of that other table and runs nothing; a
`hidden` one is run and not shown. `groups: {GROUPING: [FIGURE]}` of a table shows these figures by group, `charts` the
report's charts of these names, or its planes of these metrics.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_fair.errors import TrainingError, UsageError
from recbole_fair.report.assemble import Block, Options, assemble
from recbole_fair.report.runs import TRAINED_SHARE
from recbole_fair.report.writers.markdown import folded, glossary, results, tables_of
from recbole_fair.report.writers.wording import CAPTION
from recbole_fair.rundir.result import Result, finished
from recbole_fair.settings import yamls

HERE = Path(__file__).parent
_INK = "#767d86"  # a figure in a file takes no colour from the page: readable on light and on dark ones
_SHARES = (0.98, 0.96, 0.94, 0.92)
Entry = dict[str, Any]  # a table or a row of the plan


def label_of(row: Entry) -> str:
    """What a row is called in the plan."""
    return str(row.get("label", row["model"]))


def row_of(table: Entry, label: str) -> Entry:
    """The row of that name."""
    return next(row for row in table["rows"] if label_of(row) == label)


def seeds_of(table: Entry, row: Entry) -> Sequence[int]:
    """The seeds that a row is run with: its table's, or only so many of them as its `seeds` says."""
    return table["seeds"][: row.get("seeds", len(table["seeds"]))]


def folder_of(runs: Path, table: Entry, row: Entry, seed: int) -> Path:
    """Where a run of the plan lies."""
    plain = label_of(row).translate({ord(" "): "-", **dict.fromkeys(map(ord, "(),"), None)})
    return runs / row.get("table", table["name"]) / f"{plain}-s{seed}"


def strengths(row: Entry) -> list[Entry]:
    """A row for each of its `strengths`, {key: values} or a list of keys; the row itself where it has none."""
    given = row.get("strengths", [{}])
    each = [{key: value} for key, values in given.items() for value in values] if isinstance(given, dict) else given
    return [
        {
            **row,
            "label": " ".join([label_of(row), *(f"{key}={value}" for key, value in keys.items())]),
            "keys": {**row.get("keys", {}), **keys},
        }
        for keys in each
    ]


def settings(table: Entry, row: Entry, runs: Path, first: bool) -> list[Entry]:
    """What of a row runs: on the first seed every strength, on the others the shortlist; none while nothing is known.

    A row `after` another stands on what is chosen of that one, and is called so.
    """
    if "after" in row:
        below = chosen(table, row_of(table, row["after"]), runs)
        return [{**row, "label": f"{label_of(row)} on {label_of(below)}", "below": below}] if below else []
    given = strengths(row)
    if first or len(given) == 1:
        return given
    return _ranked(table, given, runs, table["seeds"][:1])[: table["tune"].get("shortlist", 1)]


def chosen(table: Entry, row: Entry, runs: Path) -> Entry | None:
    """The strength that validation chooses; None while a run of the shortlist is missing."""
    short = settings(table, row, runs, first=False)
    if len(short) > 1:
        short = _ranked(table, short, runs, table["seeds"])
    return short[0] if short else None


def _ranked(table: Entry, given: Sequence[Entry], runs: Path, seeds: Sequence[int]) -> list[Entry]:
    """Best first, by validation means over seeds; empty while a run is missing, and one that failed is out.

    Those that keep `keep` of the reference's accuracy stand before the others: the fairest of them first, of the others
    the most accurate.
    """
    each = [[_tried(folder_of(runs, table, one, seed)) for seed in seeds] for one in given]
    reference = [_tried(folder_of(runs, table, row_of(table, table["reference"]), seed)) for seed in seeds]
    if not all(map(all, [reference, *each])):
        return []
    accuracy, fairness = table["tune"]["accuracy"], table["tune"]["fairness"]
    least = table["tune"]["keep"] * _mean(reference, accuracy)
    well = [
        (one, _mean(tried, accuracy), _mean(tried, fairness))
        for one, tried in zip(given, each, strict=True)
        if all(result.status != "failed" for result in tried)
    ]
    order = sorted(well, key=lambda entry: (0, entry[2]) if entry[1] >= least else (1, -entry[1]))
    return [one for one, *_ in order]


def _mean(results: Sequence[Result], metric: str) -> float:
    return statistics.mean(result.valid[metric] for result in results)


def _tried(folder: Path) -> Result | None:
    """What a run came to, well or not; None where it has not ended."""
    return Result.read(folder) if (folder / "result.json").is_file() else None


def missing(plan: Entry, runs: Path, only: set[str], tables: set[str]) -> Iterator[tuple[Path, Entry]]:
    """(folder, keys) of every run that is not finished: headline rows first, of these the first seeds first.

    What stands on other rows comes after these, when it is known what was chosen of them.
    """
    runs_of = [
        (row.get("extra", False), bool(row.keys() & {"after", "blends", "of_seeds"}), place, table, row)
        for table in plan["tables"]
        for row in table["rows"]
        for place in range(len(seeds_of(table, row)))
        if "table" not in row and (not only or row["model"] in only) and (not tables or table["name"] in tables)
    ]
    for *_, place, table, row in sorted(runs_of, key=lambda entry: entry[:3]):
        seed = table["seeds"][place]
        for one in settings(table, row, runs, first=place == 0):
            if not finished(folder := folder_of(runs, table, one, seed)):
                yield folder, {**_keys(table, one, seed, runs), "seed": seed, "run_dir": str(folder), "resume": True}


def _keys(table: Entry, row: Entry, seed: int, runs: Path) -> Entry:
    """What is run: a model with the keys of its table, or `after` another row the strategy that stands on its runs."""
    if "below" in row:
        return {**row["keys"], "base": str(folder_of(runs, table, row["below"], seed))}
    base = {"base": str(folder_of(runs, table, row_of(table, row["stands_on"]), seed))} if "stands_on" in row else {}
    parts = _blended(table, row, seed, runs)
    bases = {"bases": {name: str(folder) for name, folder in parts.items()}} if parts else {}
    own = {**table.get("keys", {}), **row.get("keys", {}), **base, **bases}
    return {**own, "model": row["model"], "dataset": table["dataset"]}


def _blended(table: Entry, row: Entry, seed: int, runs: Path) -> dict[str, Path]:
    """The runs that a Blend weighs, by name."""
    if "of_seeds" in row:
        part = row_of(table, row["of_seeds"])
        return {f"{row['of_seeds']}-s{seed}": folder_of(runs, table, part, seed) for seed in seeds_of(table, part)}
    return {label: folder_of(runs, table, row_of(table, label), seed) for label in row.get("blends", ())}


def section(table: Entry, runs: Path) -> Iterator[str]:
    """One table: what `recbole-fair report` says of its run directories, and what was not run."""
    yield f"## {table['title']}"
    yield table["caption"]
    if "findings" in table:
        yield table["findings"]
    rows = {label_of(row): folders_of(table, row, runs) for row in table["rows"] if not row.get("hidden")}
    if folders := [folder for of_row in rows.values() for folder in of_row]:
        table = {**table, "metrics": _measured(table["metrics"], folders)}
        for block in _blocks(table, folders, rows.get(table.get("reference"))):
            yield from tables_of(block, table["metrics"])
            yield from charts(f"{table['name']}-rows", block, table.get("charts", ()))
            yield from by_group(table, block)
        if rival := rows.get(table.get("rival")):
            for block in _blocks(table, folders, rival):
                parts = tables_of(block, table["metrics"])
                yield from itertools.dropwhile(lambda part: not part.startswith("### Against"), parts)
    yield from _not_run(rows, {label_of(row): len(seeds_of(table, row)) for row in table["rows"]})
    if "tune" in table:
        yield from at_equal_accuracy(table, runs)
        yield from every_strength(table, runs)


def _not_run(rows: Mapping[str, Sequence[Path]], seeds: Mapping[str, int]) -> Iterator[str]:
    if absent := [label for label, folders in rows.items() if not folders]:
        yield f"Planned and not run: {', '.join(absent)}."
    fewer = {label: len(folders) for label, folders in rows.items() if 0 < len(folders) < seeds[label]}
    if fewer:
        told = (f"{label} ({count} of {seeds[label]})" for label, count in fewer.items())
        yield f"Run with fewer seeds than planned: {', '.join(told)}."


def folders_of(table: Entry, row: Entry, runs: Path) -> list[Path]:
    """The finished runs of a row, at the strength chosen for it."""
    one = chosen(table, row, runs)
    folders = [folder_of(runs, table, one, seed) for seed in seeds_of(table, row)] if one else []
    return [folder for folder in folders if finished(folder)]


def _measured(metrics: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Those of the metrics that a run has: rows that are not run yet may be the only ones with the others."""
    had = {key for folder in folders for key in Result.read(folder).test} | {TRAINED_SHARE}
    return [metric for metric in metrics if metric in had]


def _blocks(table: Entry, folders: Sequence[Path], against: Sequence[Path] | None = None) -> tuple[Block, ...]:
    """What a report says of the runs; each row is tested against the one that has the runs `against`."""
    reference = str(against[0]) if against else None
    return assemble(folders, Options(metrics=tuple(table["metrics"]), reference=reference)).blocks


def every_strength(table: Entry, runs: Path) -> Iterator[str]:
    """What was chosen, and from what: as a table and as planes of accuracy and fairness, over the seeds run."""
    rows = [one for row in table["rows"] if "strengths" in row and (one := chosen(table, row, runs))]
    if not rows:
        return
    yield f"Chosen on validation: {'; '.join(map(label_of, rows))}."
    every = [one for row in table["rows"] for one in settings(table, row, runs, first=True)]
    folders = [folder_of(runs, table, one, seed) for one in every for seed in table["seeds"]]
    if not any(map(finished, folders)):
        return
    yield "### Every strength"
    for block in _blocks(table, [folder for folder in folders if finished(folder)]):
        yield from folded(f"{len(block.rows)} rows", [results(block, table["metrics"])])
        yield from charts(table["name"], block, table["metrics"])


def charts(name: str, block: Block, asked: Sequence[str]) -> Iterator[str]:
    """The charts that are asked for, written beside the plan: by name, or a plane by its metric beside accuracy."""
    for chart in block.charts:
        if chart.name in asked or (chart.name.startswith("plane") and chart.header[2] in asked):
            file = f"{name}-{chart.name}.svg"
            (HERE / file).write_text(chart.drawing.svg.replace("currentColor", _INK) + "\n")
            yield f"![{chart.alternative}]({file})"


def by_group(table: Entry, block: Block) -> Iterator[str]:
    """The figures of each row in each group of the `groups` of a table: mean and standard deviation over seeds."""
    for grouping, figures in table.get("groups", {}).items():
        found = {row.label: [run.result.group_rows for run in row.finished] for row in block.rows}
        names = dict.fromkeys(
            group["group"]
            for of_row in found.values()
            for of_run in of_row
            for group in of_run
            if group["field"] == grouping and any(group.get(figure) is not None for figure in figures)
        )
        yield f"### By {grouping}"
        columns = [(figure, name) for figure in figures for name in names]
        lines = [
            [label, *(_mean_and_sd([_figure(of_run, grouping, *column) for of_run in of_row]) for column in columns)]
            for label, of_row in found.items()
        ]
        yield _table(["row", *(" ".join(column) for column in columns)], lines)


def _figure(groups: Sequence[Mapping[str, Any]], grouping: str, figure: str, name: str) -> float:
    """A figure of one group in one run; NaN where the group has too few for one."""
    found = [group.get(figure) for group in groups if (group["field"], group["group"]) == (grouping, name)]
    return math.nan if not found or found[0] is None else found[0]


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))


def at_equal_accuracy(table: Entry, runs: Path) -> Iterator[str]:
    """Test CV and MIN that each Offset reaches at shares of the reference's accuracy, along frontier.csv.

    Linear between steps; mean and standard deviation over seeds. A way that begins below a share, or never falls
    below it, has none there.
    """
    pairs = {
        label_of(row): [
            (offset, beside)
            for one in settings(table, row, runs, first=True)
            for seed in table["seeds"]
            if finished(offset := folder_of(runs, table, one, seed))
            and finished(beside := folder_of(runs, table, row_of(table, table["reference"]), seed))
        ]
        for row in table["rows"]
        if "after" in row
    }
    if not any(pairs.values()):
        return
    header = ["row", *(f"{figure.upper()} at {share:.0%}" for share in _SHARES for figure in ("cv", "min"))]
    lines = []
    for label, found in pairs.items():
        cells = [
            [
                _along(offset / "frontier.csv", share * Result.read(beside).test[table["tune"]["accuracy"]], figure)
                for offset, beside in found
            ]
            for share in _SHARES
            for figure in ("cv", "min")
        ]
        lines.append([label, *map(_mean_and_sd, cells)])
    yield f"### Offset's frontiers on test, at shares of {table['reference']}'s {table['tune']['accuracy']}"
    yield _table(header, lines)


def _along(path: Path, accuracy: float, figure: str) -> float:
    """A figure where the way, step by step, falls below an accuracy for the last time; NaN where it never does."""
    with path.open(newline="") as stream:
        steps = [(float(step["test accuracy"]), float(step[f"test {figure}"])) for step in csv.DictReader(stream)]
    crossings = [pair for pair in itertools.pairwise(steps) if pair[0][0] >= accuracy > pair[1][0]]
    if not crossings or steps[0][0] < accuracy:
        return math.nan
    (above, before), (below, after) = crossings[-1]
    return before + (after - before) * (above - accuracy) / (above - below)


def _mean_and_sd(values: Sequence[float]) -> str:
    reached = [value for value in values if not math.isnan(value)]
    if len(reached) < len(values) or len(reached) < 2:
        return f"{reached[0]:.3f}" if len(values) == len(reached) == 1 else "-"
    return f"{statistics.mean(reached):.3f} +- {statistics.stdev(reached):.3f}"


def main() -> None:
    """Run what is missing, in turn, and write the page."""
    plans = sorted(path.stem for path in HERE.glob("*.yaml"))
    if len(sys.argv) < 2 or sys.argv[1] not in plans:
        sys.exit(f"name a plan: {', '.join(plans)}")
    options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[2:])
    if unknown := options.keys() - {"runs", "only", "tables", "write"}:
        sys.exit(f"--{min(unknown)}: unknown; there are --runs, --only, --tables, --write")
    runs, plan = Path(options.get("runs", "runs/results")), yamls.read_mapping(HERE / f"{sys.argv[1]}.yaml")
    only, tables = (set(options.get(name, "").split(",")) - {""} for name in ("only", "tables"))
    if unknown := tables - {table["name"] for table in plan["tables"]}:
        sys.exit(f"--tables={min(unknown)}: {sys.argv[1]}.yaml has no such table")
    if "write" not in options:
        _run_all(plan, runs, only, tables)
    page = HERE / f"{sys.argv[1]}.md"
    standing = sections_of(page) if tables and page.exists() else {}
    parts: list[str] = []
    for table in plan["tables"]:
        stays = table["title"] in standing and table["name"] not in tables
        parts += [standing[table["title"]]] if stays else section(table, runs)
    metrics = dict.fromkeys(metric for table in plan["tables"] for metric in table["metrics"])
    page.write_text("\n\n".join([f"# {plan['title']}", plan["preface"], CAPTION, *glossary(metrics), *parts]) + "\n")


def sections_of(page: Path) -> dict[str, str]:
    """What stands on a page, by the titles of its tables."""
    sections = re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]
    return {text.partition("\n")[0]: f"## {text.strip()}" for text in sections}


def _run_all(plan: Mapping[str, Any], runs: Path, only: set[str], tables: set[str]) -> None:
    from recbole_fair import run

    for folder, keys in missing(dict(plan), runs, only, tables):
        print(folder, flush=True)
        try:
            run(**keys)
        except (UsageError, TrainingError) as error:
            print(f"  {error}", flush=True)


if __name__ == "__main__":
    main()
