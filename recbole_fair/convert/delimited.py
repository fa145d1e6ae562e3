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
    "conversion error": "a bad number",
    "Empty CSV": "an empty line",
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
        lines = block.count(b"\n")
        if len(self.separator) > 1:  # arrow splits at single bytes; a tab of the file's own is not in the alphabet
            block = block.replace(self.separator, b"\t")
        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(block),
                arrow_csv.ReadOptions(column_names=list(self.columns), block_size=len(block) + 1),
                arrow_csv.ParseOptions(delimiter=self._delimiter, quote_char=False, ignore_empty_lines=False),
                arrow_csv.ConvertOptions(column_types=dict(self.columns), null_values=[], strings_can_be_null=False),
            )
        except pa.ArrowInvalid as error:
            reasons = (text for sign, text in _REASONS.items() if sign in str(error))
            raise BadLineError(next(reasons, "another layout")) from error
        if len(table) != lines:
            raise BadLineError("an empty line")
        self._check(table)
        return table.select([name for name in _ORDER if name in self.columns]).combine_chunks().to_batches()[0]

    @property
    def _delimiter(self) -> str:
        return "\t" if len(self.separator) > 1 else self.separator.decode()

    def _check(self, table: pa.Table) -> None:
        check_ids(table["user_id"], table["item_id"])
        for name, (low, high) in self.ranges.items():
            check_range(table[name], name, low, high)


def check_ids(*columns: pa.ChunkedArray) -> None:
    """Refuse ids that are missing or blank."""
    for column in columns:
        if column.null_count or pc.any(pc.match_substring_regex(column, r"\A\s*\z")).as_py():
            raise BadLineError("an empty id")


def check_range(column: pa.ChunkedArray, name: str, low: float, high: float) -> None:
    """Refuse numbers out of their published range; written so that nan, which compares false, is refused as well."""
    inside = pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))
    if column.null_count or not pc.all(inside).as_py():
        raise BadLineError(f"a {name} that is not from {low:g} to {high:g}")
