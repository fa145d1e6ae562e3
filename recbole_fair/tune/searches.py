"""A search over a model's keys: many runs, one choice by validation figures.

Every trial is an ordinary run directory that its hash names, so a search that was interrupted goes on by being asked
for again: what is finished is read, what is not goes on where it stopped, and no test figure is looked at anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.jobs import cluster
from recbole_fair.jobs.job import Job
from recbole_fair.rundir import folder as rundir
from recbole_fair.screen import aligned
from recbole_fair.settings.config import files_of
from recbole_fair.tune import planning, through_jobs
from recbole_fair.tune.choosing import Selection, choose
from recbole_fair.tune.objectives import Objectives
from recbole_fair.tune.planning import SearchOptions, SearchPlan
from recbole_fair.tune.record import FILE, Record, Trial, short

__all__ = ["Search", "SearchOptions", "search"]


@dataclass(frozen=True)
class Search:
    """A finished search: its trials, the Pareto front among them and the chosen one, all by their numbers."""

    folder: Path
    objectives: Objectives
    trials: tuple[Trial, ...]
    front: tuple[int, ...]
    chosen: int | None
    why: str

    @property
    def values(self) -> dict[str, Any]:
        """The chosen trial's values of the keys that were searched over."""
        if self.chosen is None:
            raise UsageError(f"{self.folder}: nothing was chosen: {self.why}")
        return self.trials[self.chosen].values

    def table(self) -> str:
        """A line a trial, best first, and the choice with its reason."""
        keys = list(dict.fromkeys(key for row in self.trials for key in row.values))
        head = ["", "trial", *keys, *self.objectives, "status"]
        lines = aligned([head, *(self._cells(row, keys) for row in sorted(self.trials, key=self._rank))])
        chosen = [] if self.chosen is None else [f"run directory: {self.trials[self.chosen].run_dir}"]
        files = [f"the choice as a property file: {self.folder / 'best.yaml'}"] if chosen else []
        verdict = f"chosen: {self.why}" if chosen else f"nothing chosen: {self.why}"
        return "\n".join([*lines, verdict, *chosen, *files, f"all trials: {self.folder / FILE}"])

    def _rank(self, row: Trial) -> tuple[bool, float]:
        metric, mode = next(iter(self.objectives.items()))
        value = row.valid.get(metric) if row.status == "ok" else None
        return value is None, (-value if mode == "max" else value) if value is not None else row.number

    def _cells(self, row: Trial, keys: Sequence[str]) -> list[str]:
        mark = (
            "*" if row.number == self.chosen else "+" if row.number in self.front and len(self.objectives) > 1 else ""
        )
        figures = [row.valid.get(metric) for metric in self.objectives]
        shown = ["-" if figure is None else f"{figure:.4f}" for figure in figures]
        return [mark, str(row.number), *(short(row.values.get(key, "")) for key in keys), *shown, row.status_text]


def search(
    model: str,
    dataset: str,
    over: str | Path | Mapping[str, Any] | None = None,
    *,
    options: SearchOptions | None = None,
    run_dir: str | Path | None = None,
    folder: str | Path | None = None,
    config_files: str | Path | Sequence[str | Path] = (),
    quiet: bool = True,
    **keys: Any,
) -> Search:
    """Search over a model's keys and choose by validation; the same call again goes on with an interrupted search.

    `over` is a search file or its content (default: the model's own in properties/search). Trials lie below `run_dir`
    (default: runs), tune.json in `folder` (default: `run_dir`, else beside the trials).
    """
    files = tuple(files_of(config_files))
    plan = planning.planned(Job(model, dataset, files, keys, str(run_dir or "runs")), over, options or SearchOptions())
    beside = Path("runs") / plan.job.config["dataset"] / plan.name / f"search-{plan.digest}"
    return carried_out(plan, Path(folder or run_dir or beside), quiet)


def carried_out(plan: SearchPlan, folder: Path, quiet: bool = True) -> Search:
    """Run a plan's trials, those already known first, and choose."""
    record = Record(folder, plan.about(), plan.objectives, quiet, plan.trials)
    with rundir.held(folder / ".search.lock", f"{folder}: another process is searching here"):
        record.remember(_former(folder / FILE, plan))
        if not record.complete(plan.trials):
            _run(plan, record)
        return _settled(plan, record)


def _run(plan: SearchPlan, record: Record) -> None:
    """Through Ray Tune where it leads the search, else as ordinary jobs: with room for one at a time, without Ray."""
    if plan.learns:
        with cluster.started(plan.room.ray_address) as nodes:
            from recbole_fair.tune import through_ray

            through_ray.run_trials(plan, nodes, record)
    else:
        through_jobs.run_trials(plan, record)


def _former(file: Path, plan: SearchPlan) -> list[Trial]:
    """The trials of an interrupted or shorter search; another search in the same folder is refused."""
    if not file.exists():
        return []
    former = storage.read_json(file)
    if former.get("search") != plan.digest:
        raise UsageError(f"{file}: is of another space, algorithm, model, data set or key; choose another run_dir")
    try:
        return [row for row in (Trial(**facts) for facts in former["trials"]) if row.number < plan.trials]
    except (KeyError, TypeError) as error:
        raise UsageError(f"{file}: damaged ({error}); remove it: finished trials are found without it") from error


def _settled(plan: SearchPlan, record: Record) -> Search:
    """Choose among the trials that ended well, and write it down."""
    good = [row for row in record.rows if row.status == "ok"]
    if len({row.split for row in good}) > 1:
        raise UsageError(f"{record.folder}: its trials saw different data or splits; choose another run_dir")
    choice = _choice(plan, good)
    front = tuple(good[place].number for place in choice.front)
    chosen = None if choice.chosen is None else good[choice.chosen].number
    search = Search(record.folder, plan.objectives, tuple(record.rows), front, chosen, choice.why)
    record.write(front=list(front), chosen=None if chosen is None else _described(search), why=choice.why)
    if chosen is not None:
        storage.write_text(record.folder / "best.yaml", planning.as_property_file(plan, search.values))
    return search


def _choice(plan: SearchPlan, good: Sequence[Trial]) -> Selection:
    if not good:
        return Selection((), None, "no trial ended well")
    figures = [{metric: _figure(row, metric) for metric in plan.objectives} for row in good]
    return choose(figures, plan.objectives, plan.limit)


def _figure(row: Trial, metric: str) -> float:
    value = row.valid[metric]
    assert value is not None, "a trial without this figure has failed"
    return value


def _described(search: Search) -> dict[str, Any]:
    assert search.chosen is not None
    row = search.trials[search.chosen]
    return {"number": row.number, "values": row.values, "valid": row.valid, "run_dir": row.run_dir}
