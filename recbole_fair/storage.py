"""Writing files whole or not at all, and arrays without pickles."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_fair.errors import StorageError, UsageError

if TYPE_CHECKING:
    import torch


def default_cache() -> Path:
    """The user's cache folder, by the XDG rule."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recbole_fair"


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to be filled, which becomes `path` at the end; after an error nothing of it is left.

    A folder that somebody else put there meanwhile stays, and what was written is thrown away.
    """
    from safetensors import SafetensorError

    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had our number
        partial.mkdir(parents=True)
        yield partial
        _settle(partial, path)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{path}: cannot be written ({error}); free space or choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _settle(partial: Path, path: Path) -> None:
    try:
        partial.rename(path)
    except OSError:
        if not path.is_dir() or not any(path.iterdir()):
            raise


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step: a reader sees the old file or the new one, never half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another run_dir"
        ) from error


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` for JSON; NaN has no place in it."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; anything else is refused by name."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: damaged ({error}); remove the run's folder and run again") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: damaged (not a JSON object); remove the run's folder and run again")
    return value


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> str:
    """Store named tensors and a JSON-able description in one safetensors file; returns its sha256."""
    from safetensors.torch import save

    # safetensors refuses tensors that share memory; a copy is what a checkpoint means anyway.
    content = save(
        {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()},
        metadata={"about": json.dumps(about)},
    )
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def read_tensors(path: Path, sha256: str | None = None) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What `write_tensors` stored; a truncated, foreign or changed file is refused by name, never executed."""
    from safetensors import SafetensorError, safe_open

    try:
        if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise UsageError(f"{path}: was changed since it was written (sha256 differs); restore it or run again")
        with safe_open(path, framework="pt") as stream:
            about = json.loads((stream.metadata() or {})["about"])
            names = stream.keys()
            return {name: stream.get_tensor(name) for name in names}, about
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; the run was not finished or its weights were removed") from error
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise UsageError(f"{path}: not a safetensors file of ours, or truncated ({error})") from error
