"""What a run says of each user: users.csv, and the answers of predictions.tsv."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.metrics.answers import Confusion, confusion
from recbole_fair.metrics.formulas import BoolArray, FloatArray
from recbole_fair.storage import open_regular, regular

StrArray = npt.NDArray[np.str_]
_ID = "user_id"
_PREDICTIONS = {_ID: "string", "item_id": "string", "label": "double", "variant": "string", "score": "double"}


@dataclass(frozen=True)
class Users:
    """users.csv, ordered by user id."""

    folder: Path
    ids: StrArray  # [U]
    figures: Mapping[str, FloatArray]  # each [U], nan where a user has none
    labels: Mapping[str, StrArray]  # a user grouping's names, several joined by "|"
    threshold: float  # a score from here on says Yes

    def groups(self, field: str) -> list[str]:
        """The groups of a user grouping that somebody is in, by name."""
        return sorted({name for label in np.unique(self.labels[field]) for name in label.split("|")} - {""})

    def membership(self, field: str) -> BoolArray:
        """Who belongs to which of `groups`, [U, G]."""
        labels, rows = np.unique(self.labels[field], return_inverse=True)
        member = [[name in label.split("|") for name in self.groups(field)] for label in labels]
        return np.array(member, dtype=bool)[rows.ravel()]

    @cached_property
    def _predictions(self) -> Mapping[str, Any] | None:
        path = self.folder / "predictions.tsv"
        return _columns(path, _PREDICTIONS, "\t") if path.exists() else None

    def answers(self, variant: str) -> Confusion | None:
        """Counts of right and wrong answers by user under one variant of the prompt; None if it was not asked."""
        pairs = self._predictions
        if pairs is None or not (chosen := pairs["variant"] == variant).any():
            return None
        rows = np.searchsorted(self.ids, pairs[_ID][chosen]).clip(max=len(self.ids) - 1)
        if (self.ids[rows] != pairs[_ID][chosen]).any():
            raise UsageError(f"{self.folder / 'predictions.tsv'}: has users that users.csv lacks; run again")
        return confusion(pairs["label"][chosen] > 0.5, pairs["score"][chosen] >= self.threshold, rows, len(self.ids))


def read_users(folder: Path, threshold: float | None = None) -> Users | None:
    """users.csv of a run, whose answers are Yes from a `threshold` (.5) on; None if there is none."""
    path = folder / "users.csv"
    if not path.exists():
        return None
    kinds = {name: "double" if _is_figure(name) else "string" for name in _header(path)}
    if _ID not in kinds:
        raise UsageError(f"{path}: damaged (no column {_ID}); remove the run's folder and run again")
    columns = _columns(path, kinds, ",")
    order = np.argsort(columns[_ID])
    ids = columns[_ID][order]
    if (ids[1:] == ids[:-1]).any():
        raise UsageError(f"{path}: damaged (a user stands twice); remove the run's folder and run again")
    ordered = {name: values[order] for name, values in columns.items() if name != _ID}
    figures, labels = (
        {name: values for name, values in ordered.items() if _is_figure(name) is kind} for kind in (True, False)
    )
    return Users(folder, ids, figures, labels, 0.5 if threshold is None else threshold)


def _is_figure(name: str) -> bool:
    """Metrics and counts have a cutoff or are counts by item group or of answers; all else are names of groups."""
    return "@" in name or name.startswith(("hits[", "relevant[")) or name in Confusion._fields


def _header(path: Path) -> list[str]:
    try:
        with TextIOWrapper(open_regular(path), "utf-8", newline="") as stream:
            return next(csv.reader(stream), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: damaged ({error}); remove the run's folder and run again") from error


def _columns(path: Path, kinds: Mapping[str, str], delimiter: str) -> dict[str, Any]:
    import pyarrow
    from pyarrow import csv as arrow

    options = arrow.ConvertOptions(column_types=dict(kinds), include_columns=list(kinds), strings_can_be_null=False)
    try:
        table = arrow.read_csv(
            regular(path), parse_options=arrow.ParseOptions(delimiter=delimiter), convert_options=options
        )
    except (pyarrow.ArrowException, OSError, KeyError) as error:
        raise UsageError(f"{path}: damaged ({error}); remove the run's folder and run again") from error
    arrays = zip(kinds, table.columns, strict=True)
    return {name: np.asarray(column.to_pylist(), dtype=str) if kinds[name] == "string" else column.to_numpy()
            for name, column in arrays}  # fmt: skip
