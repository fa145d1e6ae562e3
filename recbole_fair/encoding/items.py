"""Item vectors for a run, in RecBole's item order: its item texts through an encoder and the cache, or another run's.

What `save` keeps of a finished run (BiFair's refined vectors, for one) can be another run's `item_encoder`: one
safetensors file in the run's folder with the vectors and the raw item tokens they belong to, so that another split or
another filter of the same data finds its items, and other data is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_fair import storage
from recbole_fair.data.load import Data
from recbole_fair.encoding import cache
from recbole_fair.encoding.encoders import Encoder, make_encoder
from recbole_fair.errors import UsageError
from recbole_fair.settings.config import Config
from recbole_fair.storage import cache_folder

if TYPE_CHECKING:
    from recbole_fair.encoding.encoders import Vectors

FILE = "item_vectors.safetensors"
_FORMAT = "recbole_fair item vectors of a run 1"


def encoder_of(config: Config) -> Encoder | SavedVectors:
    """The text encoder or run that a configuration names; its weights are read only when vectors are asked for."""
    folder = Path(config["item_encoder"])
    if (folder / FILE).is_file() or (folder / "result.json").is_file():
        return SavedVectors(folder)
    return make_encoder(
        config["item_encoder"],
        pooling=config["encoder_pooling"],
        revision=config["encoder_revision"],
        device=str(config["device"]),
        seed=int(config["split_seed"]),  # a run's seed changes its training, not its input
        width=int(config["encoder_width"]),
        cache=cache_folder(config["cache_dir"]),
    )


def for_items(config: Config, data: Data, encoder: Encoder | SavedVectors, progress: bool) -> tuple[Vectors, str]:
    """Vectors [I, W] with row 0 (padding) zero, and where they really come from."""
    rows = encoder.of(_tokens(data)) if isinstance(encoder, SavedVectors) else _by_text(config, data, encoder, progress)
    return np.concatenate([np.zeros((1, rows.shape[1]), np.float32), rows]), encoder.source


def save(folder: Path, data: Data, model: Any) -> None:
    """Keep the model's item vectors, refined or not, for `item_encoder` of another run."""
    about = {"format": _FORMAT, "tokens": _tokens(data)}
    storage.write_tensors(folder / FILE, {"vectors": model.item_vectors[1:]}, about)


def _tokens(data: Data) -> list[str]:
    return [str(token) for token in data.tokens(data.dataset.iid_field)[1:]]


def _by_text(config: Config, data: Data, encoder: Encoder, progress: bool) -> Vectors:
    texts = data.item_texts(config)[1:]
    return cache.item_vectors(encoder, _tokens(data), texts, cache_folder(config["cache_dir"]), progress)


class SavedVectors:
    """The item vectors that a finished run kept, as an encoder; its identity is their content, wherever they lie."""

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
        return f"saved|{storage.file_digest(self.path)}"

    def of(self, tokens: Sequence[str]) -> Vectors:
        """The vectors [N, W] of these items; an item without one is refused by name."""
        stored, vectors = self._read()
        row_of = {token: row for row, token in enumerate(stored)}
        if missing := [token for token in tokens if token not in row_of]:
            raise UsageError(
                f"{self.path}: has no vector for {len(missing)} of {len(tokens)} items, {missing[0]!r} the first;"
                " item_encoder must name a run on the same data set"
            )
        return vectors[[row_of[token] for token in tokens]]

    def _read(self) -> tuple[list[str], Vectors]:
        tensors, about = storage.read_tensors(self.path)
        tokens, vectors = about.get("tokens"), tensors.get("vectors")
        if about.get("format") != _FORMAT or not isinstance(tokens, list) or vectors is None:
            raise UsageError(f"{self.path}: holds no item vectors of a run")
        rows = vectors.float().numpy()
        if rows.ndim != 2 or len(rows) != len(tokens) or not np.isfinite(rows).all():
            raise UsageError(f"{self.path}: damaged, {rows.shape} numbers for {len(tokens)} items, or not finite")
        return tokens, rows
