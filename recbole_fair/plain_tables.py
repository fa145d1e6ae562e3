"""Tables that other systems write: tab- or comma-separated text, atomic files, parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
from pyarrow import parquet

from recbole_fair.errors import UsageError
from recbole_fair.registry import nearest

IntArray = npt.NDArray[np.int64]
_TEXT = pa.dictionary(pa.int32(), pa.string())  # a few names, many rows


@dataclass(frozen=True)
class PlainTable:
    """Columns by name, without the types that an atomic file's header adds; `lists` are its token_seq columns."""

    path: Path
    columns: pa.Table
    lists: frozenset[str]

    def texts(self, name: str) -> pa.DictionaryArray:
        """A column of ids or labels."""
        column = self._column(name).cast(pa.string()) if not self._is_text(name) else self._column(name)
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        whole = encoded.unify_dictionaries().combine_chunks()
        chunk = whole if isinstance(whole, pa.Array) else whole.chunk(0)
        if chunk.null_count:
            raise UsageError(f"{self.path}: column {name!r} has {chunk.null_count} empty cells")
        return chunk

    def numbers(self, name: str) -> IntArray:
        """A column of whole numbers."""
        try:
            column = self._column(name).cast(pa.string()) if self._is_text(name) else self._column(name)
            return np.asarray(pc.cast(column, pa.int64()).to_numpy())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UsageError(f"{self.path}: column {name!r}: expected whole numbers ({error})") from error

    def values(self, name: str) -> list[tuple[str, ...]]:
        """A column's raw values by row; several words of a token_seq column are several values."""
        cells = [str(cell) for cell in self._column(name).cast(pa.string()).to_pylist()]
        split = name in self.lists
        return [tuple(cell.split()) if split else ((cell,) if cell not in ("", "None") else ()) for cell in cells]

    def _is_text(self, name: str) -> bool:
        kind = self._column(name).type
        return pa.types.is_dictionary(kind) or pa.types.is_string(kind)

    def _column(self, name: str) -> Any:
        if name not in self.columns.column_names:
            names = self.columns.column_names
            raise UsageError(f"{self.path}: no column {name!r}.{nearest(name, names)} It has {', '.join(names)}")
        return self.columns[name]


def read(path: Path, wanted: Sequence[str] | None = None) -> PlainTable:
    """Read `wanted` columns, or all; the header names them, `name:type` as in atomic files or the name alone."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        return _parquet(path, wanted) if path.suffix == ".parquet" else _text(path, wanted)
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not readable as a table ({error})") from error


def _parquet(path: Path, wanted: Sequence[str] | None) -> PlainTable:
    present = parquet.read_schema(path).names
    table = parquet.read_table(path, columns=[name for name in present if wanted is None or name in wanted])
    return PlainTable(path, table, frozenset())


def _text(path: Path, wanted: Sequence[str] | None) -> PlainTable:
    with path.open(encoding="utf-8", newline="") as stream:
        header = stream.readline().rstrip("\r\n")
    separator = "\t" if "\t" in header or "," not in header else ","
    fields = [name.strip('"').partition(":") for name in header.split(separator)]
    names = [name for name, _, _ in fields]
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(f"{path}, line 1: expected a header of different column names, found {header[:80]!r}")
    kept = [name for name in names if wanted is None or name in wanted]
    table = arrow_csv.read_csv(
        path,
        arrow_csv.ReadOptions(column_names=names, skip_rows=1),
        arrow_csv.ParseOptions(delimiter=separator, quote_char='"' if separator == "," else False),
        arrow_csv.ConvertOptions(
            column_types={name: pa.int64() if name == "rank" else _TEXT for name in kept},
            include_columns=kept,
            strings_can_be_null=False,
        ),
    )
    return PlainTable(path, table, frozenset(name for name, _, kind in fields if kind == "token_seq"))


def places(column: pa.DictionaryArray, ids: pa.Array) -> IntArray:
    """Place of each cell in `ids`, counted from 1."""
    found = pc.index_in(column.dictionary, value_set=ids).to_numpy(zero_copy_only=False)
    return np.asarray(found[column.indices.to_numpy()] + 1, dtype=np.int64)
