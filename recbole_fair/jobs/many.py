"""Many runs, as many at once as there is room for; one that fails stops nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_fair.jobs.cluster import LOST_WORKERS, Share, settle
from recbole_fair.jobs.job import Job, reason


@dataclass(frozen=True)
class Outcome:
    """Where a run lies, or why there is none."""

    run_dir: str | None = None
    error: str | None = None


Done = Callable[[int, Outcome], None]


def here(job: Job) -> Outcome:
    """Do one job in this process."""
    try:
        return Outcome(run_dir=job.done().run_dir)
    except Exception as error:
        return Outcome(error=reason(error))


def in_turn(jobs: Sequence[Job], done: Done) -> None:
    """One after another, in this process."""
    for place, job in enumerate(jobs):
        done(place, here(job))


def at_once(jobs: Sequence[Job], share: Share, done: Done) -> None:
    """Through Ray, each in a process of its own; `done(place, outcome)` is called as they end."""
    from recbole_fair.jobs.rays import ray

    task = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, max_calls=1, max_retries=LOST_WORKERS)(_settled)
    waiting: Iterator[tuple[int, Job]] = iter(enumerate(jobs))
    working: dict[Any, int] = {}
    while True:
        for place, job in _some(waiting, share.at_once - len(working)):
            working[task.remote(job, share)] = place
        if not working:
            return
        (ended, *_), _ = ray.wait(list(working), num_returns=1)
        done(working.pop(ended), _outcome(ended))


def _some(rest: Iterator[tuple[int, Job]], count: int) -> Iterator[tuple[int, Job]]:
    yield from (entry for _, entry in zip(range(count), rest, strict=False))


def _settled(job: Job, share: Share) -> Outcome:
    try:
        settle(job.cwd, share)
    except Exception as error:
        return Outcome(error=reason(error))
    return here(job)


def _outcome(ended: Any) -> Outcome:
    """A worker that died has no answer of its own."""
    from recbole_fair.jobs.rays import ray

    try:
        return ray.get(ended)
    except ray.exceptions.RayError as error:
        return Outcome(error=f"its worker died {LOST_WORKERS + 1} times: {type(error).__name__}")
