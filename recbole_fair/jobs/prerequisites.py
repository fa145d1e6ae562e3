"""What many jobs need and is made once, before any of them starts: item vectors, and the runs that they stand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from recbole_fair.bases import Base, Request
from recbole_fair.errors import UsageError
from recbole_fair.jobs.cluster import Share, settle
from recbole_fair.jobs.job import Job, reason
from recbole_fair.rundir.result import finished
from recbole_fair.settings import keys

# --- item vectors


def encode(jobs: Iterable[Job], share: Share) -> dict[str, str]:
    """Encode every corpus that these jobs read; the reasons, by `encoding_of`, why some could not be."""
    from recbole_fair.jobs.rays import ray

    distinct = {name: job for job in jobs if (name := encoding_of(job))}
    remote = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus)(_encode)
    refusals = {}
    for name, job in distinct.items():  # one after another: an encoder takes all the memory it can get
        if refusal := ray.get(remote.remote(job, share)):
            refusals[name] = refusal
    return refusals


def encoding_of(job: Job) -> str:
    """What decides the item vectors of a job, as text; empty where it reads none, or is refused anyway."""
    try:
        config = job.config
    except UsageError:
        return ""
    return repr([config[key] for key in sorted(keys.marked("encoder"))]) if config["item_encoder"] is not None else ""


def _encode(job: Job, share: Share) -> str | None:
    """In a worker: what stops the item vectors from being made, or None once they lie in the cache."""
    from recbole_fair.data import load
    from recbole_fair.encoding import items
    from recbole_fair.rundir import logs

    try:
        settle(job.cwd, share)
        with logs.host_warnings_silenced():
            items.for_items(job.config, load.load(job.config), items.encoder_of(job.config), False)
    except Exception as error:
        return reason(error)
    return None


# --- bases


def layers(jobs: Iterable[Job]) -> list[list[Job]]:
    """The unfinished runs that these jobs stand on, each once; a layer stands on nothing but those before it."""
    heights: dict[Path, tuple[int, Job]] = {}
    for job in jobs:
        with suppress(UsageError):  # a job that cannot be says so itself
            _height(job.bases, heights)
    top = max((height for height, _ in heights.values()), default=0)
    return [[job for height, job in heights.values() if height == layer] for layer in range(1, top + 1)]


def _height(bases: Sequence[Base], heights: dict[Path, tuple[int, Job]]) -> int:
    """The longest chain of unfinished runs among these bases and theirs; enters each in `heights` with its own."""
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
    """The layers of a job's unfinished bases, where all of its variants stand on the same ones; else none."""
    own = {base.folder for base in job.bases}
    same = all({base.folder for base in variant.bases} == own for variant in variants)
    return layers([job]) if same else []
