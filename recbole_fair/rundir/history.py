"""history.csv: losses, validation figures and what a strategy tells of itself, by epoch."""

from __future__ import annotations

import csv
from io import TextIOWrapper
from pathlib import Path

from recbole_fair.errors import UsageError
from recbole_fair.storage import open_regular

History = list[tuple[int, str, float]]  # epoch, metric, value


def read_history(folder: Path) -> History:
    """The rows of history.csv; none where there is no such file (closed-form models)."""
    path = folder / "history.csv"
    if not path.exists():
        return []
    try:
        with TextIOWrapper(open_regular(path), "utf-8", newline="") as stream:
            return [(int(row["epoch"]), row["metric"], float(row["value"])) for row in csv.DictReader(stream)]
    except (KeyError, TypeError, ValueError, OSError, csv.Error) as error:
        raise UsageError(f"{path}: damaged ({error!r}); remove the run's folder and run again") from error
