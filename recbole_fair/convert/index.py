"""What is known of the interactions once they have gone by: numbers for ids, ranges, and which pairs came twice.

Memory grows with the number of distinct ids, plus 64 bits a row (three times that while duplicates are counted).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array

Codes = npt.NDArray[np.int32]
Pairs = npt.NDArray[np.int64]
_WAITING = 1 << 24  # distinct ids of the latest batches that may wait to be merged (some 300 MB)


class IdMap:
    """Ids, numbered by first appearance; arrow hashes many batches at once, so that its cost a row stays the same."""

    def __init__(self) -> None:
        self._numbered = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), pa.array([], pa.string()))
        self._codes: list[Codes] = []
        self._unnumbered: list[pa.DictionaryArray] = []

    def __len__(self) -> int:
        return len(self.names())

    def add(self, column: pa.DictionaryArray) -> None:
        """Number the ids of a batch."""
        self._unnumbered.append(column)
        if sum(len(batch.dictionary) for batch in self._unnumbered) > max(_WAITING, len(self._numbered.dictionary)):
            self._merge()

    def names(self) -> pa.StringArray:
        """The ids by their number."""
        self._merge()
        return self._numbered.dictionary

    def codes(self) -> Codes:
        """The number of every id that was added, in order."""
        self._merge()
        self._codes = [np.concatenate([np.empty(0, np.int32), *self._codes])]
        return self._codes[0]

    def _merge(self) -> None:
        """Number what waits, behind what is known: arrow's common dictionary keeps the order of first appearance."""
        if self._unnumbered:
            self._numbered, *batches = pa.chunked_array([self._numbered, *self._unnumbered]).unify_dictionaries().chunks
            self._codes += [batch.indices.to_numpy() for batch in batches]
            self._unnumbered = []


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
        users, items = self.users.codes(), self.items.codes()
        once = coo_array((np.ones(len(users), np.int32), (users, items)), (len(self.users), len(self.items)))
        times = once.tocsr().data  # adds up the entries of a place
        return {"pairs": int((times > 1).sum()), "rows": len(users) - len(times)}

    def _widen(self, name: str, column: pa.Array) -> None:
        low, high = pc.min_max(column).as_py().values()
        if low is not None:
            lowest, highest = self.ranges.get(name, (low, high))
            self.ranges[name] = [min(lowest, low), max(highest, high)]
