"""Numbers for ids, in the order of their first appearance.

Arrow does the hashing. With millions of ids in random order what costs is memory: every look-up and every move misses
the processor's cache. So a batch is laid out by hash table while it is in the cache, and from then on memory is only
walked through: table by table, each small enough for the cache, or batch by batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Codes = npt.NDArray[np.int32]
# Distinct ids of the latest batches that may wait to be merged (some 300 MB); more of them as the known ones grow.
_WAITING = 1 << 24
_TABLES = 64


class _Spread:
    """The ids of a batch laid out table by table, which costs little while the batch is still in the cache."""

    def __init__(self, column: pa.DictionaryArray) -> None:
        table = _table_of(column.dictionary)
        self.order = np.argsort(table, kind="stable").astype(np.int32)
        self.names = column.dictionary.take(pa.array(self.order))
        stops = np.cumsum(np.bincount(table, minlength=_TABLES)).tolist()
        self.slices = [slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]
        self.rows = column.indices.to_numpy()
        self.is_new = np.empty(len(table), bool)
        self.numbers = np.empty(len(table), np.int32)

    def number_new(self, known: int) -> pa.StringArray:
        """Number the ids that are new, in the order of the batch, and return them."""
        new = np.flatnonzero(self.is_new)
        new = new[np.argsort(self.order[new])]
        self.numbers[new] = np.arange(known, known + len(new))
        return self.names.take(pa.array(new))

    def codes(self) -> Codes:
        """The number of the id of every row."""
        numbers = np.empty_like(self.numbers)
        numbers[self.order] = self.numbers
        return numbers[self.rows]


class _HashTable:
    """The known ids that fall into one table, and their numbers."""

    def __init__(self) -> None:
        self.names = pa.array([], pa.string())
        self.numbers = self._places = np.empty(0, np.int32)

    def look_up(self, parts: Sequence[tuple[_Spread, slice]]) -> None:
        """Find the ids of batches, and which of them are new."""
        names = [batch.names[own] for batch, own in parts]
        encoded = pa.concat_arrays([self.names, *names]).dictionary_encode()
        places = encoded.indices.to_numpy()
        # Arrow counts by first appearance, so a name is new where the highest place so far rises.
        is_new = np.diff(np.maximum.accumulate(places), prepend=-1) > 0
        start = len(self.names)
        self.names, self._places = encoded.dictionary, places[start:]
        _hand_out(is_new[start:], [batch.is_new[own] for batch, own in parts])

    def number_all(self, parts: Sequence[tuple[_Spread, slice]]) -> None:
        """Hand the numbers of the new ids on to where they come again."""
        new = [batch.numbers[own][batch.is_new[own]] for batch, own in parts]
        self.numbers = np.concatenate([self.numbers, *new])
        _hand_out(self.numbers[self._places], [batch.numbers[own] for batch, own in parts])
        self._places = np.empty(0, np.int32)


def _hand_out(values: npt.NDArray[Any], parts: Sequence[npt.NDArray[Any]]) -> None:
    start = 0
    for part in parts:
        part[:] = values[start : start + len(part)]
        start += len(part)


class IdMap:
    """Ids and their numbers.

    The ids of some batches wait until merging them with all known ones pays, which keeps the cost a row from growing
    with the data.
    """

    def __init__(self) -> None:
        self._names = pa.array([], pa.string())
        self._codes: list[Codes] = []
        self._tables = [_HashTable() for _ in range(_TABLES)]
        self._waiting: list[_Spread] = []

    def __len__(self) -> int:
        return len(self.names())

    def add(self, column: pa.DictionaryArray) -> None:
        """Number the ids of a batch."""
        self._waiting.append(_Spread(column))
        if sum(len(batch.names) for batch in self._waiting) > max(_WAITING, len(self._names)):
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
        parts = [[(batch, batch.slices[place]) for batch in self._waiting] for place in range(_TABLES)]
        for table, own in zip(self._tables, parts, strict=True):
            table.look_up(own)
        known, new = len(self._names), []
        for batch in self._waiting:
            new.append(batch.number_new(known))
            known += len(new[-1])
        for table, own in zip(self._tables, parts, strict=True):
            table.number_all(own)
        self._codes += [batch.codes() for batch in self._waiting]
        self._names, self._waiting = pa.concat_arrays([self._names, *new]), []


def _table_of(names: pa.StringArray) -> npt.NDArray[np.uint8]:
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
