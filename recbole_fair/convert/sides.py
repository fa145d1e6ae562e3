"""The tables of users and items: one row an id, and a row for every id that was rated.

RecBole drops the interactions of users and items that have no row (recbole trap 10).
"""

from __future__ import annotations

from collections.abc import Container, Iterator

import pyarrow as pa

from recbole_fair.convert.index import IdMap
from recbole_fair.convert.ledger import Ledger
from recbole_fair.convert.tables import BATCH_ROWS, Table, batch


def completed(table: Table, rated: IdMap) -> Table:
    """A table with its repeated ids left out, and rated ids that it lacks added with empty fields."""

    def stream(ledger: Ledger) -> Iterator[pa.RecordBatch]:
        seen: set[str] = set()
        for part in table.parts(ledger):
            once = _first_of_each(part, seen)
            ledger.note("listed again: the first row is kept", len(part) - len(once))
            ledger.note("never rated: kept", sum(name not in rated for name in once[0].to_pylist()))
            yield once
        absent = [name for name in rated.names() if name not in seen]
        ledger.note("rated but not listed: added with empty fields", len(absent))
        for start in range(0, len(absent), BATCH_ROWS):
            yield _empty_rows(table, absent[start : start + BATCH_ROWS])

    return Table(table.columns, stream)


def _first_of_each(part: pa.RecordBatch, seen: set[str]) -> pa.RecordBatch:
    first = []
    for name in part[0].to_pylist():
        first.append(name not in seen)
        seen.add(name)
    return part if all(first) else part.filter(pa.array(first))


def _empty_rows(table: Table, names: list[str]) -> pa.RecordBatch:
    return batch([(name, *[None] * (len(table.columns) - 1)) for name in names], table.columns)


def restricted(table: Table, wanted: Container[str]) -> Table:
    """Only the rows of these ids."""

    def stream(ledger: Ledger) -> Iterator[pa.RecordBatch]:
        for part in table.parts(ledger):
            kept = part.filter(pa.array([name in wanted for name in part[0].to_pylist()], pa.bool_()))
            ledger.note("without an interaction after the filter: left out", len(part) - len(kept))
            yield kept

    return Table(table.columns, stream)
