"""What a run found, for the screen: accuracy, items and users at one K, a sentence a grouping, and what it beats.

Every figure, K and group stands in result.json and groups.csv; here is what a reader needs first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

from recbole_fair.metrics import directions
from recbole_fair.metrics.bootstrap import NOISE
from recbole_fair.metrics.judging import NO_GROUP, NOTHING_COMPARED
from recbole_fair.metrics.key import MetricKey
from recbole_fair.metrics.metric import AGAIN, Metric, OfEachUser
from recbole_fair.rundir import before_after
from recbole_fair.rundir.result import Result
from recbole_fair.screen import aligned, short, visible, wrapped

_SHOWN = ("cv", "gap", "min", "snsr")  # the figures that a sentence on a grouping ends with, by preference
_NAMED = 3  # groups that a sentence names one by one
_USUAL = ("auc", "recall", "hit")  # what groups are compared in where no gap names it; users by NDCG first


def summary(result: Result) -> str:
    """All of it, line by line."""
    k = last_k(result)
    state = "" if result.status == "ok" else f": {result.status}"
    lines = [
        f"{result.model} on {result.dataset}, seed {result.seed}{state}",
        *_figures(result, k),
        *(line for field, kind in _groupings(result).items() for line in _on_groups(result, field, kind, k)),
        *_on_popularity(result),
        *before_after.lines(result, k),
        *_on_prompts(result),
        *_notes(result, k),
        f"run directory: {result.run_dir}",
    ]
    return "\n".join(part for line in lines for part in wrapped(visible(line)))


def last_k(result: Result) -> int | None:
    """The largest K of the figures; answers have none."""
    return max((MetricKey.parse(key).k or 0 for key in result.test), default=0) or None


def _groupings(result: Result) -> dict[str, str]:
    """The kind of each grouping, by its name."""
    return {str(row["field"]): str(row["kind"]) for row in result.group_rows}


def _figures(result: Result, k: int | None) -> list[str]:
    """Blocks of figures at one K, with the better side as an arrow."""
    kinds, nothing = _groupings(result), {note.removesuffix(NOTHING_COMPARED) for note in result.warnings}
    blocks: dict[str, list[list[str]]] = {"accuracy": [], "lists": [], "items": [], "users": []}
    for name, value in result.test.items():
        key = MetricKey.parse(name)
        if key.k in (None, k) and not (value is None and key.grouping in nothing):
            alone = "lists" if _of_lists(directions.declared(name)) else "accuracy"
            block = f"{kinds.get(key.grouping, 'user')}s" if key.grouping else alone
            row = [f"  {name}", directions.arrow(name), short(value), _span(result.interval.get(name))]
            blocks[block].append([*row, short(result.valid[name]) if name in result.valid else ""])
    head = ["", "", "test", _level(result), "validation" if result.valid else ""]
    rows = [head, *(row for title, own in blocks.items() if own for row in ([title, "", "", "", ""], *own))]
    return aligned(rows)


def _of_lists(metric: Metric | None) -> bool:
    """Whether a figure of everyone says what lists are like, not how good they are."""
    if metric is None or metric.answers:
        return False
    first = metric.figures[:1]  # what a probe finds reads none
    return isinstance(metric, OfEachUser) or any(read.prompt == AGAIN for read in first)


def _level(result: Result) -> str:
    level = result.resampling.get("level")
    return f"{level:.0%} interval" if isinstance(level, float) else ""


def _span(bounds: Sequence[float] | None) -> str:
    return f"[{short(bounds[0])}, {short(bounds[1])}]" if bounds else ""


def _on_groups(result: Result, field: str, kind: str, k: int | None) -> Iterator[str]:
    """Who is served worst and best, of how many, and whether the difference is more than chance."""
    disparity = _disparity(result, field, k)
    figure, ranked = measured(result, field)
    if not figure:
        return
    absent = [row for row in _rows(result, field) if row.get(figure) is None and row["users"]]
    small = [f"{row['group']} - ({_size(row, kind)})" for row in absent]
    named = [f"{row['group']} {short(row[figure])} ({_size(row, kind)})" for row in ranked]
    alike = bool(ranked) and ranked[0][figure] == ranked[-1][figure]
    if len(named) > _NAMED and alike:
        text = f"{len(named)} groups, all {short(ranked[0][figure])}"
    elif len(named) > _NAMED:
        text = f"{len(named)} groups, worst {named[0]} and {named[1]}, best {named[-1]}"
    else:
        text = (" like " if alike else " below ").join(named)
    text = ", ".join([text, *small] if text else small)
    yield f"{field}, {figure}: {text}{_verdict(result, disparity)}"


def measured(result: Result, field: str) -> tuple[str, list[dict[str, Any]]]:
    """The figure that the groups of a grouping differ by, and their rows, lowest first; no rows without any."""
    rows, k = _rows(result, field), last_k(result)
    figure = _compared(rows, _disparity(result, field, k), str(rows[0]["kind"]) if rows else "", k) or ""
    return figure, sorted((row for row in rows if row.get(figure) is not None), key=lambda row: float(row[figure]))


def _rows(result: Result, field: str) -> list[dict[str, Any]]:
    return [row for row in result.group_rows if row["field"] == field and row["group"] != NO_GROUP]


def _size(row: dict[str, Any], kind: str) -> str:
    size = row["users"] if kind == "user" else row["size"]
    return f"{size:,} {kind}{'s' * (size != 1)}"


def _disparity(result: Result, field: str, k: int | None) -> str | None:
    """The key by which the groups of a grouping are compared: CV, a gap, MIN, or whatever there is."""
    own = [key for key in result.test if (one := MetricKey.parse(key)).grouping == field and one.k in (None, k)]
    return min(own, key=_rank, default=None)


def _rank(key: str) -> int:
    word = key.partition("@")[0].partition("_")[0]
    return _SHOWN.index(word) if word in _SHOWN else len(_SHOWN)


def _compared(rows: Sequence[dict[str, Any]], disparity: str | None, kind: str, k: int | None) -> str | None:
    """The column that the groups differ by: what a gap is of, else accuracy."""
    metric = MetricKey.parse(disparity).name if disparity else ""
    usual = ("ndcg", *_USUAL) if kind == "user" else _USUAL
    wanted = (name for name in (metric.partition("_")[2], *usual) if name)
    keys = [str(MetricKey(name, None if name in ("f1", "auc") else k)) for name in wanted]  # of answers, not of lists
    return next((key for key in keys if any(key in row for row in rows)), None)


def _verdict(result: Result, disparity: str | None) -> str:
    """The figure of the difference with its interval, and whether equality lies outside."""
    value = result.test.get(disparity) if disparity else None
    if disparity is None or value is None:
        return ""
    bounds, metric = result.interval.get(disparity), directions.declared(disparity)
    shown = f"; {disparity.partition('[')[0]} {short(value)} {_span(bounds)}".rstrip()
    if bounds is None or metric is None or not isfinite(metric.equal):
        return shown
    plain = result.resampling.get("method") != "widened"  # then the bounds know nothing of what chance adds
    unsure = bounds[0] <= metric.equal <= bounds[1] or (plain and disparity in _noisy(result))
    return f"{shown}: {'not sure' if unsure else 'a sure difference'}"


def _noisy(result: Result) -> list[str]:
    """Keys of disparities that chance adds to."""
    note = next((note for note in result.warnings if note.startswith(NOISE)), "")
    return [word.strip() for word in note.removeprefix(NOISE).partition(": read")[0].split(",")]


def _on_popularity(result: Result) -> Iterator[str]:
    """Whether the model beats the list of popular items, user by user."""
    if not (pop := result.popularity):
        return
    low, high = pop["low"], pop["high"]
    verb = "beats" if low > 0 else "is worse than" if high < 0 else "is not shown to beat"
    advice = "" if low > 0 else "; train it longer or tune it before judging its fairness"
    difference = f"{'+' if pop['difference'] > 0 else ''}{short(pop['difference'])} {_span([low, high])}"
    yield f"{result.model} {verb} Pop: {pop['metric']} {short(pop['pop'])} for Pop, {difference}{advice}"


def _on_prompts(result: Result) -> Iterator[str]:
    """What was asked and how, over which range other wordings move the figures, and what stands beside them."""
    if result.prompts:
        yield f"prompts: {', '.join(f'{name} {count}' for name, count in result.prompts.items())}"
    if result.wordings:
        spans = (f"{name} {short(low)}-{short(high)}" for name, (low, high) in result.wordings.items())
        yield f"over all wordings: {', '.join(spans)}"
    for name, figures in result.beside.items():
        yield f"beside it, {name}: {', '.join(f'{key} {short(value)}' for key, value in figures.items())}"


def _notes(result: Result, k: int | None) -> Iterator[str]:
    """Warnings; of the disparities that chance adds to, those that are shown."""
    noisy = [key for key in _noisy(result) if key and MetricKey.parse(key).k in (None, k)]
    if noisy:
        yield (
            f"chance alone makes groups differ, even if they are served alike: {', '.join(noisy)} would be nearer to"
            " equality with more users"
        )
    yield from (f"warning: {note}" for note in result.warnings if not note.startswith(NOISE))
