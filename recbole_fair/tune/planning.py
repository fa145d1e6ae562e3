"""A search as it was asked for, and as it will be done: everything is checked here, before anything starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from recbole_fair.data import identity
from recbole_fair.errors import UsageError
from recbole_fair.jobs.job import Job
from recbole_fair.settings import figures, yamls
from recbole_fair.settings.config import Config
from recbole_fair.tune import algorithms, objectives, space
from recbole_fair.tune.objectives import Limit, Objectives
from recbole_fair.tune.space import Space

_SAMPLES = 10  # where a space is drawn from and nobody says how often


@dataclass(frozen=True)
class How:
    """How a search or a comparison is done; none of it changes what a single run computes."""

    num_samples: int | None = None
    objectives: Mapping[str, str] | None = None
    best_under: str | None = None
    search_algorithm: str = "random"
    scheduler: str = "none"
    grace_epochs: int = 5
    max_concurrent: int | None = None
    gpus_per_trial: float | None = None
    ray_address: str | None = None

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> How:
        """Remove from a command line's options those that are meant here."""
        return cls(**{entry.name: options.pop(entry.name) for entry in fields(cls) if entry.name in options})

    def __post_init__(self) -> None:
        for name in ("num_samples", "grace_epochs", "max_concurrent"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UsageError(f"{name}={value!r}: a positive whole number")
        share = self.gpus_per_trial
        if share is not None and (not isinstance(share, (int, float)) or isinstance(share, bool) or not share >= 0):
            raise UsageError(f"gpus_per_trial={share!r}: a number of GPUs, as 0.5, or 0 for none")
        algorithms.check_names(self.search_algorithm, self.scheduler)


@dataclass(frozen=True)
class Plan:
    """What a search does. `judged` is the figure of every epoch, `direction` its better end."""

    job: Job
    space: Space
    objectives: Objectives
    limit: Limit | None
    judged: str
    direction: str
    seed: int
    epochs: int
    num_samples: int
    how: How
    name: str  # of the model
    digest: str

    @property
    def gpus(self) -> float | None:
        """GPUs of one trial; None leaves it to what there is."""
        return gpus_each(self.how, self.job.config())

    @property
    def trials(self) -> int:
        """How many trials there will be."""
        return self.num_samples * space.grid_size(self.space)

    def about(self) -> dict[str, Any]:
        """What tune.json says of the search itself."""
        job = self.job
        given = {"config_files": list(job.config_files), "keys": dict(job.keys)}
        drawn = {key: {domain.word: list(domain.arguments)} for key, domain in self.space.items()}
        wanted = {"objectives": dict(self.objectives), "best_under": str(self.limit) if self.limit else None}
        how = {name: value for name, value in asdict(self.how).items() if name not in wanted}
        about = {"model": self.name, "dataset": job.dataset, "seed": self.seed, "search": self.digest}
        return {**about, **given, "space": drawn, **wanted, **how, "num_samples": self.num_samples}

    def encoded(self, names: frozenset[str]) -> Iterator[Job]:
        """The jobs that differ in what decides their item vectors."""
        return (self.job.over(values) for values in space.combinations(self.space, names))


def planned(job: Job, over: str | Path | Mapping[str, Any] | None, how: How) -> Plan:
    """Read the space and the objectives, and refuse whatever some trial would stumble over."""
    config = job.config()
    if config["load"]:
        raise UsageError(f"load={config['load']}: judges trained weights; there is nothing to search over")
    domains, where = _space(config, over)
    if how.search_algorithm == "grid":
        domains = space.as_grid(domains, where)
    samples = _samples(domains, how, where)
    space.check(domains, job, where)
    wanted = objectives.parse(how.objectives, config)
    for figure in wanted:
        figures.check_reported(config, figure)
    return Plan(
        job=job,
        space=domains,
        objectives=wanted,
        limit=objectives.parse_limit(how.best_under, wanted),
        judged=objectives.judged_by(config),
        direction=objectives.direction(config),
        seed=config["seed"],
        epochs=_epochs(config, domains),
        num_samples=samples,
        how=how,
        name=config.name,
        digest=_digest(config, domains, how.search_algorithm),
    )


def gpus_each(how: How, config: Config) -> float | None:
    """`gpus_per_trial`; none for runs that are told to leave GPUs alone."""
    return 0 if how.gpus_per_trial is None and not config["use_gpu"] else how.gpus_per_trial


def _space(config: Config, over: str | Path | Mapping[str, Any] | None) -> tuple[Space, str]:
    """The domains and what to call their source: a mapping, a file, or the packaged file of the model."""
    if isinstance(over, Mapping):
        domains, where = space.parse(over, "search"), "search"
    else:
        path = space.find(config) if over is None else Path(over)
        if path is None:
            raise UsageError(f"search: there is no ready search file for {config.name}; write one (docs/tune.md)")
        domains, where = space.read(path), str(path)
    if not domains:
        raise UsageError(f"{where}: names no key to search over, as in `learning_rate: {{loguniform: [1e-4, 1e-2]}}`")
    return domains, where


def _samples(domains: Space, how: How, where: str) -> int:
    grid_only = all(domain.word == "grid_search" for domain in domains.values())
    if how.search_algorithm in algorithms.LEARNING and space.grid_size(domains) > 1:
        raise UsageError(f"{where}: {how.search_algorithm} draws by itself; write choice instead of grid_search")
    if grid_only and (how.num_samples or 1) > 1:
        raise UsageError(
            f"num_samples={how.num_samples}: {where} is a grid, one trial a combination; leave num_samples out"
        )
    return how.num_samples or (1 if grid_only else _SAMPLES)


def _epochs(config: Config, domains: Space) -> int:
    searched = domains["epochs"].probes() if "epochs" in domains else []
    return int(max([config["epochs"], *searched]))


def _digest(config: Config, domains: Space, algorithm: str) -> str:
    """The same for a search that is asked for again, whatever its length, its objectives and its machines.

    Another algorithm draws other trials.
    """
    drawn = {key: [domain.word, list(domain.arguments)] for key, domain in domains.items()}
    fingerprint = identity.fingerprint(config.folder, config["dataset"])
    text = json.dumps([config.hash(fingerprint), config["seed"], config["dataset"], drawn, algorithm], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def as_property_file(plan: Plan, values: Mapping[str, Any]) -> str:
    """A property file that names the chosen run: `recbole-fair --config_files=best.yaml`."""
    from recbole_fair.settings.config import merge

    merged: dict[str, Any] = {}
    for file in plan.job.config_files:
        merge(merged, yamls.read_mapping(Path(file)))
    merge(merged, plan.job.over(values).keys)
    return yamls.dump({**merged, "model": plan.name, "dataset": plan.job.dataset, "seed": plan.seed})
