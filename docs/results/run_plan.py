"""Run what docs/results/plan.yaml lists and write docs/results.md from the run directories.

    python docs/results/run_plan.py [--runs=runs/results] [--only=MODEL,MODEL] [--write]

Resumable: finished runs are not repeated, a killed one goes on. `--write` only writes the tables.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_fair import yamls
from recbole_fair.errors import UsageError
from recbole_fair.result import Result, finished

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


def cell(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


def lines_of(table: Row, runs: Path) -> Iterator[str]:
    """One table as Markdown."""
    yield f"## {table['title']}\n"
    yield f"{table['caption']}\n"
    yield f"| model | {' | '.join(table['metrics'])} | seeds | seconds to train | remarks |"
    yield "| --- |" + " ---: |" * (len(table["metrics"]) + 2) + " --- |"
    for row in table["rows"]:
        label = row.get("label", row["model"])
        folders = [folder_of(runs, table, row, seed) for seed in table["seeds"]]
        results = [Result.read(folder) for folder in folders if finished(folder)]
        if not results:
            yield f"| {label} |" + " not run |" * len(table["metrics"]) + " 0 | | |"
            continue
        cells = [cell([result.test[metric] for result in results]) for metric in table["metrics"]]
        seconds = statistics.median(result.seconds["train"] for result in results)
        yield f"| {label} | {' | '.join(cells)} | {len(results)} | {seconds:.0f} | {row.get('note', '')} |"
    yield f"\n{judged_alike(table, runs)}\n"
    if "findings" in table:
        yield f"{table['findings']}\n"


def judged_alike(table: Row, runs: Path) -> str:
    """Whether all rows of a table share data and split, from the runs themselves."""
    results = [Result.read(folder) for folder in sorted(runs.glob(f"{table['name']}/*")) if finished(folder)]
    facts = {(result.data["fingerprint"], result.data["split"]) for result in results}
    if len(facts) == 1:
        ((data, split),) = facts
        return f"All {len(results)} runs share data {data} and split {split}."
    return f"NOT COMPARABLE: {len(facts)} different data sets or splits."


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
    lines = [line for table in plan["tables"] for line in lines_of(table, runs)]
    (HERE.parent / "results.md").write_text("\n".join(["# Results\n", f"{plan['preface']}\n", *lines]) + "\n")


if __name__ == "__main__":
    main()
