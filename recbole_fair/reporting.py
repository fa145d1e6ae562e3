"""The files of a finished run, apart from result.json itself, and the facts that result.json states."""

from __future__ import annotations

import csv
import io
import resource
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recbole_fair
from recbole_fair import checkpoint, storage
from recbole_fair.config import Config
from recbole_fair.data import Data
from recbole_fair.evaluation.collector import UserFigures
from recbole_fair.groups import Groups
from recbole_fair.result import Result

_PACKAGES = ("recbole", "torch", "numpy", "scipy", "pandas", "transformers", "sentence-transformers", "ray")


def bars_wanted(quiet: bool) -> bool:
    """Progress bars only for someone who watches a terminal."""
    return not quiet and sys.stderr.isatty()


def describe(result: Result, config: Config) -> None:
    """Versions and the machine."""
    result.versions = {"recbole_fair": recbole_fair.__version__, "python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            result.versions[package] = version(package)
        except PackageNotFoundError:
            continue
    result.environment = {"device": str(config["device"]), "threads": torch.get_num_threads()}


def peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU where one was used, else of the process since it started."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def data_facts(loaded: Data, fingerprint: str) -> dict[str, Any]:
    """What result.json says of the data."""
    return {
        "fingerprint": fingerprint,
        "split": loaded.split_digest(),
        "candidates": None,
        "users": loaded.dataset.user_num - 1,
        "items": loaded.dataset.item_num - 1,
        "interactions": sum(len(loaded.pairs(phase)[0]) for phase in loaded.parts),
    }


def data_warnings(loaded: Data) -> list[str]:
    """Interactions that RecBole left out without a word (trap 10)."""
    dropped = loaded.rows_read - len(loaded.dataset.inter_feat)
    if not dropped:
        return []
    return [
        f"{dropped} of {loaded.rows_read} interactions are not used: a filter (val_interval, ..._inter_num_interval)"
        " left them out, or their user or item has no row in .user or .item"
    ]


def parameter_counts(model: torch.nn.Module) -> dict[str, int]:
    """All parameters, and those that are trained; item vectors that a strategy refines are among both."""
    frozen = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    trainable = sum(value.numel() for value in checkpoint.trained(model).values())
    return {"total": frozen + trainable, "trainable": trainable}


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> None:
    """A small table as text, whole or not at all."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    storage.write_text(path, stream.getvalue())


def write_users(folder: Path, loaded: Data, figures: UserFigures, user_groups: Sequence[Groups]) -> None:
    """users.csv: a row a judged user with its groups, additive metrics, and hits and test items by item group."""
    columns = {
        **figures.metrics,
        **{f"hits[{name}]": values for name, values in figures.hits.items()},
        **{f"relevant[{name}]": values for name, values in figures.relevant.items()},
    }
    tokens = loaded.tokens(loaded.dataset.uid_field)[figures.users]
    labels = [["|".join(groups.of(user)) for groups in user_groups] for user in figures.users.tolist()]
    table = np.column_stack(list(columns.values())).tolist()
    rows = ([token, *label, *map(_number, row)] for token, label, row in zip(tokens, labels, table, strict=True))
    write_table(folder / "users.csv", ["user_id", *(groups.field for groups in user_groups), *columns], rows)


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def group_rows(
    config: Config, figures: UserFigures, item_groups: Sequence[Groups], user_groups: Sequence[Groups]
) -> list[dict[str, Any]]:
    """One row a group.

    A user group shows the mean of each metric over its users; an item group the mean, over the users with a test
    item in it, of hits / test items (BiFair, Eq. 1 with Recall as the utility).
    """
    rows = []
    for groups in user_groups:
        member = groups.membership[figures.users]  # [U, G]
        for place, name in enumerate(groups.names):
            chosen = member[:, place]
            shown = chosen.sum() >= config["min_group_users"]
            means = {key: float(values[chosen].mean()) if shown else None for key, values in figures.metrics.items()}
            rows.append(_group_row(groups, place, name, int(chosen.sum()), means))
    for groups in item_groups:
        for place, name in enumerate(groups.names):
            relevant = figures.relevant[f"{groups.field}:{name}"]
            having = relevant > 0
            utilities = {}
            for k in config["topk"]:
                hits = figures.hits[f"{groups.field}:{name}@{k}"]
                utilities[f"recall@{k}"] = float((hits[having] / relevant[having]).mean()) if having.any() else None
            rows.append(_group_row(groups, place, name, int(having.sum()), utilities))
    return rows


def _group_row(groups: Groups, place: int, name: str, users: int, metrics: dict[str, float | None]) -> dict[str, Any]:
    size = int(groups.membership[:, place].sum())
    return {"kind": groups.kind, "field": groups.field, "group": name, "size": size, "users": users, **metrics}


def write_groups(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """groups.csv; a figure that is not printed is empty."""
    header = list(dict.fromkeys(key for row in rows for key in row)) or ["kind", "field", "group", "size", "users"]
    write_table(folder / "groups.csv", header, ([row.get(key) for key in header] for row in rows))


def write_history(folder: Path, history: Iterable[tuple[int, str, float]]) -> None:
    """history.csv: losses and validation figures by epoch."""
    write_table(folder / "history.csv", ["epoch", "metric", "value"], history)


def write_lists(folder: Path, loaded: Data, figures: UserFigures) -> None:
    """recommendations.tsv and interactions.tsv with external ids, for whoever recomputes the figures."""
    users, items = loaded.tokens(loaded.dataset.uid_field), loaded.tokens(loaded.dataset.iid_field)
    rows = (
        (users[user], items[item], rank, score)
        for user, listed, valued in zip(figures.users, figures.lists, figures.scores, strict=True)
        for rank, (item, score) in enumerate(zip(listed, valued, strict=True), start=1)
        if np.isfinite(score)
    )
    write_table(folder / "recommendations.tsv", ["user_id", "item_id", "rank", "score"], rows, "\t")
    splits = (
        (users[user], items[item], phase)
        for phase in loaded.parts
        for user, item in zip(*loaded.pairs(phase), strict=True)
    )
    write_table(folder / "interactions.tsv", ["user_id", "item_id", "split"], splits, "\t")
