"""The function that Ray Tune calls for each trial. What it returns and reports is of validation alone.

RecBole's own objective hands test figures to the scheduler (trap 26). Here they stay in the trial's run directory:
`_crossing` builds what Ray sees from `result.valid`, and no other figure of a result is read.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from math import nan
from pathlib import Path
from time import perf_counter
from typing import Any

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.jobs.cluster import Share, settle
from recbole_fair.jobs.job import Job, patiently, reason
from recbole_fair.rundir.result import Result, finished
from recbole_fair.tune.objectives import Objectives, magnitude

# What a scheduler reads at every judged epoch: the figure, under one name, and how many epochs it took.
JUDGED, EPOCHS = "judged", "epochs"
Tell = Callable[[dict[str, Any]], None]


def trial(
    values: Mapping[str, Any], job: Job, share: Share, objectives: Objectives, judged: str, by_epoch: bool
) -> dict[str, Any]:
    """Run the job with these values. A run that fails is an answer too: it stops nobody else and is not repeated."""
    from recbole_fair.jobs.rays import report

    start = perf_counter()
    try:
        settle(job.cwd, share)
        own = job.over(values)
        answer = _crossing(_followed(own, judged, report) if by_epoch else own.done(), objectives, judged)
    except Exception as error:
        answer = {"status": "failed", "error": reason(error), **dict.fromkeys(objectives, nan), JUDGED: nan}
    return {**answer, "seconds": perf_counter() - start}


def _crossing(result: Result, objectives: Objectives, judged: str) -> dict[str, Any]:
    """All that leaves the worker: validation figures, and where the run lies."""
    valid = dict(result.valid)
    figures = {metric: _compared(metric, valid) for metric in objectives}
    scheduled = {JUDGED: valid.get(judged, nan), EPOCHS: epochs_judged(Path(result.run_dir), judged)}
    about = {
        "status": "ok",
        "error": None,
        "valid": valid,
        "run_dir": result.run_dir,
        "split": result.data.get("split"),
    }
    return {**about, **scheduled, **figures}


def _compared(metric: str, valid: Mapping[str, float | None]) -> float:
    if metric not in valid:
        raise UsageError(f"objective {metric}: no validation figure of that name; there are {', '.join(valid)}")
    value = valid[metric]
    if value is None:
        raise UsageError(f"objective {metric}: undefined on validation")
    return magnitude(metric, value)


def _followed(job: Job, judged: str, report: Tell) -> Result:
    """Tell the scheduler of every judged epoch, those before a kill included; it may stop the trial at any."""
    folder = patiently(job.folder)

    def tell(epoch: int, score: float) -> None:
        report({JUDGED: float(score), EPOCHS: epoch + 1, "run_dir": str(folder)})

    if not finished(folder):
        for epoch, score in judged_epochs(folder, judged):
            tell(epoch, score)
    return patiently(lambda: job.run(folder, tell))


def judged_epochs(folder: Path, judged: str) -> list[tuple[int, float]]:
    """(epoch, validation figure) of what has been trained in a run's folder so far."""
    return [(epoch, value) for epoch, name, value in _history(folder) if name == f"valid {judged}"]


def epochs_judged(folder: Path, judged: str) -> int:
    """How many epochs a finished run trained before its last judgement."""
    return max((epoch + 1 for epoch, _ in judged_epochs(folder, judged)), default=0)


def _history(folder: Path) -> list[tuple[int, str, float]]:
    if (folder / "history.csv").exists():
        with (folder / "history.csv").open(newline="", encoding="utf-8") as stream:
            return [(int(row["epoch"]), row["metric"], float(row["value"])) for row in csv.DictReader(stream)]
    if (folder / "resume.safetensors").exists():
        return [tuple(row) for row in storage.read_sealed(folder / "resume.safetensors")[1]["history"]]
    return []
