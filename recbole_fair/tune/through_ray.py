"""One search through Ray Tune: its trials drawn, run and written down."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_fair.jobs import many, prerequisites
from recbole_fair.jobs.cluster import LOST_WORKERS, Node, Share
from recbole_fair.jobs.rays import FailureConfig, RunConfig, tune
from recbole_fair.tune import algorithms
from recbole_fair.tune.planning import SearchPlan
from recbole_fair.tune.record import Record
from recbole_fair.tune.trial import EPOCHS, JUDGED, trial


class Watcher(tune.Callback):
    """Ray's events, as rows of the record."""

    def __init__(self, record: Record, judged: str) -> None:
        self.record, self.judged = record, judged
        self.numbers: dict[str, int] = {}

    def number(self, trials: list[Any], trial: Any) -> int:
        """A trial's place in the order of drawing; Ray moves one whose machine went away to the end of its list."""
        for other in trials:
            self.numbers.setdefault(other.trial_id, len(self.numbers))
        return self.numbers[trial.trial_id]

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A worker takes the trial."""
        self.record.starts(self.number(trials, trial), trial.config)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """The trial gave its answer, or the scheduler stopped it on the way."""
        last = trial.last_result
        if "status" in last:
            facts = ("status", "error", "valid", "run_dir", "split", "seconds", EPOCHS)
            self.record.ends(self.number(trials, trial), **{name: last[name] for name in facts if name in last})
            return
        about = {"run_dir": last.get("run_dir"), "epochs": last.get(EPOCHS), "seconds": last.get("time_total_s")}
        self.record.ends(self.number(trials, trial), status="stopped", valid={self.judged: last.get(JUDGED)}, **about)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """The worker itself was lost, again and again; what Ray says of it is the end of a long text."""
        lines = Path(trial.error_file).read_text("utf-8", "replace").split("\n") if trial.error_file else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "Ray says no more")
        error = f"its worker was lost {LOST_WORKERS + 1} times: {last[:300]}"
        self.record.ends(self.number(trials, trial), status="failed", error=error)


def run_trials(plan: SearchPlan, nodes: Sequence[Node], record: Record) -> None:
    """Make what all trials need, and run them; the record holds what became of them."""
    layers = prerequisites.shared(plan.job, plan.probes())
    many.prepare(layers, plan.encoders(), nodes, plan.room).refuse_all()
    _tune(plan, plan.room.share(nodes, plan.trials), record)


def _tune(plan: SearchPlan, share: Share, record: Record) -> None:
    storage = record.folder / ".ray"  # Ray's own notes, of no use afterwards
    shutil.rmtree(storage, ignore_errors=True)
    former = [row.values for row in record.rows]
    search = algorithms.searcher(plan.options.search_algorithm, plan.objectives, plan.seed, share.at_once, former)
    tuner = tune.Tuner(
        _trainable(plan, share),
        param_space={key: domain.for_ray() for key, domain in plan.space.items()},
        tune_config=tune.TuneConfig(
            num_samples=plan.num_samples,
            search_alg=search,
            scheduler=algorithms.stopper(
                plan.options.scheduler, plan.direction, plan.epochs, plan.options.grace_epochs
            ),
            reuse_actors=False,  # a worker of its own for each trial: nothing is left over from the one before
        ),
        run_config=RunConfig(
            name="search",
            storage_path=str(storage.resolve()),
            callbacks=[Watcher(record, plan.judged)],
            failure_config=FailureConfig(max_failures=LOST_WORKERS),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def _trainable(plan: SearchPlan, share: Share) -> Any:
    fixed = {"job": plan.job, "share": share, "objectives": dict(plan.objectives), "judged": plan.judged}
    function = tune.with_parameters(trial, **fixed, by_epoch=plan.options.scheduler != "none")
    return tune.with_resources(function, {"cpu": share.cpus, "gpu": share.gpus})
