"""The tables of users and items: one row an id, and a row for every id that was rated.

RecBole drops the interactions of users and items that have no row (recbole trap 10).
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from recbole_fair.convert.index import IdMap
from recbole_fair.convert.ledger import Ledger
from recbole_fair.convert.tables import ARROW, BATCH_ROWS, Table


def completed(table: Table, rated: IdMap) -> Table:
    """A table with its repeated ids left out, and rated ids that it lacks added with empty fields."""

    def stream(ledger: Ledger) -> Iterator[pa.RecordBatch]:
        seen: set[str] = set()
        for part in table.parts(ledger):
            once = _first_of_each(part, seen)
            ledger.note("listed again: the first row is kept", len(part) - len(once))
            yield once
        absent = rated.names()
        if seen:
            absent = absent.filter(pc.invert(pc.is_in(absent, pa.array(sorted(seen)))))
        ledger.note("rated but not listed: added with empty fields", len(absent))
        ledger.note("never rated: kept", len(seen) - (len(rated) - len(absent)))
        for start in range(0, len(absent), BATCH_ROWS):
            yield _empty_rows(table, absent.slice(start, BATCH_ROWS))

    return Table(table.columns, stream)


def _first_of_each(part: pa.RecordBatch, seen: set[str]) -> pa.RecordBatch:
    first = []
    for name in part[0].to_pylist():
        first.append(name not in seen)
        seen.add(name)
    return part if all(first) else part.filter(pa.array(first))


def _empty_rows(table: Table, names: pa.StringArray) -> pa.RecordBatch:
    _, *kinds = table.columns.values()
    empty = [pa.nulls(len(names), ARROW[kind]) for kind in kinds]
    return pa.RecordBatch.from_arrays([names, *empty], names=list(table.columns))


def restricted(table: Table, wanted: pa.StringArray) -> Table:
    """Only the rows of these ids."""

    def stream(ledger: Ledger) -> Iterator[pa.RecordBatch]:
        for part in table.parts(ledger):
            rated = part.filter(pc.is_in(part[0], wanted))
            ledger.note("without an interaction after the filter: left out", len(part) - len(rated))
            yield rated

    return Table(table.columns, stream)
