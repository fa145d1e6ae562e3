"""What a reader hands on: three tables as streams of arrow batches, so that their size does not matter.

Readers produce values as the source means them (`None` where it has none); how a value is written so that RecBole
reads it back is the writer's business alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import pyarrow as pa

from recbole_fair.convert.ledger import Ledger

Kind = Literal["token", "token_seq", "float"]
Stream = Callable[[Ledger], Iterator[pa.RecordBatch]]
Row = Sequence[Any]

BATCH_ROWS = 1 << 16
ARROW: Mapping[str, pa.DataType] = {"token": pa.string(), "token_seq": pa.list_(pa.string()), "float": pa.float64()}
_IDS = 2  # interactions begin with user_id and item_id
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Table:
    """Columns by name and kind, and how to stream their rows (again and again, always the same)."""

    columns: Mapping[str, Kind]
    stream: Stream

    def parts(self, ledger: Ledger) -> Iterator[pa.RecordBatch]:
        """The batches that hold rows."""
        return (part for part in self.stream(ledger) if len(part))


def with_distinct(part: pa.RecordBatch) -> pa.RecordBatch:
    """Interactions with their ids dictionary-encoded: what is done to an id is then done once a batch."""
    arrays = [column.dictionary_encode() if place < _IDS else column for place, column in enumerate(part.columns)]
    return pa.RecordBatch.from_arrays(arrays, names=part.schema.names)


@dataclass(frozen=True)
class Tables:
    """What becomes NAME.inter, NAME.user and NAME.item; the first columns are user_id and item_id."""

    inter: Table
    user: Table
    item: Table

    def items(self) -> Iterator[tuple[str, Table]]:
        """The tables by the suffix of their file."""
        yield from (("inter", self.inter), ("user", self.user), ("item", self.item))


def array(values: Sequence[Any], kind: Kind) -> pa.Array:
    """Python values as a column; a lone surrogate, which no file can hold, becomes U+FFFD."""
    try:
        return pa.array(values, ARROW[kind])
    except UnicodeEncodeError:
        return pa.array([_storable(value) for value in values], ARROW[kind])


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    return [_storable(entry) for entry in value] if isinstance(value, list) else value


def batch(rows: Sequence[Row], columns: Mapping[str, Kind]) -> pa.RecordBatch:
    """Rows of Python values as one arrow batch."""
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = [array(column, kind) for column, kind in zip(values, columns.values(), strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def batches(rows: Iterable[Row], columns: Mapping[str, Kind]) -> Iterator[pa.RecordBatch]:
    """A stream of rows as a stream of batches."""
    rows = iter(rows)
    while part := list(islice(rows, BATCH_ROWS)):
        yield batch(part, columns)
