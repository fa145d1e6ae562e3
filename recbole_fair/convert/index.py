"""What is known of the interactions once they have gone by: ids, ranges, and which pairs came twice.

Memory grows with the number of distinct ids, plus 64 bits a row (three times that while duplicates are counted).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array

from recbole_fair.convert.ids import IdMap

Pairs = npt.NDArray[np.int64]


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
        found = pc.min_max(column).as_py()
        if found["min"] is not None:
            low, high = self.ranges.get(name, (found["min"], found["max"]))
            self.ranges[name] = [min(low, found["min"]), max(high, found["max"])]
