"""Tables that other systems write: text with tabs, commas or semicolons, atomic files, parquet.

Where an audit passes, arrays go to numpy by DLPack: pyarrow's own `to_numpy` imports pandas, which takes longer than
the rest of what an audit imports.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
from pyarrow import parquet

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import number_text
from recbole_fair.metrics.formulas import IntArray
from recbole_fair.registry import nearest
from recbole_fair.storage import MISSING_NUMBERS, regular

_TEXT = pa.dictionary(pa.int32(), pa.string())  # a few names, many rows
_NUMBERS = {"rank": pa.int64(), "score": pa.float64()}  # of lists, told by name
_NO_VALUE = (None, "")
IDS = ("user_id", "item_id")
_REMEDIES = {
    "split": "add one that says train, valid or test in each row: lists are judged by the test rows (a run's own, by"
    " --save_recommendations=True, is its interactions.tsv)",
    "user_id": "give the name of its column of user ids, as in --user=customer",
    "item_id": "give the name of its column of item ids, as in --item=article",
}


@dataclass(frozen=True)
class PlainTable:
    """Columns by name, without the types that an atomic file's header adds.

    `lists` names its token_seq columns, `numeric` its float columns, `header` all that the file has.
    """

    path: Path
    columns: pa.Table
    lists: frozenset[str]
    numeric: frozenset[str]
    header: tuple[str, ...]
    _encoded: dict[str, pa.DictionaryArray] = field(default_factory=dict, repr=False, compare=False)

    def texts(self, name: str) -> pa.DictionaryArray:
        """A column of ids or labels; an empty one would be an id that nobody has."""
        if name not in self._encoded:
            self._encoded[name] = self._whole(name)
        return self._encoded[name]

    def _whole(self, name: str) -> pa.DictionaryArray:
        column = self._column(name) if self._is_text(name) else self._strings(name)
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        whole = encoded.unify_dictionaries().combine_chunks()
        chunk = whole if isinstance(whole, pa.Array) else whole.chunk(0)
        if chunk.null_count or pc.min(pc.binary_length(chunk.dictionary)).as_py() == 0:
            raise UsageError(f"{self.path}: column {name!r} has empty cells; fill them or leave these rows out")
        if pc.any(pc.match_substring(chunk.dictionary, "\0")).as_py():
            raise UsageError(f"{self.path}: column {name!r} holds a NUL byte, at which numpy ends a word; remove it")
        return chunk

    def whole_numbers(self, name: str) -> IntArray:
        """A column of whole numbers."""
        try:
            column = self._strings(name) if self._is_text(name) else self._column(name)
            numbers = pc.cast(column, pa.int64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UsageError(f"{self.path}: column {name!r}: expected whole numbers ({error})") from error
        if empty := numbers.null_count:
            raise UsageError(f"{self.path}: column {name!r} has {empty} empty cells; expected whole numbers")
        return np.from_dlpack(numbers.combine_chunks())

    def finite_numbers(self, name: str) -> npt.NDArray[np.float64]:
        """A column of finite numbers."""
        try:
            column = self._strings(name) if self._is_text(name) else self._column(name)
            scores = np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=float)  # an empty cell is nan
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UsageError(f"{self.path}: column {name!r}: expected numbers ({error})") from error
        if (wrong := ~np.isfinite(scores)).any():
            raise UsageError(
                f"{self.path}: column {name!r} has {int(wrong.sum())} cells that are empty, NaN or infinite, the first"
                f" in row {int(wrong.argmax()) + 1}; every candidate needs a finite score"
            )
        return scores

    def values(self, name: str) -> list[tuple[str, ...]]:
        """A column's raw values by row; a list, or the words of a token_seq column, are several values.

        As in a run's own data, an empty cell is no value, a number that is whole is written without a point, and a
        blank inside a word is written as U+00A0 (docs/data.md).
        """
        kind = self._column(name).type
        if name in self.numeric or pa.types.is_floating(kind):
            return [() if np.isnan(number) else (number_text(number),) for number in self._floats(name)]
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return [_words(row or ()) for row in self._column(name).to_pylist()]
        cells = self._strings(name).combine_chunks().dictionary_encode()
        separate = [
            _words(str(cell).split(" ") if name in self.lists else [cell]) for cell in cells.dictionary.to_pylist()
        ]
        return [() if place is None else separate[place] for place in cells.indices.to_pylist()]

    def _floats(self, name: str) -> list[float]:
        """A column of numbers; an empty cell and the words that a run reads as a missing number are nan."""
        words = pc.utf8_trim_whitespace(self._strings(name))
        try:
            numbers = pc.cast(
                pc.if_else(pc.is_in(words, value_set=pa.array(MISSING_NUMBERS)), None, words), pa.float64()
            )
        except pa.ArrowInvalid as error:
            raise UsageError(f"{self.path}: column {name!r}: expected numbers ({error})") from error
        return [nan if number is None else float(number) for number in numbers.to_pylist()]

    def _is_text(self, name: str) -> bool:
        kind = self._column(name).type
        return pa.types.is_dictionary(kind) or pa.types.is_string(kind)

    def _strings(self, name: str) -> Any:
        try:
            return self._column(name).cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UsageError(f"{self.path}: column {name!r}: expected words or numbers ({error})") from error

    def _column(self, name: str) -> Any:
        if name not in self.columns.column_names:
            remedy = _REMEDIES.get(name, f"call the column {name} in the file's first line")
            has = f"{nearest(name, self.header)} It has {', '.join(self.header)}"
            raise UsageError(f"{self.path}: no column {name!r}.{has}; {remedy}")
        return self.columns[name]


def _words(cell: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(word).replace("\u00a0", " ") for word in cell if word not in _NO_VALUE)


def read(path: Path, wanted: Sequence[str] | None = None, ids: tuple[str, str] = IDS) -> PlainTable:
    """Read `wanted` columns, or all; the header names them, `name:type` as in atomic files or the name alone.

    What it calls by the names `ids` are user_id and item_id.
    """
    regular(path)
    called = dict(zip(ids, IDS, strict=True))
    try:
        return _parquet(path, wanted, called) if path.suffix == ".parquet" else _text(path, wanted, called)
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not readable as a table ({error})") from error


def _parquet(path: Path, wanted: Sequence[str] | None, called: Mapping[str, str]) -> PlainTable:
    present = parquet.read_schema(path).names
    kept = [name for name in present if wanted is None or called.get(name, name) in wanted]
    table = parquet.read_table(path, columns=kept).rename_columns([called.get(name, name) for name in kept])
    return PlainTable(path, table, frozenset(), frozenset(), tuple(present))


def _text(path: Path, wanted: Sequence[str] | None, called: Mapping[str, str]) -> PlainTable:
    with path.open(encoding="utf-8-sig", newline="") as stream:  # spreadsheets put a byte-order mark before the header
        header = stream.readline().rstrip("\r\n")
    separator = "\t" if "\t" in header else max("\t,;", key=header.count)
    written = [name.partition(":") for line in csv.reader([header], delimiter=separator) for name in line]
    fields = [(called.get(name, name), colon, kind) for name, colon, kind in written]
    names = [name for name, _, _ in fields]
    if not names or not all(names) or len(set(names)) < len(names):
        raise UsageError(f"{path}, line 1: expected a header of different column names, found {header[:80]!r}")
    kept = [name for name in names if wanted is None or name in wanted]
    table = arrow_csv.read_csv(
        path,
        arrow_csv.ReadOptions(column_names=names, skip_rows=1),
        arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=wanted is None),  # titles may have line ends
        arrow_csv.ConvertOptions(
            column_types={name: (wanted and _NUMBERS.get(name)) or _TEXT for name in kept},
            include_columns=kept,
            strings_can_be_null=False,
        ),
    )
    lists, numeric = (frozenset(name for name, _, kind in fields if kind == which) for which in ("token_seq", "float"))
    return PlainTable(path, table, lists, numeric, tuple(name for name, _, _ in written))


def places(column: pa.DictionaryArray, ids: pa.Array) -> IntArray:
    """Place of each cell in `ids`, counted from 1."""
    place = np.from_dlpack(pc.index_in(column.dictionary, value_set=ids))
    return place.astype(np.int64)[np.from_dlpack(column.indices)] + 1
