"""Ids, pairs and duplicates against Python's own sets and counters."""

from __future__ import annotations

import random
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_fair.convert import index as id_map
from recbole_fair.convert.index import IdMap, Index
from recbole_fair.convert.tables import with_distinct

names = st.text(max_size=3) | st.sampled_from(["", "a", "\0", "A1", "B1", "é", "1", "11"])
batches = st.lists(st.lists(st.tuples(names, names, st.integers(-9, 9)), min_size=1, max_size=8), max_size=6)


def numbered(parts: list[pa.DictionaryArray]) -> IdMap:
    ids = IdMap()
    for part in parts:
        ids.add(part)
    return ids


@given(st.lists(names, min_size=1))
def test_numbers_by_first_appearance(values: list[str]) -> None:
    ids = numbered([pa.array(values).dictionary_encode()])
    assert ids.names().to_pylist() == list(dict.fromkeys(values))
    assert [ids.names()[place].as_py() for place in ids.codes()] == values
    behind_another = pa.array(["x", *dict.fromkeys(values)])[1:]
    sliced = pa.DictionaryArray.from_arrays(pa.array(range(len(behind_another)), pa.int32()), behind_another)
    assert numbered([sliced]).names().to_pylist() == list(dict.fromkeys(values))


@pytest.mark.parametrize("waiting", [0, 4000, 1 << 22])
def test_many_ids_in_many_batches(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough of them that every table is filled, grows in later merges, and meets its old ids again."""
    monkeypatch.setattr(id_map, "_WAITING", waiting)
    draw = random.Random(3)
    parts = [[f"A{int(draw.expovariate(1 / 900)):X}" for _ in range(1000)] for _ in range(20)]
    ids, flat = IdMap(), [name for part in parts for name in part]
    for done, part in enumerate(parts, start=1):
        ids.add(pa.array(part).dictionary_encode())
        if done == 7:
            assert ids.names().to_pylist() == list(dict.fromkeys(flat[:7000]))
    known = {name: place for place, name in enumerate(dict.fromkeys(flat))}
    assert ids.names().to_pylist() == list(known)
    assert ids.codes().tolist() == [known[name] for name in flat]


def test_a_pair_that_comes_very_often() -> None:
    """More often than a byte, or two, can count."""
    often = pa.array(["u"] * 70_000).dictionary_encode()
    found = Index()
    found.add(pa.RecordBatch.from_arrays([often, often], names=["user_id", "item_id"]))
    assert found.duplicates() == {"pairs": 1, "rows": 69_999}


@settings(deadline=None)
@given(batches, st.sampled_from([0, 3, 1 << 22]))
def test_an_index_against_sets(parts: list[list[tuple[str, str, int]]], waiting: int) -> None:
    found = Index()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_map, "_WAITING", waiting)
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
