"""The output folder: complete or absent, and never a place outside the one that was named."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recbole_fair import storage
from recbole_fair.convert import manifest
from recbole_fair.errors import UsageError

_NAME = re.compile(r"\w[\w.+-]*")  # as settings/config.py takes it


def target(out: Path, name: str) -> Path:
    """Where the files will lie; refused if it would be elsewhere, or if it holds what we did not write."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"name={name!r}: a data set's name is letters, digits, '.', '_', '+' and '-'")
    folder = out / name
    if folder.is_symlink():
        raise UsageError(f"{folder}: is a symbolic link, so the files would lie elsewhere; remove it")
    if folder.exists() and not (folder / manifest.NAME).is_file():
        raise UsageError(f"{folder}: exists and was not written by convert; choose another --name or remove it")
    return folder


@contextmanager
def staged(out: Path, name: str) -> Iterator[Path]:
    """A folder beside the target, renamed to it when all went well and removed in any case."""
    folder = target(out, name)
    staging: Path | None = None
    try:
        out.mkdir(parents=True, exist_ok=True)
        storage.sweep_abandoned(out, ".*.partial")
        staging = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=f".{os.getpid()}.partial", dir=out))
        fresh = staging / name
        fresh.mkdir()
        yield fresh
        _publish(fresh, folder)
    except OSError as error:
        where = error.filename or folder
        reason = f"{where}: {error.strerror or error}; no part of {name} is left in {out}"
        raise UsageError(f"{reason}. Free space or choose another --out") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _publish(fresh: Path, folder: Path) -> None:
    if not folder.exists():
        fresh.rename(folder)
    elif not manifest.same(fresh, folder):
        raise UsageError(f"{folder}: holds another conversion; remove it or choose another --name")
