"""A run with a strategy beside the same model without: what became fairer, and what it cost."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_fair import storage
from recbole_fair.metrics import directions
from recbole_fair.metrics.key import MetricKey
from recbole_fair.rundir.result import RESULT, Result, finished
from recbole_fair.screen import aligned, short
from recbole_fair.settings import keys, yamls

_BUDGETS = (0.97, 0.95, 0.9, 0.8, 0.5)
_SAME = 0.005  # a relative change below this is none that a reader would see


def lines(result: Result, k: int | None) -> Iterator[str]:
    """Before and after, in figures and in a sentence; nothing where there is no plain run to look at."""
    folder = Path(result.run_dir)
    if result.strategy is None or not (folder / "config.yaml").exists():
        return
    config = yamls.read_mapping(folder / "config.yaml")
    plain = plain_run(result, config)
    if plain is not None:
        yield f"before and after ({plain.model} alone: {plain.run_dir})"
        shown = _shown(plain, result, config, k)
        yield from aligned([_row(key, plain.test[key], result.test[key]) for key in shown])
        changes = {key: _change(plain.test[key], result.test[key]) for key in shown}
        if all(abs(change) < _SAME for change in changes.values()):
            yield f"{result.strategy} changed nothing here; {_what_it_takes(folder, config)}"


def plain_run(result: Result, config: Mapping[str, Any]) -> Result | None:
    """The run that a strategy after training works on, or a finished run of the same settings without the strategy."""
    name = result.model.removeprefix(str(result.strategy))
    if result.base is not None and finished(Path(result.base)):
        base = Result.read(Path(result.base))
        return base if base.model == name else None
    own = {"model", "strategy", "fair_group", *yamls.packaged(f"strategy/{result.strategy}.yaml")}
    wanted = _identity(config, own)
    for path in sorted(Path(result.run_dir).parent.parent.glob(f"{name}/*/{RESULT}")):
        if _identity(yamls.read_mapping(path.parent / "config.yaml"), own) == wanted and finished(path.parent):
            plain = Result.read(path.parent)
            if plain.data.get("split") == result.data.get("split"):
                return plain
    return None


def _identity(config: Mapping[str, Any], own: set[str]) -> dict[str, Any]:
    """The settings that two runs must share to differ in a strategy only."""
    return {key: value for key, value in config.items() if key not in own and (key == "seed" or keys.hashed(key))}


def _shown(plain: Result, result: Result, config: Mapping[str, Any], k: int | None) -> list[str]:
    """The accuracy that epochs were chosen by, then the figures of what the strategy balances."""
    first = config["item_groups"] or [""]
    balanced = str(config["fair_group"] or (first if isinstance(first, str) else first[0]))
    chosen = str(MetricKey.parse(str(config["valid_metric"])))
    both = [key for key, value in result.test.items() if value is not None and plain.test.get(key) is not None]
    parsed = {key: MetricKey.parse(key) for key in both}
    fair = [key for key in both if parsed[key].grouping in balanced.split("*") and parsed[key].k in (None, k)]
    return [key for key in both if key == chosen] + fair


def _row(key: str, before: Any, after: Any) -> Sequence[str]:
    change = f"{_change(before, after):+.1%}"
    return [f"  {key}", f"{short(before)} -> {short(after)}", change, _word(key, before, after)]


def _change(before: Any, after: Any) -> float:
    return (after - before) / abs(before) if before else float(after != before)


def _word(key: str, before: float, after: float) -> str:
    """What the change means."""
    if abs(_change(before, after)) < _SAME:
        return "as before"
    costs = directions.cost(key, [before, after])
    if not MetricKey.parse(key).grouping:
        return "more accurate" if costs[1] < costs[0] else "less accurate"
    return "fairer" if costs[1] < costs[0] else "less fair" if costs[1] > costs[0] else ""


def _what_it_takes(folder: Path, config: Mapping[str, Any]) -> str:
    """Of Offset, the budget at which its way makes a difference; of a training strategy, its strength."""
    path = folder / "frontier.csv"
    if not path.exists():
        return "fair_weight, or another strategy (`recbole-fair models`), may do more"
    rows = list(csv.DictReader(io.StringIO(storage.read_text(path, storage.RECORD_BYTES))))
    whole, start = float(rows[0]["valid accuracy"]), float(rows[0]["valid cv"])
    for budget in _BUDGETS:
        reached = min(float(row["valid cv"]) for row in rows if float(row["valid accuracy"]) >= budget * whole)
        if reached < 0.9 * start:
            return (
                f"no step that helps keeps ndcg_budget={config['ndcg_budget']:g} of validation's accuracy; with"
                f" --ndcg_budget={budget:g} cv would fall from {short(start)} to {short(reached)} there (frontier.csv)"
            )
    return "no step of its way makes validation's groups more equal (frontier.csv)"
