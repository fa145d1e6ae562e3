"""The models of a comparison: each with the job it shares with all others, or with the reason why it has none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recbole_fair import registry
from recbole_fair.errors import UsageError
from recbole_fair.jobs.job import Job
from recbole_fair.settings.config import Config
from recbole_fair.tune import planning, space
from recbole_fair.tune.planning import SearchOptions, SearchPlan


@dataclass
class Entrants:
    """Jobs by model, without a seed; what is not the same for all of them is noted."""

    names: tuple[str, ...]
    jobs: dict[str, Job] = field(default_factory=dict)
    configs: dict[str, Config] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    plans: dict[str, SearchPlan] = field(default_factory=dict)  # of those that are tuned first

    def job(self, model: str, seed: int) -> Job:
        """One run of a model."""
        return self.jobs[model].over({"seed": seed})

    def refuse(self, model: str, why: str) -> None:
        """Keep a model out; the others go on."""
        self.refused[model] = why
        self.jobs.pop(model, None)

    @property
    def config(self) -> Config:
        """Any of the configurations, for what all of them share."""
        return next(iter(self.configs.values()))

    @property
    def request(self) -> dict[str, dict[str, str]]:
        """What decides a model's runs beside the seed, by model: its configuration's hash, and its search's digest."""
        hashes = {model: config.hash("") for model, config in self.configs.items()}
        return {"hashes": hashes, "searches": {model: plan.digest for model, plan in self.plans.items()}}

    def digest(self, seeds: Sequence[int]) -> str:
        """The same for a comparison that is asked for again."""
        parts = [f"{model} {each}" for by_model in self.request.values() for model, each in by_model.items()]
        parts += map(str, seeds)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def entrants(models: tuple[str, ...], shared: Job) -> Entrants:
    """Give every model the keys that it knows; a key that no model knows is refused, and so is what none can do."""
    entering, refusals = Entrants(models), []
    for model in models:
        registry.resolve(model)  # a mistyped name ends the comparison before it starts
        job = replace(shared, model=model)
        try:
            entering.configs[model] = config = job.config
        except UsageError as error:
            entering.refuse(model, str(error))
            refusals.append(error)
            continue
        entering.jobs[model] = job.without(config.unused)
        entering.notes += [f"{key}: not used by {model}" for key in config.unused]
    if not entering.jobs:
        raise refusals[0]
    unknown = set.intersection(*(set(config.unused) for config in entering.configs.values()))
    if unknown:
        raise UsageError(f"{min(unknown)}: a key of other models; none of {', '.join(entering.jobs)} reads it")
    return entering


def plan_searches(entering: Entrants, folder: Path, options: SearchOptions, seed: int) -> None:
    """Plan a search for each model, on the first seed and with as many trials as every other's."""
    plans = {model: _plan(job, entering.configs[model], folder, options, seed) for model, job in entering.jobs.items()}
    entering.plans = {model: plan for model, plan in plans.items() if plan is not None}
    budgets = {model: plan.trials for model, plan in entering.plans.items()}
    if len(set(budgets.values())) > 1:
        raise UsageError(
            f"searches={folder}: not the same number of trials for all ({budgets}); use choice, not grid_search"
        )
    entering.notes += [
        f"{model}: its search file is empty, so it runs with its defaults" for model, plan in plans.items() if not plan
    ]


def _plan(job: Job, config: Config, folder: Path, options: SearchOptions, seed: int) -> SearchPlan | None:
    path = space.find(config, folder, str(job.model))
    if path is None:
        raise UsageError(
            f"searches={folder}: no {job.model}.yaml; write one, or an empty file to run {job.model} with its defaults"
        )
    if not space.read(path):
        return None
    return planning.planned(job.over({"seed": seed}), path, options)


def seeds_of(seeds: Any, first: int) -> tuple[int, ...]:
    """`3`: that many seeds from the default one on; `[1, 7]`: these."""
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds >= 1:
        return tuple(range(first, first + seeds))
    listed = seeds if isinstance(seeds, (list, tuple)) else []
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) for seed in listed)
    if not listed or not whole or len(set(listed)) < len(listed):
        raise UsageError(f"seeds={seeds!r}: how many, as in --seeds=3, or which, as in --seeds=[1,7]")
    return tuple(listed)


def models_of(models: Any) -> tuple[str, ...]:
    """`A,B` or `[A, B]`, each once."""
    names = [
        str(name).strip() for name in (models if isinstance(models, (list, tuple)) else str(models or "").split(","))
    ]
    if not names or not all(names) or len({registry.resolve(name).name for name in names}) < len(names):
        raise UsageError(f"models={models!r}: name each model once, as in --models=MF,LightGCN")
    return tuple(names)
