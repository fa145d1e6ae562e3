"""What can be done from Python beside `run`: the sub-commands as functions, which docs/python.md describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from recbole_fair.compare.running import compare
from recbole_fair.errors import UsageError
from recbole_fair.registry import nearest
from recbole_fair.rundir.result import Result, finished
from recbole_fair.runner import open_run
from recbole_fair.settings import keys
from recbole_fair.settings.config import Config

if TYPE_CHECKING:
    from recbole_fair.probe.findings import Probed

__all__ = ["audit", "compare", "load", "probe", "report"]

Run = Result | str | Path


def load(run_dir: str | Path) -> Result:
    """The result of a finished run or audit, from its folder."""
    if not finished(Path(run_dir)):
        raise UsageError(f"{run_dir}: no finished run; give the folder that holds its result.json")
    return Result.read(Path(run_dir))


def audit(
    recommendations: str | Path | None = None,
    interactions: str | Path | None = None,
    run_dir: str | Path | None = None,
    *,
    variants: Mapping[str, str | Path] | None = None,
    users: str | Path | None = None,
    items: str | Path | None = None,
    user: str = "user_id",
    item: str = "item_id",
    system: str | None = None,
    dataset: str = "audit",
    **options: Any,
) -> Result:
    """Judge lists that any system made; `options` are the keys of `recbole-fair audit --help`.

    `user` and `item` are what the files call their columns of ids.

    In place of recommendations and interactions, `variants` are a language model's lists by prompt, as in
    {"none": F, "gender:F": F, "gender:M": F, "again": F}: how far they differ is judged.
    """
    if run_dir is None:
        raise UsageError("audit: give run_dir=DIR, where the results go")
    folder = Path(run_dir)
    of_users, of_items = (None if side is None else Path(side) for side in (users, items))
    if variants is not None:
        from recbole_fair.audit.stability import audit_variants

        if any(file is not None for file in (recommendations, interactions, items)):
            raise UsageError("variants: are compared with each other; leave recommendations, interactions, items out")
        by_prompt = {name: Path(file) for name, file in variants.items()}
        called = system or next(iter(by_prompt.values()), folder).stem
        return audit_variants(by_prompt, folder, called, dataset, options, of_users, (user, item))
    if recommendations is None or interactions is None:
        raise UsageError("audit: give recommendations=FILE and interactions=FILE, or variants={'none': FILE, ...}")
    from recbole_fair.audit import judge

    files = judge.Files(Path(recommendations), Path(interactions), of_users, of_items, (user, item))
    return judge.audit(files, folder, system or files.recommendations.stem, dataset, options)


def report(
    *runs: Run,
    out: str | Path,
    title: str = "Results",
    metrics: str | Sequence[str] = (),
    reference: str | None = None,
    datasets: Sequence[str] = (),
    models: Sequence[str] = (),
    dossier: bool = False,
) -> Path:
    """Write tables, figures and a web page of finished runs into `out`; the path of the page.

    A run may also be a folder with runs below it, or a comparison's; `datasets` and `models` leave out all others. A
    `dossier` is a page to be handed on and printed, and its PDF where Chromium is installed.
    """
    from recbole_fair.report.assemble import Options
    from recbole_fair.report.write import write

    named = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    options = Options(title, named, reference, tuple(datasets), tuple(models), dossier)
    return write([_folder(run) for run in runs], Path(out), options)[0]


def probe(run: Run, sensitive_attribute: str | Sequence[str] | None = None, **options: Any) -> pd.DataFrame:
    """How well each attribute can be told from a run's user states: a row a figure, with its interval.

    Without `sensitive_attribute` the run's own; `options` are the other keys of `recbole-fair probe --help`.
    """
    own = keys.taken_by("probe")
    if unknown := next((key for key in options if key not in own), None):
        raise UsageError(f"{unknown}: probe does not take it.{nearest(unknown, own)} It takes {', '.join(own)}")
    named = {} if sensitive_attribute is None else {"sensitive_attribute": sensitive_attribute}
    _, found = probed(_folder(run), {**options, **named})
    rows = [(value, *(found.intervals.get(key) or (None, None))) for key, value in found.values.items()]
    return pd.DataFrame(rows, pd.Index(list(found.values), name="metric"), ["value", "low", "high"], dtype=float)


def probed(folder: Path, given: Mapping[str, Any]) -> tuple[Config, Probed]:
    """A finished run's configuration under these keys, and what its user states give away."""
    from recbole_fair.groups import named
    from recbole_fair.probe import findings

    config, data, trainer = open_run(folder)
    for key, value in ((key, keys.as_declared(key, value, config[key])) for key, value in given.items()):
        keys.check_value(key, value, config[key])
        config[key] = value
    attributes = named.sensitive_groups(config, data) or named.probed_groups(config, data)
    if not attributes:
        raise UsageError("probe: name the attribute, as in --sensitive_attribute=gender")
    return config, findings.probe_run(config, data, trainer, attributes)


def _folder(run: Run) -> Path:
    return Path(run.run_dir if isinstance(run, Result) else run)
