"""Run what docs/results/plan.yaml lists and write docs/results.md from the run directories.

    python docs/results/run_plan.py [--runs=runs/results] [--only=MODEL,MODEL] [--write]

Resumable: finished runs are not repeated, a killed one goes on. `--write` only writes the tables.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_fair import yamls
from recbole_fair.errors import UsageError
from recbole_fair.report.assemble import Options, assemble
from recbole_fair.report.markdown import tables_of
from recbole_fair.report.wording import CAPTION
from recbole_fair.result import finished

HERE = Path(__file__).parent
Row = dict[str, Any]


def folder_of(runs: Path, table: Row, row: Row, seed: int) -> Path:
    """Where a run of the plan lies."""
    label = row.get("label", row["model"]).replace(" ", "-").replace(",", "").replace("(", "").replace(")", "")
    return runs / table["name"] / f"{label}-s{seed}"


def missing(plan: Row, runs: Path, only: set[str]) -> Iterator[tuple[Path, Row]]:
    """(folder, keys) of every run that is not finished: headline rows first, of these the first seeds first."""
    runs_of = [
        (row.get("extra", False), seed, table, row)
        for table in plan["tables"]
        for row in table["rows"]
        for seed in table["seeds"]
    ]
    for _, seed, table, row in sorted(runs_of, key=lambda entry: entry[:2]):
        folder = folder_of(runs, table, row, seed)
        if (not only or row["model"] in only) and not finished(folder):
            fixed = {"model": row["model"], "dataset": table["dataset"], "seed": seed, "run_dir": str(folder)}
            yield folder, {**table.get("keys", {}), **row.get("keys", {}), **fixed, "resume": True}


def section(table: Row, runs: Path) -> Iterator[str]:
    """One table: what `recbole-fair report` says of its run directories, and what was not run."""
    yield f"## {table['title']}"
    yield table["caption"]
    report = assemble(
        [runs / table["name"]], Options(metrics=tuple(table["metrics"]), reference=table.get("reference"))
    )
    for block in report.blocks:
        yield from tables_of(block, report.keys)
    if absent := [label for label, folders in planned(table, runs) if not any(map(finished, folders))]:
        yield f"Planned and not run: {', '.join(absent)}."
    if "findings" in table:
        yield table["findings"]


def planned(table: Row, runs: Path) -> Iterator[tuple[str, list[Path]]]:
    """Each row's label and its runs' folders."""
    for row in table["rows"]:
        yield row.get("label", row["model"]), [folder_of(runs, table, row, seed) for seed in table["seeds"]]


def main() -> None:
    from recbole_fair import run

    options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
    runs, only = Path(options.get("runs", "runs/results")), set(options.get("only", "").split(",")) - {""}
    plan = yamls.read_mapping(HERE / "plan.yaml")
    if "write" not in options:
        for folder, keys in missing(plan, runs, only):
            print(folder, flush=True)
            try:
                run(**keys)
            except UsageError as error:
                print(f"  refused: {error}", flush=True)
    started = [table for table in plan["tables"] if (runs / table["name"]).is_dir()]
    parts = [part for table in started for part in section(table, runs)]
    (HERE.parent / "results.md").write_text("\n\n".join(["# Results", plan["preface"], CAPTION, *parts]) + "\n")


if __name__ == "__main__":
    main()
