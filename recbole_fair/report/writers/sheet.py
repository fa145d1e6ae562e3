"""results.csv: a row a run, every figure at full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from recbole_fair.report.runs import Run
from recbole_fair.report.writers.escape import in_sheet

_PARTS = ("parameters", "seconds", "environment", "data", "versions")


def sheet(runs: Sequence[Run]) -> str:
    """The whole table as CSV text."""
    rows = [_row(run) for run in runs]
    header = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(in_sheet, header))
    writer.writerows([_cell(row.get(key)) for key in header] for row in rows)
    return stream.getvalue()


def _row(run: Run) -> dict[str, Any]:
    result = run.result
    row: dict[str, Any] = {"run": run.name}
    row |= {
        key: getattr(result, key) for key in ("model", "strategy", "dataset", "seed", "config_hash", "status", "error")
    }
    for key, value in result.test.items():
        low, high = result.interval.get(key) or (None, None)
        row |= {f"test {key}": value, f"test {key} low": low, f"test {key} high": high}
    row |= {f"valid {key}": value for key, value in result.valid.items()}
    for part in _PARTS:
        row |= {f"{part} {key}": value for key, value in getattr(result, part).items()}
    return row | {"warnings": "; ".join(map(str, result.warnings)), "copies": "; ".join(run.copies)}


def _cell(value: Any) -> Any:
    """Numbers as they are, text so that no spreadsheet computes it."""
    return value if value is None or isinstance(value, (int, float)) else in_sheet(value)
