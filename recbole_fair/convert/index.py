"""What is known of the interactions once they have gone by: ids, ranges, and which pairs came twice.

Memory grows with the number of distinct ids, plus 64 bits a row (twice that while duplicates are counted).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Codes = npt.NDArray[np.int32]
Pairs = npt.NDArray[np.int64]
# Distinct ids of the latest batches that may wait to be merged (some 300 MB); more of them as the known ones grow.
_WAITING = 1 << 24
# A hash table of millions of ids misses the processor's cache at every look-up; smaller ones hardly do.
_TABLES = 64


class IdMap:
    """Numbers for ids in the order of their first appearance.

    Arrow does the hashing: the ids of some batches wait until merging them with all known ones pays, which keeps the
    cost a row from growing with the data.
    """

    def __init__(self) -> None:
        self._names = pa.array([], pa.string())
        self._codes: list[Codes] = []
        self._waiting: list[pa.DictionaryArray] = []

    def __len__(self) -> int:
        return len(self.names())

    def add(self, column: pa.DictionaryArray) -> None:
        """Number the ids of a batch."""
        self._waiting.append(column)
        if sum(len(batch.dictionary) for batch in self._waiting) > max(_WAITING, len(self._names)):
            self._merge()

    def names(self) -> pa.StringArray:
        """The ids by their number."""
        self._merge()
        return self._names

    def codes(self) -> Codes:
        """The number of every id that was added, in order."""
        self._merge()
        self._codes = [np.concatenate([np.empty(0, np.int32), *self._codes])]
        return self._codes[0]

    def _merge(self) -> None:
        if not self._waiting:
            return
        start = len(self._names)
        names, numbers = number(pa.concat_arrays([self._names, *(batch.dictionary for batch in self._waiting)]))
        for batch in self._waiting:
            stop = start + len(batch.dictionary)
            self._codes.append(numbers[start:stop][batch.indices.to_numpy()])
            start = stop
        self._names, self._waiting = names, []


def number(names: pa.StringArray) -> tuple[pa.StringArray, Codes]:
    """The distinct names in the order of their first appearance, and the place of every name among them.

    >>> distinct, numbers = number(pa.array(["b", "a", "b", "c"]))
    >>> distinct.to_pylist(), numbers.tolist()
    (['b', 'a', 'c'], [0, 1, 0, 2])
    """
    table = _table(names)
    order = np.argsort(table, kind="stable")
    grouped = names.take(pa.array(order))
    numbers, is_first = np.empty(len(names), np.int32), np.zeros(len(names), bool)
    firsts, start, known = [], 0, 0
    for size in np.bincount(table, minlength=_TABLES).tolist():
        codes = grouped.slice(start, size).dictionary_encode().indices.to_numpy()
        places = order[start : start + size]
        # Arrow numbers by first appearance, so a name is new where the highest number so far rises.
        first = places[np.diff(np.maximum.accumulate(codes), prepend=-1) > 0]
        numbers[places] = codes + known
        is_first[first] = True
        firsts.append(first)
        start, known = start + size, known + len(first)
    rank = np.cumsum(is_first, dtype=np.int32) - 1
    return names.filter(pa.array(is_first)), rank[np.concatenate(firsts)][numbers]


def _table(names: pa.StringArray) -> npt.NDArray[np.uint8]:
    """Which table a name belongs to, by its last two bytes."""
    _, offsets, content = names.buffers()
    ends = np.frombuffer(offsets, np.int32)[names.offset : names.offset + len(names) + 1]
    sizes, stops = np.diff(ends), ends[1:]
    if content is None or not len(content):
        return np.zeros(len(names), np.uint8)
    bytes_of = np.frombuffer(content, np.uint8)
    last = bytes_of[stops - 1] * (sizes > 0)
    before = bytes_of[np.maximum(stops - 2, 0)] * (sizes > 1)
    return np.asarray((last + (before << 2)) % _TABLES, np.uint8)


class Index:
    """Users, items, pairs and value ranges of a stream of interactions, their ids dictionary-encoded."""

    def __init__(self) -> None:
        self.users, self.items = IdMap(), IdMap()
        self.ranges: dict[str, list[float]] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Take note of a batch."""
        self.users.add(batch["user_id"])
        self.items.add(batch["item_id"])
        for name in batch.schema.names[2:]:
            if pa.types.is_integer(batch[name].type) or pa.types.is_floating(batch[name].type):
                self._widen(name, batch[name])

    def pairs(self) -> Pairs:
        """User and item number of every row, in 64 bits."""
        pairs = self.users.codes().astype(np.int64)
        pairs <<= 32
        pairs |= self.items.codes()
        return pairs

    def duplicates(self) -> dict[str, int]:
        """How many pairs came more than once, and how many rows that is beyond the first of each."""
        pairs = self.pairs()
        pairs.sort()
        again = pairs[1:] == pairs[:-1]
        fresh = again & ~np.concatenate([[False], again[:-1]]) if len(again) else again
        return {"pairs": int(fresh.sum()), "rows": int(again.sum())}

    def _widen(self, name: str, column: pa.Array) -> None:
        found = pc.min_max(column).as_py()
        if found["min"] is not None:
            low, high = self.ranges.get(name, (found["min"], found["max"]))
            self.ranges[name] = [min(low, found["min"]), max(high, found["max"])]
