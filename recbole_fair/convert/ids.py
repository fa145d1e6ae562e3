"""Numbers for ids, in the order of their first appearance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Codes = npt.NDArray[np.int32]
_WAITING = 1 << 24  # distinct ids of the latest batches that may wait to be merged (some 300 MB)


class IdMap:
    """Ids and their numbers; arrow does the hashing, many batches at once so that its cost a row stays the same."""

    def __init__(self) -> None:
        self._known = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), pa.array([], pa.string()))
        self._codes: list[Codes] = []
        self._waiting: list[pa.DictionaryArray] = []

    def __len__(self) -> int:
        return len(self.names())

    def add(self, column: pa.DictionaryArray) -> None:
        """Number the ids of a batch."""
        self._waiting.append(column)
        if sum(len(batch.dictionary) for batch in self._waiting) > max(_WAITING, len(self._known.dictionary)):
            self._merge()

    def names(self) -> pa.StringArray:
        """The ids by their number."""
        self._merge()
        return self._known.dictionary

    def codes(self) -> Codes:
        """The number of every id that was added, in order."""
        self._merge()
        self._codes = [np.concatenate([np.empty(0, np.int32), *self._codes])]
        return self._codes[0]

    def _merge(self) -> None:
        """Number what waits, behind what is known: arrow's common dictionary keeps the order of first appearance."""
        if self._waiting:
            self._known, *batches = pa.chunked_array([self._known, *self._waiting]).unify_dictionaries().chunks
            self._codes += [batch.indices.to_numpy() for batch in batches]
            self._waiting = []
