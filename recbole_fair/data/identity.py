"""The identity of a split, whoever made it: of raw ids alone, so that a run and an audit of its files agree."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.storage import open_regular

Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xBF58476D1CE4E5B9)


def split_digest(users: Iterable[str], items: Iterable[str], parts: Mapping[str, Pairs]) -> str:
    """Equal for two splits of the same pairs, in whatever order; other pairs differ but for a chance of 2^-64.

    `users` and `items` are raw ids, `parts` holds places in them by the part's name. Every (user, item, part) is hashed
    to 64 bits and the hashes are added, so the rows need no sorting.
    """
    user_hash, item_hash = _hashes(users), _hashes(items)
    total = 0
    for name, (user, item) in parts.items():
        part = int(_hashes([name])[0])
        mixed = user_hash[user] * np.uint64(_ODD[0]) + item_hash[item] * np.uint64(_ODD[1]) + np.uint64(part)
        mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(_ODD[2])
        total += int((mixed ^ (mixed >> np.uint64(29))).sum(dtype=np.uint64))
    return f"{total % 2**64:016x}"


def _hashes(names: Iterable[str]) -> npt.NDArray[np.uint64]:
    digests = b"".join(blake2b(str(name).encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


PHASES = ("train", "valid", "test")  # the parts of a split
SUFFIXES = (".inter", ".user", ".item")


def fingerprint(folder: Path, name: str) -> str:
    """Digest of the atomic files that RecBole will read; also the first check that they can be read."""
    digest = hashlib.sha256()
    for suffix in SUFFIXES:
        path = folder / f"{name}{suffix}"
        if not path.is_file():
            if suffix == ".inter":
                raise UsageError(f"{path}: no such file; a data set needs it (see dataset_atomic/README.md)")
            continue
        with open_regular(path) as stream:
            digest.update(suffix.encode())
            while block := stream.read(1 << 20):
                if b"\0" in block:
                    raise UsageError(
                        f"{path}: holds a NUL byte, at which numpy ends a word, so two ids may become one; remove it,"
                        " or write the file in UTF-8 if it is in another encoding"
                    )
                digest.update(block)
    return digest.hexdigest()[:16]
