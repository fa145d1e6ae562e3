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

from recbole_fair.convert.ledger import Ledger, RefusedLineError
from recbole_fair.errors import UsageError

Kind = Literal["token", "token_seq", "float"]
Stream = Callable[[Ledger], Iterator[pa.RecordBatch]]
Row = Sequence[Any]

BATCH_ROWS = 1 << 16
ARROW: Mapping[str, pa.DataType] = {"token": pa.string(), "token_seq": pa.list_(pa.string()), "float": pa.float64()}
_LOOKED_AT = 200_000  # lines by which it is judged whether leaving bad ones out would help
_IDS = 2  # interactions begin with user_id and item_id
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Table:
    """Columns by name and kind, and how to stream their rows (again and again, always the same)."""

    columns: Mapping[str, Kind]
    stream: Stream

    def parts(self, ledger: Ledger) -> Iterator[pa.RecordBatch]:
        """The batches that hold rows; a refusal says how many lines are like the one that it names."""
        try:
            yield from (part for part in self.stream(ledger) if len(part))
        except RefusedLineError as error:
            raise UsageError(f"{error}. {self._remedy()}") from error

    def _remedy(self) -> str:
        """What to do about bad lines; leaving them out is none where (nearly) all are."""
        ledger = Ledger(drop=True)
        for _ in self.stream(ledger):
            if ledger.read.total() > _LOOKED_AT:
                break
        read, bad = ledger.read.total(), ledger.dropped.total()
        if bad > read / 2:
            many = f"{bad} of {read} lines are not as expected, so leaving them out is no remedy"
            return f"{many}: correct the file, or what was said of it"
        return f"Correct the file, or leave such lines out ({bad} of {read}), counted, with --on_error drop"


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
