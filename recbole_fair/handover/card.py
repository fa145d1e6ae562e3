"""The model card of a finished run: every figure of it stands in result.json, and it claims nothing beyond.

The head is the hub's own metadata (huggingface_hub's ModelCardData with an EvalResult a figure), the text is Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from recbole_fair.errors import UsageError
from recbole_fair.metrics import directions
from recbole_fair.metrics.key import MetricKey
from recbole_fair.report.writers.escape import in_markdown, plain
from recbole_fair.rundir.result import Result
from recbole_fair.rundir.summary import last_k, measured
from recbole_fair.screen import short

_TASK = "recommendation"
_IDENTITY = ("fingerprint", "split", "candidates")  # digests: of the data, of their parts, of what was ranked


def card(result: Result) -> ModelCard:
    """The card of a finished run or audit; a failed one has nothing to say."""
    if result.status == "failed":
        raise UsageError(f"{result.run_dir}: the run failed ({result.error}); a card is of a finished run")
    text = "\n\n".join(_sections(result))
    return ModelCard(f"---\n{_metadata(result).to_yaml()}\n---\n\n{text}\n")


def figures(result: Result) -> list[EvalResult]:
    """A test figure each, as the hub's metadata has it; an undefined one has no place there."""
    facts = {key: result.data[key] for key in _IDENTITY if result.data.get(key)}
    return [
        EvalResult(
            task_type=_TASK, dataset_type=plain(result.dataset), dataset_name=plain(result.dataset),
            dataset_split="test", dataset_args=facts, metric_type=key, metric_name=key, metric_value=value,
        )
        for key, value in result.test.items() if value is not None
    ]  # fmt: skip


def _metadata(result: Result) -> ModelCardData:
    name = f"{plain(result.model)} on {plain(result.dataset)}"
    tags = ["recommender-system", "fairness", "recbole"]
    return ModelCardData(model_name=name, library_name="recbole_fair", tags=tags, eval_results=figures(result))


def _sections(result: Result) -> Iterator[str]:
    yield f"# {in_markdown(result.model)} on {in_markdown(result.dataset)}"
    yield _first(result)
    yield "## Intended use"
    yield _use(result)
    yield "## Accuracy and fairness"
    yield _figures(result)
    for field in dict.fromkeys(str(row["field"]) for row in result.group_rows):
        if table := _groups(result, field):
            yield f"### By {in_markdown(field)}"
            yield table
    yield "## Limits"
    yield "\n".join(f"- {in_markdown(limit)}" for limit in _limits(result))
    yield "## Provenance"
    yield _table(["what", "value"], _provenance(result))


def _first(result: Result) -> str:
    version = result.versions.get("recbole_fair", "")
    state = "" if result.status == "ok" else f" **The run ended {result.status}: {in_markdown(result.error or '')}**"
    return (
        f"Made and judged by recbole_fair {version}. Every figure of this card stands in result.json; what is not in it"
        f" was not measured.{state}"
    )


def _use(result: Result) -> str:
    what = "lists of the items" if result.threshold is None else "yes or no to pairs of users and items"
    return in_markdown(
        f"Research on recommendation: {what} of {result.dataset}, for users of the same data. Judged on what was held"
        " out of these data and on nothing else: other users, items or times were not measured, and a decision that"
        " depends on it needs its own measurement."
    )


def _figures(result: Result) -> str:
    """The figures at the largest K."""
    k = last_k(result)
    rows = [
        [
            in_markdown(key),
            in_markdown(directions.meaning(key)),
            short(value),
            _span(result.interval.get(key)),
            directions.wish(key),
        ]
        for key, value in result.test.items()
        if value is not None and MetricKey.parse(key).k in (None, k)
    ]
    level = result.resampling.get("level")
    head = f"{level:.0%} interval over users" if isinstance(level, float) else "interval"
    shown = _table(
        ["figure", "what it is", "test", head, "direction"], [[in_markdown(row[0]), *row[1:]] for row in rows]
    )
    more = "The figures at other K are in this card's metadata and in result.json."
    return f"{shown}\n\n{more}" if len(rows) < sum(value is not None for value in result.test.values()) else shown


def _groups(result: Result, field: str) -> str:
    """A row a group, lowest first; the figure is the one that the groups are compared by."""
    figure, rows = measured(result, field)
    if not rows:
        return ""
    cells = [
        [in_markdown(row["group"]), f"{row['size']:,}", f"{row['users']:,}", short(row[figure]),
         _span([row[f"{figure}_low"], row[f"{figure}_high"]])]
        for row in rows
    ]  # fmt: skip
    return _table(["group", f"{rows[0]['kind']}s", "judged users", in_markdown(figure), "interval"], cells)


def _limits(result: Result) -> Iterator[str]:
    """What the run warns of, and what no run of this package can say."""
    yield (
        "One split and one seed: intervals are over the judged users, given this model and this split; another split or"
        " seed may lie outside."
    )
    yield "Groups without a table above were not compared; a group of few users has a wide interval or no figure."
    yield "Held-out interactions were shaped by what was shown to users before; accuracy carries that bias."
    if not any(key.startswith("attr_auc") for key in result.test):
        yield "What the states of users give away about them was not measured."
    if pop := result.popularity:
        better = "beats" if pop["low"] > 0 else "is worse than" if pop["high"] < 0 else "is not shown to beat"
        yield f"It {better} the list of popular items for everyone: {pop['metric']} {short(pop['pop'])} for that list."
    yield from result.warnings


def _provenance(result: Result) -> Iterator[list[str]]:
    values: dict[str, Any] = {
        "model": result.model, "strategy": result.strategy, "data set": result.dataset,
        **{key: result.data.get(key) for key in (*_IDENTITY, "users", "items", "interactions")},
        "configuration hash": result.config_hash, "seed": result.seed,
        "stands on the run": ", ".join(Path(base).name for base in [result.base, *result.bases.values()] if base),
        "trained parameters": result.parameters.get("trainable"),
        "device": result.environment.get("device"),
        **{f"version of {name}": version for name, version in result.versions.items()},
    }  # fmt: skip
    for what, value in values.items():
        if value not in (None, ""):
            yield [what, in_markdown(f"{value:,}" if isinstance(value, int) and what != "seed" else value)]


def _span(bounds: Sequence[float | None] | None) -> str:
    low, high = bounds or (None, None)
    return "" if low is None or high is None else f"{short(low)} to {short(high)}"


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
