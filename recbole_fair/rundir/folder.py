"""A run's folder: who owns it, what it holds, and where the log goes while the run works."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recbole_fair import storage
from recbole_fair.errors import BusyError, UsageError
from recbole_fair.rundir.result import finished
from recbole_fair.settings.config import Config

_IDENTITY = "run.json"  # hash and seed of the run that owns the folder


def folder_for(config: Config, digest: str, root: Path = Path("runs")) -> Path:
    """`run_dir` if it is given, else root/<dataset>/<model>/<config hash>-s<seed>; evaluations only, beside it."""
    if config["run_dir"]:
        return Path(config["run_dir"])
    suffix = "-loaded" if config["load"] else ""
    return root / config["dataset"] / config.name / f"{digest}-s{config['seed']}{suffix}"


def claim(folder: Path, config: Config, digest: str) -> bool:
    """Make the folder this run's: create it (True), or check that it is of the same hash and seed, or refuse.

    A finished run may be claimed again (its result is shown), an unfinished one only with `resume`.
    """
    path = folder / _IDENTITY
    identity = {"config_hash": digest, "seed": config["seed"]}
    if path.exists():
        stored = storage.read_json(path)
        for key, value in identity.items():
            if stored.get(key) != value:
                raise UsageError(
                    f"{folder}: holds a run of another {key} ({stored.get(key)}, this one has {value});"
                    " choose another run_dir, or remove the folder"
                )
        if not config["resume"] and not finished(folder):
            raise UsageError(f"{folder}: holds an unfinished run of this configuration; go on with --resume=True")
    else:
        storage.write_text(folder / "config.yaml", config.as_yaml())
        storage.write_json(path, identity)
        return True
    return False


def unclaim(folder: Path) -> None:
    """Undo a fresh claim: a run that was refused before it trained leaves nothing to remove by hand."""
    if (folder / "model.safetensors").exists():
        return
    for name in ("config.yaml", "run.json", "run.log", ".lock"):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of the folder; a killed process frees it by dying. A foreign folder is not touched."""
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).exists() for name in (_IDENTITY, ".lock")):
        raise UsageError(f"{folder}: is not empty and holds no run; choose another run_dir")
    with held(folder / ".lock", f"{folder}: another process is working on this run"):
        yield


@contextmanager
def held(lock: Path, busy: str) -> Iterator[None]:
    """Be the only process that holds this lock file; `busy` is what the second one is told."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_CREAT | os.O_RDWR)
    except OSError as error:
        reason = f"cannot be written ({error.strerror}); choose another run_dir"
        raise UsageError(f"run_dir={lock.parent}: {reason}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise BusyError(busy) from error
    try:
        yield
    finally:
        os.close(handle)
