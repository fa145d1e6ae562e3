"""Files written whole or not at all, and read only if they are ordinary files; arrays without pickles."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from recbole_fair.errors import StorageError, UsageError

if TYPE_CHECKING:
    import torch

SETTINGS_BYTES = 1 << 20  # the largest property file
RECORD_BYTES = 1 << 28  # the largest JSON file: a search of many trials, a run with many groups
_SEAL = "seal"
_DAY = 86400


# --- reading

# What a table's file calls a missing number; pandas' own list, which it takes for missing words as well.
MISSING_NUMBERS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip


def open_regular(path: Path, limit: int | None = None) -> BufferedReader:
    """The bytes of an ordinary file of at most `limit`; a device, pipe or folder would hang or never end."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer would block
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise UsageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    facts = os.fstat(handle)
    if stat.S_ISREG(facts.st_mode) and (limit is None or facts.st_size <= limit):
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISREG(facts.st_mode):
        raise UsageError(f"{path}: has {facts.st_size} bytes, larger than {limit}; a file of this kind is not")
    raise UsageError(f"{path}: cannot be read, it is no ordinary file but a {_kind(facts.st_mode)}; give a file")


def _kind(mode: int) -> str:
    kinds = {"folder": stat.S_ISDIR, "pipe": stat.S_ISFIFO, "socket": stat.S_ISSOCK}
    return next((name for name, test in kinds.items() if test(mode)), "device")


def read_regular(path: Path, limit: int) -> bytes:
    """The content of an ordinary file of at most `limit` bytes, whatever size the file system states (/proc: 0)."""
    with open_regular(path, limit) as stream:
        try:
            content = stream.read(limit + 1)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > limit:
        raise UsageError(f"{path}: larger than {limit} bytes; a file of this kind is not")
    return content


def regular(path: Path, limit: int | None = None) -> Path:
    """`path` itself, after `open_regular` would have opened it: for readers of other libraries that take a path."""
    open_regular(path, limit).close()
    return path


def file_digest(path: Path) -> str:
    """sha256 of an ordinary file, in hexadecimal."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_text(path: Path, limit: int) -> str:
    """`read_regular` as UTF-8 text."""
    try:
        return read_regular(path, limit).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; anything else is refused by name."""
    content = read_regular(path, RECORD_BYTES)
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: damaged ({error}); remove the run's folder and run again") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: damaged (not a JSON object); remove the run's folder and run again")
    return value


# --- writing


def cache_folder(named: str | None = None) -> Path:
    """Where item vectors and models are kept: as `cache_dir` names it (`~` is the home), else by the XDG rule."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recbole_fair"
    return Path(named).expanduser() if named else default


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to be filled, which becomes `path` at the end; after an error nothing of it is left.

    A folder that somebody else put there meanwhile stays, and what was written is thrown away.
    """
    from safetensors import SafetensorError

    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        sweep_abandoned(path.parent, f"{glob.escape(path.name)}.*.partial")
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
    with _replacing(path) as partial, partial.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` for JSON; NaN has no place in it."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name in a fresh folder beside `path`; what was written there takes the place of `path`, or nothing does.

    The folder is made here, so no link that lay in wait is followed; a killed writer leaves it to `sweep`.
    """
    staging = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_abandoned(path.parent, f"{glob.escape(path.name)}.*.partial")
        _remove(staging)  # of a killed process that had our number
        staging.mkdir()
        yield staging / path.name
        (staging / path.name).replace(path)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another run_dir"
        ) from error
    finally:
        with suppress(OSError):  # where the folder itself cannot be, nothing was left in it
            _remove(staging)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep_abandoned(folder: Path, pattern: str) -> None:
    """Remove NAME.PID.partial of writers that were killed: a day old, and of no process here (others may write too)."""
    for leftover in folder.glob(pattern):
        with suppress(OSError):
            if time() - leftover.stat().st_mtime > _DAY and not _is_alive(leftover.name.split(".")[-2]):
                _remove(leftover)


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder that nobody else writes into."""
    for leftover in folder.glob("*.partial"):
        _remove(leftover)


# --- tensors


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> str:
    """Store named tensors and a JSON-able description in one safetensors file; returns its sha256."""
    return _write_tensors(path, _separate(tensors), {"about": json.dumps(about)})


def write_sealed(path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """`write_tensors` with a digest of the content inside the file, for one that no other file vouches for."""
    stored, text = _separate(tensors), json.dumps(about)
    _write_tensors(path, stored, {"about": text, _SEAL: _digest(stored, text)})


def _write_tensors(path: Path, tensors: dict[str, torch.Tensor], notes: dict[str, str]) -> str:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with _replacing(path) as partial:
            partial.touch()
            mode = stat.S_IMODE(partial.stat().st_mode)  # the library's own file is for its owner alone
            save_file(tensors, partial, metadata=notes)
            partial.chmod(mode)
            with partial.open("rb") as stream:
                os.fsync(stream.fileno())
                return hashlib.file_digest(stream, "sha256").hexdigest()
    except SafetensorError as error:
        raise StorageError(f"{path}: cannot be written ({error}); free space or choose another run_dir") from error


def _separate(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors in main memory, those that share memory with an earlier one copied: safetensors refuses them."""
    separate: dict[str, torch.Tensor] = {}
    starts: set[int] = set()
    for name, value in tensors.items():
        whole = value.detach().cpu().contiguous()
        start = whole.untyped_storage().data_ptr()
        separate[name] = whole.clone() if start in starts else whole
        starts.add(start)
    return separate


def _digest(tensors: Mapping[str, torch.Tensor], about: str) -> str:
    """sha256 over the description and every tensor's name, type, shape and bytes."""
    import torch

    value = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        value.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        value.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return value.hexdigest()


def read_tensors(path: Path, sha256: str | None = None) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What `write_tensors` stored; a truncated, foreign or changed file is refused by name, never executed."""
    with _tensors(path) as stored:
        tensors, notes = stored
        if sha256 is not None and file_digest(path) != sha256:
            raise UsageError(f"{path}: was changed since it was written (sha256 differs); restore it or run again")
        return tensors, json.loads(notes["about"])


def read_sealed(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What `write_sealed` stored; a file of which one bit was changed is refused."""
    with _tensors(path) as stored:
        tensors, notes = stored
        if notes.get(_SEAL) != _digest(tensors, notes["about"]):
            raise UsageError(f"{path}: was changed since it was written (its digest differs); remove it to start again")
        return tensors, json.loads(notes["about"])


@contextmanager
def _tensors(path: Path) -> Iterator[tuple[dict[str, torch.Tensor], dict[str, str]]]:
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise UsageError(f"{path}: no such file; the run was not finished or its weights were removed")
    try:
        with safe_open(regular(path), framework="pt") as stream:
            yield {name: stream.get_tensor(name) for name in stream.keys()}, stream.metadata() or {}  # noqa: SIM118
    except UsageError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, OSError, RuntimeError, RecursionError) as error:
        raise UsageError(f"{path}: not a safetensors file of ours, or truncated ({error})") from error
