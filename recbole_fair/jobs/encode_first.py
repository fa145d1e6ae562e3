"""Item vectors made once, before many runs want them at the same time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from recbole_fair.errors import UsageError
from recbole_fair.jobs.cluster import Share, settle
from recbole_fair.jobs.job import Job, reason

# What decides which vectors an item has.
ENCODER_KEYS = frozenset({"item_encoder", "encoder_pooling", "encoder_revision", "encoder_width", "item_text"})


def fill(jobs: Iterable[Job], share: Share) -> None:
    """Encode every corpus that these jobs read; whoever cannot read its items is refused before any run starts."""
    from recbole_fair.jobs.rays import ray

    distinct = {repr(_encoder_settings(job)): job for job in jobs if job.config()["item_encoder"] is not None}
    remote = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus)(_encode)
    for job in distinct.values():  # one after another: an encoder takes all the memory it can get
        if refusal := ray.get(remote.remote(job, share)):
            raise UsageError(refusal)


def _encoder_settings(job: Job) -> list[Any]:
    config = job.config()
    return [config[key] for key in sorted(ENCODER_KEYS)]


def _encode(job: Job, share: Share) -> str | None:
    """In a worker: what stops the item vectors from being made, or None once they lie in the cache."""
    from recbole_fair.data import load
    from recbole_fair.encoding import items
    from recbole_fair.rundir import logs

    try:
        settle(job.cwd, share)
        config = job.config()
        with logs.host_warnings_silenced():
            items.for_items(config, load.load(config), items.encoder_of(config), False)
    except Exception as error:
        return reason(error)
    return None
