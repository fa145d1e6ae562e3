"""Many runs, as many at once as there is room for; what several of them need is made first and once.

A run that fails stops nobody but those that stand on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from recbole_fair.errors import UsageError
from recbole_fair.jobs import cluster, prerequisites
from recbole_fair.jobs.cluster import LOST_WORKERS, Node, Share, settle
from recbole_fair.jobs.job import Job, reason


@dataclass(frozen=True)
class Outcome:
    """Where a run lies, or why there is none."""

    run_dir: str | None = None
    error: str | None = None
    seconds: float | None = None


Starts = Callable[[int], None]
Ends = Callable[[int, Outcome], None]
Work = Callable[[Sequence[Job], Starts, Ends], None]  # does jobs and calls back with their indices


@dataclass(frozen=True)
class Room:
    """How many runs may work at once, and where."""

    max_concurrent: int | None = None
    gpus_per_trial: float | None = None
    ray_address: str | None = None

    def one_at_a_time(self, runs: int) -> bool:
        """Whether only one run fits at a time: this process then does them all, without Ray."""
        return self.ray_address is None and 1 in (runs, self.max_concurrent, os.cpu_count())

    def share(self, nodes: Sequence[Node], runs: int) -> Share:
        """What each of so many runs gets of these machines."""
        return cluster.share_of(nodes, runs, self.max_concurrent, self.gpus_per_trial)


@dataclass
class Obstacles:
    """Why bases (by folder) and item vectors (by the encoder's settings) could not be made."""

    bases: dict[Path, str] = field(default_factory=dict)
    encoders: dict[str, str] = field(default_factory=dict)

    def before(self, job: Job) -> str | None:
        """Why this job cannot be done; None where nothing is in its way."""
        return self.encoders.get(prerequisites.encoding_of(job)) or prerequisites.obstacle(job, self.bases)

    def refuse_all(self) -> None:
        """Refuse with the first of them, if there is any."""
        for why in (*self.encoders.values(), *self.bases.values()):
            raise UsageError(why)


def _unnoticed(index: int) -> None:
    """Nobody wants to know when these jobs start."""


def run_all(jobs: Sequence[Job], room: Room, ends: Ends, starts: Starts = _unnoticed) -> None:
    """Do all jobs, the runs that they stand on first: here where there is room for one at a time, else through Ray.

    `starts(index)` and `ends(index, outcome)` are called once for each job, in this process.
    """
    if not jobs:
        return
    if room.one_at_a_time(len(jobs)):
        _upon(make_bases(prerequisites.layers(jobs), sequentially, Obstacles()), jobs, sequentially, starts, ends)
        return
    with cluster.started(room.ray_address) as nodes:
        work = with_ray(nodes, room)
        _upon(prepare(prerequisites.layers(jobs), jobs, nodes, room), jobs, work, starts, ends)


def prepare(layers: Sequence[Sequence[Job]], jobs: Sequence[Job], nodes: Sequence[Node], room: Room) -> Obstacles:
    """Through Ray: the item vectors that these jobs and their bases read, and then the bases, layer by layer."""
    everyone = [*(job for layer in layers for job in layer), *jobs]
    obstacles = Obstacles(encoders=prerequisites.encode(everyone, room.share(nodes, 1)))
    return make_bases(layers, with_ray(nodes, room), obstacles)


def make_bases(layers: Sequence[Sequence[Job]], work: Work, obstacles: Obstacles) -> Obstacles:
    """Do the jobs of all layers; those that fail are obstacles to what stands on them."""
    for layer in layers:

        def ends(index: int, outcome: Outcome, layer: Sequence[Job] = layer) -> None:
            if outcome.error:
                obstacles.bases[layer[index].folder()] = outcome.error

        _upon(obstacles, layer, work, _unnoticed, ends)
    return obstacles


def _upon(obstacles: Obstacles, jobs: Sequence[Job], work: Work, starts: Starts, ends: Ends) -> None:
    """Do the jobs that have no obstacle; the others end at once, with the reason."""
    ready = []
    for index, job in enumerate(jobs):
        if why := obstacles.before(job):
            starts(index)
            ends(index, Outcome(error=why))
        else:
            ready.append(index)
    work([jobs[index] for index in ready], lambda n: starts(ready[n]), lambda n, outcome: ends(ready[n], outcome))


def run_here(job: Job) -> Outcome:
    """Do one job in this process."""
    start = perf_counter()
    try:
        run_dir = job.run_when_free().run_dir
    except Exception as error:
        return Outcome(error=reason(error), seconds=perf_counter() - start)
    return Outcome(run_dir=run_dir, seconds=perf_counter() - start)


def sequentially(jobs: Sequence[Job], starts: Starts, ends: Ends) -> None:
    """Do the jobs one after another, in this process."""
    for index, job in enumerate(jobs):
        starts(index)
        ends(index, run_here(job))


def with_ray(nodes: Sequence[Node], room: Room) -> Work:
    """Through Ray, each in a process of its own and with its share of the nodes."""

    def work(jobs: Sequence[Job], starts: Starts, ends: Ends) -> None:
        if jobs:
            _at_once(jobs, room.share(nodes, len(jobs)), starts, ends)

    return work


def _at_once(jobs: Sequence[Job], share: Share, starts: Starts, ends: Ends) -> None:
    from recbole_fair.jobs.rays import ray

    task = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, max_calls=1, max_retries=LOST_WORKERS)(_settled)
    waiting: Iterator[tuple[int, Job]] = iter(enumerate(jobs))
    working: dict[Any, int] = {}
    while True:
        for index, job in islice(waiting, share.at_once - len(working)):
            starts(index)
            working[task.remote(job, share)] = index
        if not working:
            return
        (ended, *_), _ = ray.wait(list(working), num_returns=1)
        ends(working.pop(ended), _outcome(ended))


def _settled(job: Job, share: Share) -> Outcome:
    """In a worker: do one job with its share of the machine."""
    try:
        settle(job.cwd, share)
    except Exception as error:
        return Outcome(error=reason(error))
    return run_here(job)


def _outcome(ended: Any) -> Outcome:
    """The answer of a task; one whose worker died has none of its own."""
    from recbole_fair.jobs.rays import ray

    try:
        answer: Outcome = ray.get(ended)
    except ray.exceptions.RayError as error:
        return Outcome(error=f"its worker was lost {LOST_WORKERS + 1} times: {type(error).__name__}")
    return answer
