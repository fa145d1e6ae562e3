"""Unfinished runs of the same training but for `epochs`: another run goes on where they stopped, or is told why not.

More epochs lengthen a training. As many as it has come to end it there, with the best weights so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recbole_fair import storage
from recbole_fair.errors import BusyError, UsageError
from recbole_fair.rundir.folder import RESUME, check_settings, held
from recbole_fair.rundir.result import finished
from recbole_fair.settings import keys, yamls
from recbole_fair.settings.config import Config
from recbole_fair.settings.digest import config_hash


def neighbours(folder: Path, config: Config) -> dict[Path, list[str]]:
    """The runs beside `folder`, of its seed, and the keys in which each is not the run of `config`."""
    differences = {}
    for neighbour in sorted(folder.parent.glob(f"*-s{config['seed']}")):
        with suppress(UsageError):
            check_settings(neighbour)
            if neighbour != folder:
                differences[neighbour] = differing(yamls.read_mapping(neighbour / "config.yaml"), config)
    return differences


def unfinished(neighbour: Path) -> bool:
    """Whether a run stopped before its end and left a point to go on from."""
    return (neighbour / RESUME).exists() and not finished(neighbour)


def same_but_for_epochs(folder: Path, config: Config, fingerprint: str, parents: Sequence[str]) -> Path | None:
    """The first unfinished run beside `folder` that is this one with other `epochs`, of the same data and parents."""
    if not does_not_read_epochs(config):
        return None
    for neighbour, keys_differ in neighbours(folder, config).items():
        if keys_differ == ["epochs"] and unfinished(neighbour):
            stored = storage.read_json(neighbour / "run.json").get("config_hash")
            if config_hash(yamls.read_mapping(neighbour / "config.yaml"), fingerprint, parents) == stored:
                return neighbour
    return None


def does_not_read_epochs(config: Config) -> bool:
    """Whether an epoch is trained alike however many follow: no rate and no strategy that goes by their number."""
    by_number = config["lr_schedule"] != "constant" or config["warmup"]
    return not (by_number or config.choice.strategies or config.choice.model.trained_by)


def differing(theirs: Mapping[str, Any], config: Config) -> list[str]:
    """The keys of a run in which it is not the one of `config`."""
    ours = config.effective
    return [
        key
        for key in sorted({*theirs, *ours})
        if theirs.get(key) != ours.get(key) and any(keys.counts(key, values.get(key)) for values in (theirs, ours))
    ]


def nothing_to_resume(folder: Path, config: Config) -> str:
    """Why no run beside `folder` is gone on with; empty where none is unfinished or differs in `epochs` alone."""
    near = {
        neighbour: keys_differ
        for neighbour, keys_differ in neighbours(folder, config).items()
        if unfinished(neighbour) or keys_differ == ["epochs"]
    }
    if not near:
        return ""
    nearest = min(near, key=lambda neighbour: (len(near[neighbour]), not unfinished(neighbour)))
    why = ""
    if near[nearest] == ["epochs"]:
        why = ", by whose number it trains" if unfinished(nearest) else ", but has ended and kept no resume point"
    return f"nothing to resume: {nearest} differs in {', '.join(near[nearest])}{why}; training starts anew"


@contextmanager
def nobody_working(neighbour: Path) -> Iterator[None]:
    """Keep the neighbour's own process out while it is read; one that works is not gone on with."""
    try:
        with held(neighbour / ".lock", f"{neighbour}: another process is working on this run"):
            yield
    except BusyError as error:
        raise UsageError(f"{error}; wait for it, or leave --resume out to train from the first epoch") from error
