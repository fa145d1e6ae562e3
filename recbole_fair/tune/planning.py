"""A search as it was asked for, and as it will be done: everything is checked here, before anything starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from recbole_fair.data import identity
from recbole_fair.errors import UsageError
from recbole_fair.jobs.job import Job
from recbole_fair.jobs.many import Room
from recbole_fair.settings import figures, keys, yamls
from recbole_fair.settings.config import Config, merge
from recbole_fair.tune import algorithms, objectives, space
from recbole_fair.tune.objectives import Limit, Objectives
from recbole_fair.tune.space import Space

_SAMPLES = 10  # where a space is drawn from and nobody says how often


@dataclass(frozen=True)
class SearchOptions:
    """How a search or a comparison is done; none of it changes what a single run computes."""

    num_samples: int | None = None
    objectives: Mapping[str, str] | None = None
    constraint: str | None = None
    search_algorithm: str = "random"
    scheduler: str = "none"
    grace_epochs: int = 5
    max_concurrent: int | None = None
    gpus_per_trial: float | None = None
    ray_address: str | None = None

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> SearchOptions:
        """Remove from a command line's options those that are meant here."""
        return cls(**{entry.name: options.pop(entry.name) for entry in fields(cls) if entry.name in options})

    def __post_init__(self) -> None:
        for name in ("num_samples", "grace_epochs", "max_concurrent"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UsageError(f"{name}={value!r}: must be a positive integer")
        share = self.gpus_per_trial
        if share is not None and (not isinstance(share, (int, float)) or isinstance(share, bool) or not share >= 0):
            raise UsageError(f"gpus_per_trial={share!r}: must be a number of GPUs, as 0.5, or 0 for none")
        algorithms.check_names(self.search_algorithm, self.scheduler)


@dataclass(frozen=True)
class SearchPlan:
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
    options: SearchOptions
    name: str  # of the model
    digest: str

    @property
    def room(self) -> Room:
        """How many trials run at once, and where."""
        return room(self.options, self.job.config)

    @property
    def learns(self) -> bool:
        """Whether figures of earlier trials or epochs decide what is run next: Ray Tune then leads the search."""
        return self.options.search_algorithm in algorithms.LEARNING or self.options.scheduler != "none"

    @property
    def trials(self) -> int:
        """How many trials there will be."""
        return self.num_samples * space.grid_size(self.space)

    def about(self) -> dict[str, Any]:
        """What tune.json says of the search itself."""
        job = self.job
        request = {"config_files": list(job.config_files), "keys": dict(job.keys)}
        drawn = {key: {domain.word: list(domain.arguments)} for key, domain in self.space.items()}
        wanted = {"objectives": dict(self.objectives), "constraint": str(self.limit) if self.limit else None}
        others = {name: value for name, value in asdict(self.options).items() if name not in wanted}
        about = {"model": self.name, "dataset": job.dataset, "seed": self.seed, "search": self.digest}
        return {**about, **request, "space": drawn, **wanted, **others, "num_samples": self.num_samples}

    def drawn(self) -> list[dict[str, Any]]:
        """The values of every trial, where none depends on the figures of another."""
        return space.drawn(self.space, self.seed, self.num_samples)

    def encoders(self) -> list[Job]:
        """Jobs that differ in what decides their item vectors."""
        return [self.job.over(values) for values in space.combinations(self.space, keys.marked("encoder"))]

    def probes(self) -> list[Job]:
        """Jobs at the ends of every domain, one key changed at a time."""
        return [self.job.over({key: value}) for key, domain in self.space.items() for value in domain.probes()]


def planned(job: Job, over: str | Path | Mapping[str, Any] | None, options: SearchOptions) -> SearchPlan:
    """Read the space and the objectives, and refuse whatever some trial would stumble over."""
    config = job.config
    if config["load"]:
        raise UsageError(f"load={config['load']}: judges trained weights; there is nothing to search over")
    domains, where = _space(config, over)
    if options.search_algorithm == "grid":
        domains = space.as_grid(domains, where)
    samples = _samples(domains, options, where)
    space.check(domains, job, where)
    wanted = objectives.parse(options.objectives, config)
    for figure in wanted:
        figures.check_reported(config, figure)
    return SearchPlan(
        job=job,
        space=domains,
        objectives=wanted,
        limit=objectives.parse_limit(options.constraint, wanted),
        judged=objectives.judged_by(config),
        direction=objectives.direction(config),
        seed=config["seed"],
        epochs=_epochs(config, domains),
        num_samples=samples,
        options=options,
        name=config.name,
        digest=_digest(config, domains, options.search_algorithm),
    )


def room(options: SearchOptions, config: Config) -> Room:
    """How many runs of this configuration work at once; runs that are told to leave GPUs alone get none."""
    gpus = 0 if options.gpus_per_trial is None and not config["use_gpu"] else options.gpus_per_trial
    return Room(options.max_concurrent, gpus, options.ray_address)


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


def _samples(domains: Space, options: SearchOptions, where: str) -> int:
    grid_only = all(domain.word == "grid_search" for domain in domains.values())
    if options.search_algorithm in algorithms.LEARNING and space.grid_size(domains) > 1:
        raise UsageError(f"{where}: {options.search_algorithm} draws by itself; write choice instead of grid_search")
    if grid_only and (options.num_samples or 1) > 1:
        raise UsageError(
            f"num_samples={options.num_samples}: {where} is a grid, one trial a combination; leave num_samples out"
        )
    return options.num_samples or (1 if grid_only else _SAMPLES)


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


def as_property_file(plan: SearchPlan, values: Mapping[str, Any]) -> str:
    """A property file that names the chosen run: `recbole-fair --config_files=best.yaml`."""
    merged: dict[str, Any] = {}
    for file in plan.job.config_files:
        merge(merged, yamls.read_mapping(Path(file)))
    merge(merged, plan.job.over(values).keys)
    return yamls.dump({**merged, "model": plan.name, "dataset": plan.job.dataset, "seed": plan.seed})
