"""A search whose trials are all drawn before the first one starts: ordinary jobs, without Ray Tune."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from recbole_fair.errors import UsageError
from recbole_fair.jobs import many
from recbole_fair.jobs.job import Job
from recbole_fair.jobs.many import Outcome
from recbole_fair.rundir.result import Result
from recbole_fair.tune.planning import SearchPlan
from recbole_fair.tune.record import Record
from recbole_fair.tune.trial import validation_only


def run_trials(plan: SearchPlan, record: Record) -> None:
    """Run all trials that are not finished; the record holds what became of them."""
    values = plan.drawn()
    jobs = [plan.job.over(each) for each in values]
    missing = [
        number for number, job in enumerate(jobs) if not _enter_finished(plan, record, number, values[number], job)
    ]

    def starts(index: int) -> None:
        record.starts(missing[index], values[missing[index]])

    def ends(index: int, outcome: Outcome) -> None:
        record.ends(missing[index], **_facts(plan, outcome), seconds=outcome.seconds)

    many.run_all([jobs[number] for number in missing], plan.room, ends, starts)


def _enter_finished(plan: SearchPlan, record: Record, number: int, values: dict[str, Any], job: Job) -> bool:
    """Enter a trial's run if it is finished; False if it is not, or if its configuration is refused."""
    with suppress(UsageError):
        if (result := job.finished_result()) is not None:
            seconds = record.trials[number].seconds if number in record.trials else None
            record.enter(number, values, **_facts(plan, Outcome(run_dir=result.run_dir)), seconds=seconds)
            return True
    return False


def _facts(plan: SearchPlan, outcome: Outcome) -> dict[str, Any]:
    if outcome.run_dir is None:
        return {"status": "failed", "error": outcome.error}
    try:
        return validation_only(Result.read(Path(outcome.run_dir)), plan.objectives, plan.judged)
    except UsageError as error:
        return {"status": "failed", "error": str(error)}
