"""Item vectors of a finished run, as another run's `item_encoder` (BiFair's refined vectors, for one).

One safetensors file in the run's folder: the vectors, and the raw item tokens they belong to, so that another split or
another filter of the same data finds its items, and other data is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recbole_fair import storage
from recbole_fair.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from recbole_fair.encoding.encoders import Vectors

FILE = "item_vectors.safetensors"
_FORMAT = "recbole_fair item vectors of a run 1"


def save(folder: Path, tokens: Sequence[str], vectors: Tensor) -> None:
    """Write the vectors [N, W] of N items beside the run's other files."""
    storage.write_tensors(folder / FILE, {"vectors": vectors}, {"format": _FORMAT, "tokens": list(tokens)})


def is_run(name: str) -> bool:
    """Whether `item_encoder` names a run's folder rather than a language model."""
    return (Path(name) / FILE).is_file() or (Path(name) / "result.json").is_file()


class SavedVectors:
    """What `save` wrote; known by its content, wherever the folder lies."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        if not self.path.is_file():
            raise UsageError(
                f"item_encoder={str(folder)!r}: this run kept no item vectors; run it with save_item_vectors=True"
            )
        self.source = f"item vectors of the run in {folder}"

    @cached_property
    def identity(self) -> str:
        """Digest of the file."""
        with storage.open_regular(self.path) as stream:
            return f"saved|{hashlib.file_digest(stream, 'sha256').hexdigest()}"

    def of(self, tokens: Sequence[str]) -> Vectors:
        """The vectors [N, W] of these items; an item without one is refused by name."""
        known, vectors = self._read()
        place = {token: row for row, token in enumerate(known)}
        if missing := [token for token in tokens if token not in place]:
            raise UsageError(
                f"{self.path}: has no vector for {len(missing)} of {len(tokens)} items, {missing[0]!r} the first;"
                " item_encoder must name a run on the same data set"
            )
        return vectors[[place[token] for token in tokens]]

    def _read(self) -> tuple[list[str], Vectors]:
        tensors, about = storage.read_tensors(self.path)
        tokens, vectors = about.get("tokens"), tensors.get("vectors")
        if about.get("format") != _FORMAT or not isinstance(tokens, list) or vectors is None:
            raise UsageError(f"{self.path}: holds no item vectors of a run")
        found = vectors.float().numpy()
        if found.ndim != 2 or len(found) != len(tokens) or not np.isfinite(found).all():
            raise UsageError(f"{self.path}: damaged, {found.shape} numbers for {len(tokens)} items, or not finite")
        return tokens, found
