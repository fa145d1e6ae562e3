"""Item vectors for a run: texts of its items through the encoder and the cache, in RecBole's item order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_fair.data.load import Data
from recbole_fair.encoding import cache, saved
from recbole_fair.encoding.encoders import Encoder, make_encoder
from recbole_fair.encoding.saved import SavedVectors
from recbole_fair.settings.config import Config
from recbole_fair.storage import cache_folder


def encoder_of(config: Config) -> Encoder | SavedVectors:
    """The text encoder or run that a configuration names; its weights are read only when vectors are asked for."""
    if saved.is_run(config["item_encoder"]):
        return SavedVectors(Path(config["item_encoder"]))
    return make_encoder(
        config["item_encoder"],
        pooling=config["encoder_pooling"],
        revision=config["encoder_revision"],
        device=str(config["device"]),
        seed=int(config["split_seed"]),  # a run's seed changes its training, not its input
        width=int(config["encoder_width"]),
        cache=cache_folder(config["cache_dir"]),
    )


def for_items(
    config: Config, data: Data, encoder: Encoder | SavedVectors, progress: bool
) -> tuple[npt.NDArray[np.float32], str]:
    """Vectors [I, W] with row 0 (padding) zero, and where they really come from."""
    rows = encoder.of(_tokens(data)) if isinstance(encoder, SavedVectors) else _by_text(config, data, encoder, progress)
    return np.concatenate([np.zeros((1, rows.shape[1]), np.float32), rows]), encoder.source


def save(folder: Path, data: Data, model: Any) -> None:
    """Keep the model's item vectors, refined or not, for `item_encoder` of another run."""
    saved.save(folder, _tokens(data), model.item_vectors[1:])


def _tokens(data: Data) -> list[str]:
    return [str(token) for token in data.tokens(data.dataset.iid_field)[1:]]


def _by_text(config: Config, data: Data, encoder: Encoder, progress: bool) -> npt.NDArray[np.float32]:
    texts = data.item_texts(config)[1:]
    return cache.item_vectors(encoder, _tokens(data), texts, cache_folder(config["cache_dir"]), progress)
