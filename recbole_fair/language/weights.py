"""The files of a model's folder: whether its safetensors weights are complete, their size, and their hash."""

from __future__ import annotations

import hashlib
import json
import math
from functools import lru_cache
from pathlib import Path

from recbole_fair.language.refusals import refusals
from recbole_fair.storage import RECORD_BYTES, file_digest, read_text

WEIGHTS = "model.safetensors"
SHARDS = "model.safetensors.index.json"
# All that a model is read from, hence all that is downloaded and all that its digest covers.
READ = (".safetensors", ".json", ".txt", ".model", ".jinja")


def has_weights(folder: Path) -> bool:
    """Whether the folder holds model.safetensors, or an index and every shard that it names."""
    return (folder / WEIGHTS).is_file() or ((folder / SHARDS).is_file() and all(map(Path.is_file, _shards(folder))))


def count_parameters(folder: Path) -> int:
    """The number of stored numbers, read from the files' headers alone."""
    from safetensors import safe_open

    total = 0
    for path in [folder / WEIGHTS] if (folder / WEIGHTS).is_file() else _shards(folder):
        with refusals(str(path)), safe_open(path, framework="pt") as stream:
            total += sum(math.prod(stream.get_slice(name).get_shape()) for name in stream.keys())  # noqa: SIM118
    return total


def digest(folder: Path) -> str:
    """One hash over all files that loading may read: the folder's own and its direct subfolders'."""
    files = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.suffix in READ]
    total = hashlib.sha256()
    for path in sorted(filter(Path.is_file, files)):
        total.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return total.hexdigest()


def sha256(path: Path) -> str:
    """The hash of a file, computed once a process as long as the file stays as it is: weights are large."""
    state = path.stat()
    return _hash_as_of(path, state.st_size, state.st_mtime_ns)


@lru_cache
def _hash_as_of(path: Path, size: int, modified: int) -> str:  # noqa: ARG001 - they are the cache's key
    return file_digest(path)


def _shards(folder: Path) -> list[Path]:
    with refusals(str(folder)):
        names = json.loads(read_text(folder / SHARDS, RECORD_BYTES))["weight_map"].values()
        if not names:
            raise ValueError(f"{SHARDS} names no shards")
        return [folder / name for name in sorted(set(names))]
