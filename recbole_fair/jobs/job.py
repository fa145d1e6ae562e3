"""One run to be done, by whichever process comes to it: what Ray carries to a worker instead of any data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from recbole_fair import bases, runner
from recbole_fair.bases import Base, Request
from recbole_fair.errors import BusyError, TrainingError, UsageError
from recbole_fair.rundir.folder import drop_resume_point, folder_for
from recbole_fair.rundir.result import Result, finished
from recbole_fair.settings import yamls
from recbole_fair.settings.config import Config
from recbole_fair.training.trainer import EpochCallback

Answer = TypeVar("Answer")
_POLL = 1.0  # seconds between two looks at a folder that another process works on


@dataclass(frozen=True)
class Job:
    """The arguments of `runner.run`; its folder is found by its hash, below `root`."""

    model: str | None
    dataset: str | None
    config_files: tuple[str, ...] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)
    root: str = "runs"
    cwd: str = field(default_factory=os.getcwd)  # relative paths mean the same to every worker

    @classmethod
    def of(cls, request: Request) -> Job:
        """The job that makes a run which others stand on."""
        return cls(request.model, request.dataset, keys=request.keys)

    def __getstate__(self) -> dict[str, Any]:
        """The arguments alone travel; a worker reads the configuration itself."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def over(self, values: Mapping[str, Any]) -> Job:
        """The same job with other values; `a.b` sets an entry of the mapping `a`."""
        keys = deepcopy(dict(self.keys))
        for key, value in values.items():
            yamls.set_dotted(keys, key, value)
        return replace(self, keys=keys)

    def without(self, keys: list[str]) -> Job:
        """The same job without some keys."""
        return replace(self, keys={key: value for key, value in self.keys.items() if key not in keys})

    @cached_property
    def config(self) -> Config:
        """The configuration that the run will have; refuses what cannot be run."""
        with runner.restoring_process_state():
            return Config(self.model, self.dataset, self.config_files, self.keys)

    @cached_property
    def bases(self) -> tuple[Base, ...]:
        """What the run stands on, whether it is made or not."""
        return bases.bases_of(self.config)

    def folder(self) -> Path:
        """The folder that this job's hash and seed name."""
        return folder_for(self.config, bases.digest_of(self.config, self.bases), Path(self.root))

    def run(self, folder: Path, on_epoch: EpochCallback | None = None) -> Result:
        """Train in this folder, go on where a killed process left it, or read what is finished."""
        keys = {**self.keys, "run_dir": str(folder), "resume": True}
        return runner.run(self.model, self.dataset, config_files=self.config_files, on_epoch=on_epoch, **keys)

    def finished_result(self) -> Result | None:
        """The result if the run is finished; a resume point that a kill left beside it is removed."""
        folder = self.folder()
        drop_resume_point(folder)
        return Result.read(folder) if finished(folder) else None

    def run_when_free(self) -> Result:
        """`run` in the folder of its own, after whoever works there is done or dead."""
        return retry_while_busy(lambda: self.run(self.folder()))


def retry_while_busy(action: Callable[[], Answer]) -> Answer:
    """The action's answer; it is tried again while another process works on its run or on one that this stands on."""
    while True:
        try:
            return action()
        except BusyError:
            time.sleep(_POLL)


def reason(error: Exception) -> str:
    """A failure in one line: the message of a refusal or a breakdown, after its type for any other error."""
    text = " ".join(str(error).split())
    return text if isinstance(error, (UsageError, TrainingError)) else f"{type(error).__name__}: {text}"
