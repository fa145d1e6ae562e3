"""The runs that many jobs stand on, made once before any job wants them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from recbole_fair.bases import Base, Request
from recbole_fair.errors import UsageError
from recbole_fair.jobs.job import Job
from recbole_fair.rundir.result import finished


def layers(jobs: Iterable[Job]) -> list[list[Job]]:
    """The missing runs that these jobs stand on, each once; a layer stands on nothing but those before it."""
    heights: dict[Path, tuple[int, Job]] = {}
    for job in jobs:
        with suppress(UsageError):  # a job that cannot be says so itself
            _height(job.bases, heights)
    top = max((height for height, _ in heights.values()), default=0)
    return [[job for height, job in heights.values() if height == layer] for layer in range(1, top + 1)]


def _height(bases: Sequence[Base], heights: dict[Path, tuple[int, Job]]) -> int:
    """How many missing runs lie one on the other beneath; all of them are entered with their own height."""
    highest = 0
    for base in bases:
        if isinstance(base, Request) and not finished(base.folder):
            height = 1 + _height(base.bases, heights)
            heights[base.folder] = height, Job.of(base)
            highest = max(highest, height)
    return highest


def obstacle(job: Job, failures: Mapping[Path, str]) -> str | None:
    """The base that this job stands on and that could not be made, and why; None where there is none."""
    try:
        return next((f"{base}: {failures[base.folder]}" for base in job.bases if base.folder in failures), None)
    except UsageError:
        return None


def shared(job: Job, variants: Iterable[Job]) -> list[list[Job]]:
    """The missing bases of a job, where all of its variants stand on the same ones."""
    own = {base.folder for base in job.bases}
    same = all({base.folder for base in variant.bases} == own for variant in variants)
    return layers([job]) if same else []
