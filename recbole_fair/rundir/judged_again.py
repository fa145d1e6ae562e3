"""A finished run that differs in what is judged alone: its weights are judged again, and nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from recbole_fair.errors import UsageError
from recbole_fair.rundir.folder import check_settings
from recbole_fair.rundir.result import Result, finished
from recbole_fair.settings import keys, yamls
from recbole_fair.settings.config import Config
from recbole_fair.settings.digest import config_hash


def trained_alike(folder: Path, config: Config, fingerprint: str, parents: Sequence[str]) -> Path | None:
    """The first finished run beside `folder`, of the same seed, data and parents, that was trained as `config` says.

    A neighbour's hash is made again from its settings, this run's data and this run's parents: only an equal one stands
    on the same of both.
    """
    judged = _judged(config)
    for neighbour in sorted(folder.parent.glob(f"*-s{config['seed']}")):
        if neighbour != folder and _whole(neighbour):
            theirs = yamls.read_mapping(neighbour / "config.yaml")
            own = config_hash(theirs, fingerprint, parents) == Result.read(neighbour).config_hash
            if own and _trained(theirs, judged) == _trained(config.effective, judged):
                return neighbour
    return None


def _judged(config: Config) -> frozenset[str]:
    """The keys that do not change what is trained; fewer where a strategy or prompts read some of them."""
    choice = config.choice
    reads = choice.strategies or choice.model.trained_by or getattr(config.model_class, "reads_prompts", False)
    return frozenset(key for key in keys.marked("judged") if not reads or keys.declared()[key]["judged"] is True)


def _trained(values: Mapping[str, Any], judged: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if keys.counts(key, value) and key not in {*judged, "seed"}}


def _whole(folder: Path) -> bool:
    """Whether a run ended well there, has its weights and was not edited since."""
    with suppress(UsageError):
        check_settings(folder)
        return finished(folder) and Result.read(folder).status != "failed" and (folder / "model.json").exists()
    return False
