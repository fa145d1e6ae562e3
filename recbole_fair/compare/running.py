"""Several models over several seeds on the same data, split, candidates, groups and budget.

Every run is an ordinary run directory, so a comparison that was interrupted, or gets another model, goes on by being
asked for again. With search files each model is tuned first, all with the same number of trials.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from recbole_fair import storage
from recbole_fair.compare.comparison import Comparison, Entry
from recbole_fair.compare.entrants import Entrants, entrants, models_of, plan_searches, seeds_of
from recbole_fair.errors import UsageError
from recbole_fair.jobs import many
from recbole_fair.jobs.job import Job
from recbole_fair.jobs.many import Outcome
from recbole_fair.metrics.key import MetricKey
from recbole_fair.rundir import files
from recbole_fair.screen import Tally, duration
from recbole_fair.settings.config import files_of
from recbole_fair.tune.planning import SearchOptions, room
from recbole_fair.tune.searches import carried_out

__all__ = ["SearchOptions", "compare"]


def compare(
    models: str | Sequence[str],
    dataset: str,
    *,
    seeds: int | Sequence[int] = 3,
    searches: str | Path | None = None,
    options: SearchOptions | None = None,
    run_dir: str | Path | None = None,
    config_files: str | Path | Sequence[str | Path] = (),
    quiet: bool = True,
    **keys: Any,
) -> Comparison:
    """Run every model with every seed and set their figures side by side; the same call again goes on.

    Runs lie below `run_dir` (default: runs), compare.json and compare.csv in it. `searches` is a folder of search
    files, one a model.
    """
    if "seed" in keys:
        raise UsageError("seed: a comparison takes seeds, as in --seeds=3 or --seeds=[1,7]")
    if "load" in keys:
        raise UsageError("load: judges one run's weights; give each its own `recbole-fair run --load=RUN_DIR`")
    shared = Job(None, dataset, tuple(files_of(config_files)), keys, str(run_dir or "runs"))
    entering, options = entrants(models_of(models), shared), options or SearchOptions()
    seeds = seeds_of(seeds, entering.config["seed"])
    if searches:
        plan_searches(entering, Path(searches), options, seeds[0])
    folder = Path(run_dir) if run_dir else Path("runs") / dataset / f"compare-{entering.digest(seeds)}"
    _refuse_other(folder, entering.request, seeds)
    chosen = _tuned(entering, folder, quiet)
    entries = _entries(entering, seeds)
    _run_missing(entries, entering, options, quiet)
    k = MetricKey.parse(str(entering.config["valid_metric"])).k  # an answer has none
    compared = Comparison(folder, dataset, entering.names, seeds, entries, k, entering.notes, chosen)
    return _written(compared, entering.request)


def _tuned(entering: Entrants, folder: Path, quiet: bool) -> dict[str, dict[str, Any]]:
    """Search for each model and give its job the chosen values; a model without any is out."""
    chosen = {}
    for model, plan in entering.plans.items():
        search = carried_out(plan, folder / "search" / model, quiet)
        if search.chosen is None:
            entering.refuse(model, f"its search chose nothing: {search.why}")
        else:
            chosen[model] = search.values
            entering.jobs[model] = entering.jobs[model].over(search.values)
    return chosen


def _entries(entering: Entrants, seeds: Sequence[int]) -> list[Entry]:
    """A row a run, the first seed of every model first; what is finished is known already."""
    entries = [Entry(model, seed) for seed in seeds for model in entering.names]
    for entry in entries:
        if entry.model in entering.refused:
            entry.error = entering.refused[entry.model]
            continue
        with suppress(UsageError):  # what stands in the way is said by the run itself
            result = entering.job(entry.model, entry.seed).finished_result()
            entry.run_dir = result.run_dir if result else None
    return entries


def _run_missing(entries: Sequence[Entry], entering: Entrants, options: SearchOptions, quiet: bool) -> None:
    """Do what is missing, and note each run as it ends."""
    missing = [entry for entry in entries if entry.status == "missing"]
    tally = Tally(len(missing))

    def say(index: int, what: str) -> None:
        if not quiet:
            print(f"{missing[index].model}, seed {missing[index].seed}: {what} ({tally})", file=sys.stderr, flush=True)

    def starts(index: int) -> None:
        tally.starts()
        say(index, "starts")

    def ends(index: int, outcome: Outcome) -> None:
        missing[index].run_dir, missing[index].error = outcome.run_dir, outcome.error
        tally.ends()
        say(index, outcome.error or f"{outcome.run_dir}, {duration(outcome.seconds or 0.0)}")

    if missing and not quiet:
        print(f"{len(missing)} of {len(entries)} runs to do, what they stand on first", file=sys.stderr, flush=True)
    jobs = [entering.job(entry.model, entry.seed) for entry in missing]
    many.run_all(jobs, room(options, entering.config), ends, starts)


def _refuse_other(folder: Path, request: Mapping[str, Mapping[str, str]], seeds: Sequence[int]) -> None:
    """Leave another comparison in a folder alone: one is replaced only by the same with more models or seeds."""
    path = folder / "compare.json"
    there = storage.read_json(path) if path.exists() else {}
    compared = [model for model, figures in there.get("figures", {}).items() if figures]
    same = all(there.get(part, own).get(model) == own.get(model) for part, own in request.items() for model in compared)
    if same and {*compared} <= request["hashes"].keys() and {*there.get("seeds", ())} <= {*seeds}:
        return
    raise UsageError(
        f"{path}: is a comparison of {', '.join(compared)} with seeds {there['seeds']}, under other settings or"
        " with more than is asked for; choose another run_dir, or remove it"
    )


def _written(compared: Comparison, request: Mapping[str, Any]) -> Comparison:
    storage.write_json(compared.folder / "compare.json", {**compared.described(), **request})
    header = ["model", "metric", "mean", "sd", "seeds"]
    files.write_table(compared.folder / "compare.csv", header, compared.rows())
    return compared
