"""Jobs that train nothing: what a worker would find is planted, and what it does on the way."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from recbole_fair import storage
from recbole_fair.errors import TrainingError
from recbole_fair.jobs.job import Job
from recbole_fair.rundir.result import Result, finished

SECRET = 777.125  # added to every test figure, so that one that leaks is known at once


class PlantedJob(Job):
    """Its validation figure is its learning rate; on test the order is the other way round."""

    @property
    def x(self) -> float:
        return float(self.keys["learning_rate"])

    def folder(self) -> Path:
        return Path(self.root) / f"planted-{self.x}"

    def run(self, folder: Path, on_epoch: Any = None) -> Result:
        if finished(folder):
            return Result.read(folder)
        self.happens(folder, on_epoch)
        result = Result("MF", None, "toy", 2020, "planted", run_dir=str(folder))
        result.valid = {"ndcg@5": self.x, "cv@5[pop]": self.x**2}
        result.test = {"ndcg@5": SECRET - self.x, "cv@5[pop]": SECRET + self.x}
        result.data = {"split": "planted"}
        result.save(folder)
        return result

    def happens(self, folder: Path, on_epoch: Any) -> None:
        """Nothing here."""


class FailingJob(PlantedJob):
    """Breaks down above .5."""

    def happens(self, folder: Path, on_epoch: Any) -> None:
        if self.x > 0.5:
            raise TrainingError(f"epoch 3: the training loss is nan at {self.x}")


class DyingJob(PlantedJob):
    """Its worker is gone the first time."""

    def happens(self, folder: Path, on_epoch: Any) -> None:
        if not (folder / "been-here").exists():
            storage.write_text(folder / "been-here", "")
            os._exit(9)


class StepwiseJob(PlantedJob):
    """Ten epochs, each judged, with its history kept as a run keeps it."""

    def happens(self, folder: Path, on_epoch: Any) -> None:
        for epoch in range(10):
            if on_epoch:
                on_epoch(epoch, self.x * (epoch + 1) / 10)
            time.sleep(0.05)
        rows = "".join(f"{epoch},valid ndcg@5,{self.x * (epoch + 1) / 10}\n" for epoch in range(10))
        storage.write_text(folder / "history.csv", f"epoch,metric,value\n{rows}")
