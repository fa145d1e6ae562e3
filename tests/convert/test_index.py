"""Ids, pairs and duplicates against Python's own sets and counters."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_fair.convert import index
from recbole_fair.convert.index import IdMap, Index, number
from recbole_fair.convert.tables import with_distinct

names = st.text(max_size=3) | st.sampled_from(["", "a", "\0", "A1", "B1", "é", "1", "11"])
batches = st.lists(st.lists(st.tuples(names, names, st.integers(-9, 9)), min_size=1, max_size=8), max_size=6)


@given(st.lists(names, min_size=1))
def test_numbers_by_first_appearance(values: list[str]) -> None:
    distinct, numbers = number(pa.array(values))
    assert distinct.to_pylist() == list(dict.fromkeys(values))
    assert [distinct[place].as_py() for place in numbers] == values
    sliced, _ = number(pa.array(["x", *values])[1:])
    assert sliced.to_pylist() == distinct.to_pylist()


@settings(deadline=None)
@given(batches, st.sampled_from([0, 3, 1 << 22]))
def test_an_index_against_sets(parts: list[list[tuple[str, str, int]]], waiting: int) -> None:
    found = Index()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_WAITING", waiting)
        for part in parts:
            columns = list(zip(*part, strict=True))
            arrays = [pa.array(columns[0]), pa.array(columns[1]), pa.array(columns[2])]
            batch = pa.RecordBatch.from_arrays(arrays, names=["user_id", "item_id", "rating"])
            found.add(with_distinct(batch))
    rows = [row for part in parts for row in part]
    assert found.users.names().to_pylist() == list(dict.fromkeys(user for user, _, _ in rows))
    counts = Counter((user, item) for user, item, _ in rows)
    again = [count for count in counts.values() if count > 1]
    assert found.duplicates() == {"pairs": len(again), "rows": sum(again) - len(again)}
    ratings = [rating for _, _, rating in rows]
    assert found.ranges == ({"rating": [min(ratings), max(ratings)]} if rows else {})
    users, items = found.users.names(), found.items.names()
    pairs = [(users[pair >> 32].as_py(), items[pair & 0xFFFFFFFF].as_py()) for pair in found.pairs().tolist()]
    assert pairs == [(user, item) for user, item, _ in rows]


def test_nothing_added() -> None:
    assert len(IdMap()) == 0
    assert Index().duplicates() == {"pairs": 0, "rows": 0}
