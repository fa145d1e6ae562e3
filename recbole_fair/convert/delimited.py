"""Ratings files with one separator and no quoting, a block at a time through arrow's parser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from recbole_fair.convert.ledger import BadLineError

# What arrow says, and what someone who reads the refusal needs to know.
_REASONS = {
    "columns, got": "the wrong number of fields",
    "invalid UTF8": "bytes that are not utf-8",
    "conversion error to null": "half a separator",
    "conversion error": "a bad number",
}
_ORDER = ("user_id", "item_id", "rating", "timestamp")


@dataclass(frozen=True)
class Delimited:
    """A layout of ratings: columns in the order of the file, the numbers that may stand there, the bytes that may."""

    separator: bytes
    columns: Mapping[str, pa.DataType]
    ranges: Mapping[str, tuple[float, float]]
    alphabet: bytes = b""

    def parse(self, block: bytes) -> pa.RecordBatch:
        """The rows of a block, columns in our order; BadLineError if one of its lines is not in this layout."""
        if self.alphabet and block.translate(None, self.alphabet):
            raise BadLineError("characters that do not belong there")
        if block == b"\n":
            raise BadLineError("an empty line")
        try:
            table = arrow_csv.read_csv(pa.BufferReader(block), *self._options(len(block)))
        except pa.ArrowInvalid as error:
            reasons = (text for sign, text in _REASONS.items() if sign in str(error))
            raise BadLineError(next(reasons, "another layout")) from error
        for name in ("user_id", "item_id"):
            self._check_ids(table[name])
        for name, (low, high) in self.ranges.items():
            _check_range(table[name], name, low, high)
        return table.select([name for name in _ORDER if name in self.columns]).combine_chunks().to_batches()[0]

    def _options(self, size: int) -> tuple[object, ...]:
        """Arrow splits at single bytes, so between the bytes of a longer separator lie columns that must be empty."""
        types: dict[str, pa.DataType] = {}
        for name, kind in self.columns.items():
            types |= {f"{name} gap {place}": pa.null() for place in range(1, len(self.separator) if types else 1)}
            types[name] = kind
        return (
            arrow_csv.ReadOptions(column_names=list(types), block_size=size + 1),
            arrow_csv.ParseOptions(delimiter=self.separator[:1].decode(), quote_char=False, ignore_empty_lines=False),
            arrow_csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=False),
        )

    def _check_ids(self, column: pa.ChunkedArray) -> None:
        """Refuse ids that are missing or blank; an alphabet leaves no blanks to look for."""
        if not pc.min(pc.binary_length(column)).as_py():
            raise BadLineError("an empty id")
        if not self.alphabet and pc.any(pc.match_substring_regex(column, r"\A\s*\z")).as_py():
            raise BadLineError("an empty id")


def _check_range(column: pa.ChunkedArray, name: str, low: float, high: float) -> None:
    """Refuse numbers out of their published range; written so that nan, which compares false, is refused as well."""
    inside = pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))
    if column.null_count or not pc.all(inside).as_py():
        raise BadLineError(f"a {name} that is not from {low:g} to {high:g}")
