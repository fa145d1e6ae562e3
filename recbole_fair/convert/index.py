"""What is known of the interactions once they have gone by: ids, ranges, and which pairs came twice.

Memory grows with the number of distinct ids, plus 64 bits a row.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Codes = npt.NDArray[np.int64]


class IdMap:
    """Numbers for ids in the order of their first appearance."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._codes)

    def __contains__(self, name: object) -> bool:
        return name in self._codes

    def names(self) -> list[str]:
        """The ids by their number."""
        return list(self._codes)

    def encode(self, column: pa.DictionaryArray) -> Codes:
        """The numbers of a column's ids; arrow has found the distinct ones, so that Python sees each once a batch."""
        known = self._codes
        numbers = [known.setdefault(name, len(known)) for name in column.dictionary.to_pylist()]
        return np.array(numbers, dtype=np.int64)[column.indices.to_numpy()]  # type: ignore[no-any-return]


class Index:
    """Users, items, pairs and value ranges of a stream of interactions, their ids dictionary-encoded."""

    def __init__(self) -> None:
        self.users, self.items = IdMap(), IdMap()
        self.ranges: dict[str, list[float]] = {}
        self._pairs: list[Codes] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Take note of a batch."""
        users, items = self.users.encode(batch["user_id"]), self.items.encode(batch["item_id"])
        self._pairs.append(users << 32 | items)
        for name in batch.schema.names[2:]:
            if pa.types.is_integer(batch[name].type) or pa.types.is_floating(batch[name].type):
                self._widen(name, batch[name])

    def pairs(self) -> tuple[Codes, Codes]:
        """User and item numbers of every row."""
        packed = np.concatenate(self._pairs or [np.empty(0, np.int64)])
        return packed >> 32, packed & 0xFFFFFFFF

    def duplicates(self) -> dict[str, int]:
        """How many pairs came more than once, and how many rows that is beyond the first of each."""
        packed = np.concatenate(self._pairs or [np.empty(0, np.int64)])
        packed.sort()
        again = packed[1:] == packed[:-1]
        fresh = again & ~np.concatenate([[False], again[:-1]]) if len(again) else again
        return {"pairs": int(fresh.sum()), "rows": int(again.sum())}

    def _widen(self, name: str, column: pa.Array) -> None:
        found = pc.min_max(column).as_py()
        if found["min"] is not None:
            low, high = self.ranges.get(name, (found["min"], found["max"]))
            self.ranges[name] = [min(low, found["min"]), max(high, found["max"])]
