"""Several models over several seeds on the same data, split, candidates, groups and budget.

Every run is an ordinary run directory, so a comparison that was interrupted, or gets another model, goes on by being
asked for again. With search files each model is tuned first, all with the same number of trials.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from recbole_fair import storage
from recbole_fair.compare.comparison import Comparison, Entry
from recbole_fair.compare.models import Entrants, entrants, models_of, plans_for, seeds_of
from recbole_fair.errors import UsageError
from recbole_fair.jobs import cluster, encode_first, many
from recbole_fair.jobs.job import Job
from recbole_fair.jobs.many import Done, Outcome
from recbole_fair.rundir import files
from recbole_fair.tune import searches as tune
from recbole_fair.tune.planning import How, Plan, gpus_each

__all__ = ["Comparison", "How", "compare"]


def compare(
    models: str | Sequence[str],
    dataset: str,
    *,
    seeds: int | Sequence[int] = 3,
    searches: str | Path | None = None,
    how: How | None = None,
    run_dir: str | Path | None = None,
    config_files: Sequence[str | Path] = (),
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
    shared = Job(None, dataset, tuple(map(str, config_files)), keys, str(run_dir or "runs"))
    found, how = entrants(models_of(models), shared), how or How()
    seeds = seeds_of(seeds, found.config["seed"])
    folder = Path(run_dir) if run_dir else Path("runs") / dataset / f"compare-{found.digest(seeds)}"
    plans = plans_for(found, Path(searches), how, seeds[0]) if searches else {}
    chosen = _tuned(plans, found, folder, quiet)
    entries = _entries(found, seeds)
    _run(entries, found, how, quiet)
    return _written(Comparison(folder, dataset, found.names, seeds, entries, _k(found), found.notes, chosen))


def _tuned(plans: Mapping[str, Plan], found: Entrants, folder: Path, quiet: bool) -> dict[str, dict[str, Any]]:
    """Search for each model and give its job the chosen values; a model without any is out."""
    chosen = {}
    for model, plan in plans.items():
        search = tune.carried_out(plan, folder / "search" / model, quiet)
        if search.chosen is None:
            found.refuse(model, f"its search chose nothing: {search.why}")
        else:
            chosen[model] = search.values
            found.jobs[model] = found.jobs[model].over(search.values)
    return chosen


def _entries(found: Entrants, seeds: Sequence[int]) -> list[Entry]:
    """A row a run, the first seed of every model first; what is finished is known already."""
    entries = [Entry(model, seed) for seed in seeds for model in found.names]
    for entry in entries:
        if entry.model in found.refused:
            _note(entry, Outcome(error=found.refused[entry.model]))
            continue
        with suppress(UsageError):  # what stands in the way is said by the run itself
            result = found.job(entry.model, entry.seed).known()
            _note(entry, Outcome(run_dir=result.run_dir) if result else Outcome())
    return entries


def _note(entry: Entry, outcome: Outcome) -> None:
    entry.run_dir, entry.error = outcome.run_dir, outcome.error
    entry.status = "ok" if outcome.run_dir else "failed" if outcome.error else entry.status


def _run(entries: Sequence[Entry], found: Entrants, how: How, quiet: bool) -> None:
    """Do what is missing: in this process where there is room for one run at a time, else through Ray."""
    missing = [entry for entry in entries if entry.status == "missing"]
    jobs = [found.job(entry.model, entry.seed) for entry in missing]

    def done(place: int, outcome: Outcome) -> None:
        _note(missing[place], outcome)
        if not quiet:
            _say(missing[place])

    if how.ray_address is None and 1 in (len(jobs), how.max_concurrent, os.cpu_count()):
        many.in_turn(jobs, done)
    elif jobs:
        _through_ray(jobs, how, gpus_each(how, found.config), done)


def _through_ray(jobs: Sequence[Job], how: How, gpus: float | None, done: Done) -> None:
    with cluster.started(how.ray_address) as nodes:
        share = cluster.share_of(nodes, len(jobs), how.max_concurrent, gpus)
        with suppress(UsageError):  # a model whose items cannot be read fails in its own row
            encode_first.fill(jobs, share)
        many.at_once(jobs, share, done)


def _say(entry: Entry) -> None:
    print(f"{entry.model}, seed {entry.seed}: {entry.error or entry.run_dir}", file=sys.stderr, flush=True)


def _k(found: Entrants) -> int | None:
    """The K that runs are selected by; an answer has none."""
    k = str(found.config["valid_metric"]).rpartition("@")[2]
    return int(k) if k.isdigit() else None


def _written(compared: Comparison) -> Comparison:
    storage.write_json(compared.folder / "compare.json", compared.described())
    header = ["model", "metric", "mean", "sd", "seeds"]
    files.write_table(compared.folder / "compare.csv", header, compared.rows())
    return compared
