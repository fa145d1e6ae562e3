"""What a search learns of its trials: of validation alone.

RecBole's own objective hands test figures to the scheduler (trap 26). Here they stay in the trial's run directory:
`validation_only` reads no other figure of a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import nan
from pathlib import Path
from time import perf_counter
from typing import Any

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.jobs.cluster import Share, settle
from recbole_fair.jobs.job import Job, reason, retry_while_busy
from recbole_fair.rundir.folder import RESUME
from recbole_fair.rundir.history import History, read_history
from recbole_fair.rundir.result import Result, finished
from recbole_fair.tune.objectives import Objectives

# What a scheduler reads at every judged epoch: the figure, under one name, and how many epochs it took.
JUDGED, EPOCHS = "judged", "epochs"
Report = Callable[[dict[str, Any]], None]


def validation_only(result: Result, objectives: Objectives, judged: str) -> dict[str, Any]:
    """The facts of a trial's row; a run without a figure that is wanted is refused."""
    for metric in objectives:
        if metric not in result.valid:
            raise UsageError(
                f"objective {metric}: no validation figure of that name; there are {', '.join(result.valid)}"
            )
        if result.valid[metric] is None:
            raise UsageError(f"objective {metric}: undefined on validation")
    return {
        "status": "ok",
        "error": None,
        "valid": dict(result.valid),
        "run_dir": result.run_dir,
        "split": result.data.get("split"),
        EPOCHS: _epochs_trained(Path(result.run_dir), judged),
    }


def trial(
    values: Mapping[str, Any], job: Job, share: Share, objectives: Objectives, judged: str, by_epoch: bool
) -> dict[str, Any]:
    """Ray Tune calls this for each trial. A run that fails is an answer too: it stops nobody else."""
    from recbole_fair.jobs.rays import report

    start = perf_counter()
    try:
        settle(job.cwd, share)
        own = job.over(values)
        result = _run_reporting(own, judged, report) if by_epoch else own.run_when_free()
        facts = validation_only(result, objectives, judged)
        figures = {metric: facts["valid"][metric] for metric in objectives}
        answer = {**facts, **figures, JUDGED: facts["valid"].get(judged, nan)}
    except Exception as error:
        answer = {"status": "failed", "error": reason(error), **dict.fromkeys(objectives, nan), JUDGED: nan}
    return {**answer, "seconds": perf_counter() - start}


def _run_reporting(job: Job, judged: str, report: Report) -> Result:
    """Report every judged epoch to the scheduler, those before a kill included; it may stop the trial at any."""
    folder = retry_while_busy(job.folder)

    def on_epoch(epoch: int, score: float) -> None:
        report({JUDGED: float(score), EPOCHS: epoch + 1, "run_dir": str(folder)})

    if not finished(folder):
        for epoch, score in _judged_epochs(folder, judged):
            on_epoch(epoch, score)
    return retry_while_busy(lambda: job.run(folder, on_epoch))


def _judged_epochs(folder: Path, judged: str) -> list[tuple[int, float]]:
    """(epoch, validation figure) of what has been trained in a run's folder so far."""
    return [(epoch, value) for epoch, name, value in _history(folder) if name == f"valid {judged}"]


def _epochs_trained(folder: Path, judged: str) -> int:
    """How many epochs a finished run trained before its last judgement."""
    return max((epoch + 1 for epoch, _ in _judged_epochs(folder, judged)), default=0)


def _history(folder: Path) -> History:
    if history := read_history(folder):
        return history
    if (folder / RESUME).exists():
        return [tuple(row) for row in storage.read_sealed(folder / RESUME)[1]["history"]]
    return []
