"""Find run directories and read them; a damaged file is refused by name, a failed or unfinished run is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.rundir.result import Result
from recbole_fair.settings import yamls

FINISHED = ("ok", "collapsed")
TRAINED_SHARE = "trained_share"  # shown where --metrics names it
_RESULT, _CLAIM, _RAY, _COMPARED = "result.json", "run.json", "params.json", "compare.json"


@dataclass(frozen=True)
class Run:
    """One run directory: where it lies, how it is called in the report, and what it says."""

    folder: Path
    name: str  # its path below what all directories share
    result: Result
    copies: tuple[str, ...] = ()  # names of directories that hold the same run

    @property
    def finished(self) -> bool:
        """Whether it has figures."""
        return self.result.status in FINISHED

    @property
    def figures(self) -> dict[str, float | None]:
        """What a table can show of it: the test figures, and the share of its parameters that were trained."""
        total, trained = (self.result.parameters.get(name) for name in ("total", "trainable"))
        share = {} if not total or trained is None else {TRAINED_SHARE: trained / total}
        return {**self.result.test, **share}

    @property
    def level(self) -> float:
        """Of the intervals that it states; runs of before 0.2 say it in their configuration alone."""
        return float(self.result.resampling.get("level") or config_of(self.folder).get("interval") or 0.95)

    @property
    def identity(self) -> tuple[str, str, str, int]:
        """Data set, model, configuration and seed: two runs that share them must have the same figures."""
        return (self.result.dataset, self.result.model, self.result.config_hash, self.result.seed)


def read_runs(roots: Sequence[Path]) -> list[Run]:
    """Every run below the given directories, and those that a comparison there names, in the order of their names."""
    folders = list(dict.fromkeys(folder.resolve() for root in roots for folder in _run_folders(root)))
    if not folders:
        listed = ", ".join(map(str, roots))
        raise UsageError(f"{listed}: no run directory (a folder with result.json) below; give the root of your runs")
    shared = Path(os.path.commonpath([folder.parent for folder in folders]))
    return sorted(
        (Run(folder, str(folder.relative_to(shared)), _result(folder)) for folder in folders), key=lambda run: run.name
    )


def _run_folders(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        raise UsageError(f"{root}: no such directory; give run directories or folders that hold some")
    for folder, _, files in os.walk(root):
        # Ray Tune keeps a result.json of its own, with a params.json beside it, in each trial's folder.
        if _CLAIM in files or (_RESULT in files and _RAY not in files):
            yield Path(folder)
        if _COMPARED in files:
            yield from _compared(Path(folder) / _COMPARED)


def _compared(path: Path) -> Iterator[Path]:
    """The run folders of a comparison; relative ones as it was called, or beside the folder that holds it."""
    runs = storage.read_json(path).get("runs")
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise UsageError(f"{path}: damaged (runs is no list of runs); compare again")
    for folder in (Path(str(run["run_dir"])) for run in runs if run.get("run_dir")):
        # Relative to where the comparison was started: above its own folder, before any namesake where we are now.
        there = [place for place in (*(parent / folder for parent in path.parents), folder) if place.is_dir()]
        if not there:
            raise UsageError(f"{path}: names {folder}, which is not there; compare again, or name the runs' folder")
        yield there[0]


def _result(folder: Path) -> Result:
    """What a run says; of one that has not ended, what it is."""
    if (folder / _RESULT).exists():
        return Result.read(folder)
    claim, config = storage.read_json(folder / _CLAIM), config_of(folder)
    return Result(
        model=str(config.get("model", "unknown")),
        strategy=config.get("strategy"),
        dataset=str(config.get("dataset", "unknown")),
        seed=int(claim.get("seed") or 0),
        config_hash=str(claim.get("config_hash")),
        status="unfinished",
        error="no result.json: the run has not ended; go on with --resume=True",
    )


def config_of(folder: Path) -> dict[str, Any]:
    """The run's effective configuration; empty if the file is not there."""
    path = folder / "config.yaml"
    return yamls.read_mapping(path) if path.exists() else {}
