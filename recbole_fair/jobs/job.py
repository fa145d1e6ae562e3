"""One run to be done, by whichever process comes to it: what Ray carries to a worker instead of any data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from recbole_fair.errors import BusyError, TrainingError, UsageError
from recbole_fair.rundir.result import Result, finished
from recbole_fair.settings import yamls

if TYPE_CHECKING:
    from recbole_fair.rundir.result import Result
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

    def over(self, values: Mapping[str, Any]) -> Job:
        """The same job with other values; `a.b` sets an entry of the mapping `a`."""
        keys = deepcopy(dict(self.keys))
        for key, value in values.items():
            yamls.set_dotted(keys, key, value)
        return replace(self, keys=keys)

    def without(self, keys: list[str]) -> Job:
        """The same job without some keys."""
        return replace(self, keys={key: value for key, value in self.keys.items() if key not in keys})

    def config(self) -> Config:
        """The configuration that the run will have; refuses what cannot be run."""
        from recbole_fair import runner
        from recbole_fair.settings.config import Config

        with runner.restoring_process_state():
            return Config(self.model, self.dataset, self.config_files, self.keys)

    def folder(self) -> Path:
        """The folder that this job's hash and seed name."""
        from recbole_fair import runner

        return runner.folder_of(
            self.model, self.dataset, config_files=self.config_files, root=Path(self.root), **self.keys
        )

    def run(self, folder: Path, on_epoch: EpochCallback | None = None) -> Result:
        """Do the job, go on where a killed process left it, or read what is finished."""
        from recbole_fair import runner

        given = {**self.keys, "run_dir": str(folder), "resume": True}
        return runner.run(self.model, self.dataset, config_files=self.config_files, on_epoch=on_epoch, **given)

    def known(self) -> Result | None:
        """What a finished run of this job says."""
        folder = self.folder()
        return Result.read(folder) if finished(folder) else None

    def done(self) -> Result:
        """`run` in the folder of its own, after whoever works there is done or dead."""
        return patiently(lambda: self.run(self.folder()))


def patiently(action: Callable[[], Answer]) -> Answer:
    """Wait for another process that works on the same run, or on the base it stands on; then find it done."""
    while True:
        try:
            return action()
        except BusyError:
            time.sleep(_POLL)


def reason(error: Exception) -> str:
    """A failure in one line: refusals and breakdowns speak for themselves, others are named."""
    text = " ".join(str(error).split())
    return text if isinstance(error, (UsageError, TrainingError)) else f"{type(error).__name__}: {text}"
