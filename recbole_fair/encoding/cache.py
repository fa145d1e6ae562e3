"""Item vectors on disk, so that a corpus is encoded once.

One file holds the vectors of one encoder; a row is known by its raw item token and its text, so that another
filter reuses rows and a changed title costs one. It is a safetensors file, of which nothing can be executed,
and carries its own index and hash: so it is replaced whole and never half new. Whatever does not fit is named
in a warning and encoded again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recbole_fair.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recbole_fair.encoding.encoders import Encoder, Vectors

    Keys = NDArray[np.uint8]  # [N, 32]

_log = logging.getLogger(__name__)

_FORMAT = "recbole_fair item vectors 1"
_NAME = "item-vectors-{}.safetensors"
_OURS = re.compile(r"item-vectors-[0-9a-f]{32}\.safetensors(\.[0-9]+\.part)?")
_LOCK = ".item-vectors.lock"
_KEY_BYTES = hashlib.sha256().digest_size


class CacheEntry(NamedTuple):
    """One file of the cache; `identity` is empty where the file is damaged."""

    path: Path
    bytes: int
    rows: int
    identity: str


class _UntrustedError(Exception):
    """Why a file is not trusted."""


def item_vectors(
    encoder: Encoder,
    tokens: Sequence[str],
    texts: Sequence[str],
    cache_dir: str | Path,
    progress: bool = False,
) -> Vectors:
    """The vector of each item, [N, D], from the cache as far as it has them.

    The rows are memory-mapped where one stretch of the file answers; writing to them never reaches the file.
    """
    if len(tokens) != len(texts):
        raise ValueError(f"{len(tokens)} item tokens, but {len(texts)} texts")
    if not texts:
        return np.empty((0, encoder.width), dtype=np.float32)
    keys = _keys(tokens, texts)
    store = _Store.of(encoder, keys, Path(cache_dir))
    stored = store.read()
    missing = stored.missing(keys)
    if missing:
        _log.info("encoding %s item texts, once: their vectors are cached", f"{len(missing):,}")
        vectors = _encoded(encoder, [texts[position] for position in missing], progress)
        stored = store.add(stored.union(_Rows(keys[missing], vectors)))
    return stored.take(keys)


def describe(cache_dir: str | Path) -> list[CacheEntry]:
    """What the cache holds, file by file."""
    return [_described(path) for path in _files(Path(cache_dir))]


def clear(cache_dir: str | Path) -> int:
    """Delete the files that the cache wrote, and no other, and return how many bytes that freed."""
    folder = Path(cache_dir)
    if not folder.is_dir():
        return 0
    freed = 0
    # Under the lock no process is between its temporary file and the rename.
    with _locked(folder):
        for path in _files(folder):
            freed += path.lstat().st_size
            path.unlink()
    (folder / _LOCK).unlink(missing_ok=True)
    return freed


@dataclass(frozen=True)
class _Rows:
    """Vectors and the keys they are known by."""

    keys: Keys  # [N, 32]
    vectors: Vectors  # [N, D]

    @cached_property
    def positions(self) -> dict[bytes, int]:
        """Where each key stands."""
        return {key.tobytes(): position for position, key in enumerate(self.keys)}

    def missing(self, keys: Keys) -> list[int]:
        """The positions of the first occurrences of keys that are not here."""
        unknown = {key.tobytes(): position for position, key in reversed(list(enumerate(keys)))}
        return sorted(position for key, position in unknown.items() if key not in self.positions)

    def union(self, other: _Rows) -> _Rows:
        """These rows, then those of `other` that are not among them."""
        if not len(self.keys):
            return other
        added = self.missing(other.keys)
        if not added:
            return self
        keys = np.concatenate([self.keys, other.keys[added]])
        return _Rows(keys, np.concatenate([self.vectors, other.vectors[added]]))

    def take(self, keys: Keys) -> Vectors:
        """The vectors of these keys; without a copy where they stand in a row."""
        wanted = np.array([self.positions[key.tobytes()] for key in keys])
        in_a_row = bool((np.diff(wanted) == 1).all())
        vectors: Vectors = self.vectors[wanted[0] : wanted[-1] + 1] if in_a_row else self.vectors[wanted]
        return vectors


@dataclass(frozen=True)
class _Store:
    """The file of one encoder, or of one encoder and corpus."""

    path: Path
    identity: str
    width: int | None  # None: whatever the texts allowed

    @classmethod
    def of(cls, encoder: Encoder, keys: Keys, folder: Path) -> _Store:
        """Vectors that depend on the whole corpus share a file with no other corpus."""
        corpus = "" if encoder.per_text else f"|corpus={hashlib.sha256(keys.tobytes()).hexdigest()}"
        identity = encoder.identity + corpus
        name = _NAME.format(hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32])
        return cls(folder / name, identity, encoder.width if encoder.per_text else None)

    def read(self, level: int = logging.WARNING) -> _Rows:
        """All rows of the file; none where there is no file, or none to be trusted."""
        try:
            if self.path.is_file():
                return self._checked()
        except (_UntrustedError, OSError) as reason:
            _log.log(level, "item vectors in %s are not used and will be made again: %s", self.path, reason)
        width = self.width or 0
        return _Rows(np.empty((0, _KEY_BYTES), dtype=np.uint8), np.empty((0, width), dtype=np.float32))

    def _checked(self) -> _Rows:
        with _opened(self.path, "pt") as file:
            notes = file.metadata()
            keys, vectors = file.get_tensor("keys"), file.get_tensor("vectors")
        if notes.get("identity") != self.identity:
            raise _UntrustedError(f"it belongs to another encoder, {notes.get('identity')!r}")
        if (str(keys.dtype), str(vectors.dtype), vectors.dim()) != ("torch.uint8", "torch.float32", 2):
            raise _UntrustedError(f"its vectors are {vectors.dim()}-dimensional {vectors.dtype}, its keys {keys.dtype}")
        rows = _Rows(keys.numpy(), vectors.numpy())
        if rows.keys.shape != (len(rows.vectors), _KEY_BYTES):
            raise _UntrustedError(f"{len(rows.vectors)} vectors, but keys of shape {rows.keys.shape}")
        if self.width not in (None, rows.vectors.shape[1]):
            raise _UntrustedError(f"vectors of width {rows.vectors.shape[1]}, expected {self.width}")
        if notes.get("sha256") != _content_hash(rows):
            raise _UntrustedError("its content does not have the hash written with it")
        return rows

    def add(self, rows: _Rows) -> _Rows:
        """Put these rows into the file, next to those that another process may have put there meanwhile."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path.parent):
                # What is refused here was named when it was read first.
                return self._write(rows.union(self.read(logging.DEBUG)))
        except OSError as reason:  # a full disk must not cost the hours that encoding took
            _log.warning("item vectors could not be kept in %s: %s", self.path, reason)
        return rows

    def _write(self, rows: _Rows) -> _Rows:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        notes = {"format": _FORMAT, "identity": self.identity, "sha256": _content_hash(rows)}
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            save_file({"keys": rows.keys, "vectors": rows.vectors}, part, metadata=notes)
            part.replace(self.path)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        finally:
            part.unlink(missing_ok=True)
        return rows


@contextmanager
def _opened(path: Path, framework: str) -> Iterator[Any]:
    """A file of our format; under "pt" its tensors are mapped, and what is written to one never reaches the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as file:
            if (file.metadata() or {}).get("format") != _FORMAT:
                raise _UntrustedError(f"its format is not {_FORMAT!r}")
            yield file
    except SafetensorError as error:
        raise _UntrustedError(f"it is cut off, or no safetensors file of ours ({error})") from error


def _keys(tokens: Sequence[str], texts: Sequence[str]) -> Keys:
    """One hash a row over token and text, [N, 32]; the length keeps "1" + "2 x" apart from "12" + " x"."""
    rows = (f"{len(token)}:{token}{text}" for token, text in zip(tokens, texts, strict=True))
    digests = b"".join(hashlib.sha256(row.encode("utf-8", "surrogatepass")).digest() for row in rows)
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, _KEY_BYTES)


def _encoded(encoder: Encoder, texts: Sequence[str], progress: bool) -> Vectors:
    vectors = np.asarray(encoder.encode(texts, progress), dtype=np.float32)
    if not np.isfinite(vectors).all():  # half precision overflows; a cache must not make that last
        raise UsageError(f"item_encoder: {encoder.source} gave vectors that are not finite; use another encoder")
    return vectors


def _content_hash(rows: _Rows) -> str:
    total = hashlib.sha256(np.ascontiguousarray(rows.keys).data)
    total.update(np.ascontiguousarray(rows.vectors).data)
    return total.hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time. The lock goes with its process, so a killed one leaves nothing to clean up.

    Without it (no fcntl on Windows) two writers may lose each other's rows, but files stay whole.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / _LOCK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _files(folder: Path) -> list[Path]:
    """The cache's own files, by name; a link of such a name is not one of them."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        ours = [entry for entry in entries if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
    return sorted(Path(entry.path) for entry in ours)


def _described(path: Path) -> CacheEntry:
    size = path.lstat().st_size
    try:
        with _opened(path, "np") as file:  # asks for no tensor, so torch is not loaded
            return CacheEntry(path, size, file.get_slice("vectors").get_shape()[0], file.metadata()["identity"])
    except (_UntrustedError, OSError, LookupError):
        return CacheEntry(path, size, 0, "")
