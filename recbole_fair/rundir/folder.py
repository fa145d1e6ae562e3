"""A run's folder: who owns it, what it holds, and where the log goes while the run works."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_fair import storage
from recbole_fair.errors import BusyError, UsageError
from recbole_fair.rundir.result import RESULT, finished, refuse_links
from recbole_fair.settings import yamls
from recbole_fair.settings.digest import config_hash

if TYPE_CHECKING:
    from recbole_fair.settings.config import Config

RESUME = "resume.safetensors"  # the last finished epoch of a run that has not ended
_IDENTITY = "run.json"  # hash and seed of the run that owns the folder
_SETTINGS = "settings"  # its digest of config.yaml


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
    if take(folder, digest, config["seed"], config.effective):
        return True
    if not config["resume"] and not finished(folder):
        raise UsageError(f"{folder}: holds an unfinished run of this configuration; go on with --resume=True")
    check_settings(folder)
    return False


def take(folder: Path, digest: str, seed: int, values: Mapping[str, Any]) -> bool:
    """Write config.yaml and run.json into a folder without them (True), or refuse one of another hash or seed."""
    identity = {"config_hash": digest, "seed": seed}
    if not (folder / _IDENTITY).exists():
        storage.write_text(folder / "config.yaml", yamls.dump(dict(values)))
        storage.write_json(folder / _IDENTITY, {**identity, _SETTINGS: settings_digest(values)})
        return True
    stored = storage.read_json(folder / _IDENTITY)
    for key, value in identity.items():
        if stored.get(key) != value:
            raise UsageError(
                f"{folder}: holds a run of another {key} ({stored.get(key)}, this one has {value});"
                " choose another run_dir, or remove the folder"
            )
    return False


def settings_digest(values: Mapping[str, Any]) -> str:
    """Digest of the keys in a config.yaml that change what a run computes; where the data lie may be edited."""
    return config_hash(values, "")


def check_settings(folder: Path) -> None:
    """Refuse a config.yaml that was edited after the run: it would describe figures that it did not give.

    Runs of the first versions have no digest to compare with.
    """
    stored = storage.read_json(folder / _IDENTITY).get(_SETTINGS) if (folder / _IDENTITY).exists() else None
    path = folder / "config.yaml"
    if stored is not None and settings_digest(yamls.read_mapping(path)) != stored:
        raise UsageError(f"{path}: was edited since the run; restore it, or run the new settings in another run_dir")


def unclaim(folder: Path) -> None:
    """Undo a fresh claim: a run that was refused before it trained leaves nothing to remove by hand.

    The identity goes first: killed here, the folder is nobody's and may be claimed again.
    """
    if (folder / "model.safetensors").exists() or (folder / RESULT).exists():
        return
    storage.sweep(folder)
    for name in (_IDENTITY, "config.yaml", "run.log", ".lock"):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of the folder; a killed process frees it by dying. A foreign folder is not touched."""
    ours = (_IDENTITY, RESULT, ".lock")
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).exists() for name in ours):
        raise UsageError(f"{folder}: is not empty and holds no run; choose another run_dir")
    refuse_links(folder)
    if finished(folder) and not os.access(folder, os.W_OK):
        yield  # nothing is written, so nobody need be kept out
        return
    with held(folder / ".lock", f"{folder}: another process is working on this run"):
        storage.sweep(folder)
        drop_resume_point(folder)
        yield


def drop_resume_point(folder: Path) -> None:
    """Remove the resume point of a finished run: a kill between the two leaves it beside the result."""
    if finished(folder) and os.access(folder, os.W_OK):
        (folder / RESUME).unlink(missing_ok=True)


@contextmanager
def held(lock: Path, busy: str) -> Iterator[None]:
    """Be the only process that holds this lock file; `busy` is what the second one is told."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
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
