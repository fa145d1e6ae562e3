"""Item vectors made once, before many runs want them at the same time."""

from __future__ import annotations

from collections.abc import Iterable

from recbole_fair.errors import UsageError
from recbole_fair.jobs.cluster import Share, settle
from recbole_fair.jobs.job import Job, reason
from recbole_fair.settings import keys


def encode(jobs: Iterable[Job], share: Share) -> dict[str, str]:
    """Encode every corpus that these jobs read; the reasons, by `settings`, why some could not be."""
    from recbole_fair.jobs.rays import ray

    distinct = {name: job for job in jobs if (name := settings(job))}
    remote = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus)(_encode)
    refusals = {}
    for name, job in distinct.items():  # one after another: an encoder takes all the memory it can get
        if refusal := ray.get(remote.remote(job, share)):
            refusals[name] = refusal
    return refusals


def settings(job: Job) -> str:
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
