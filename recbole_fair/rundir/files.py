"""The files of a finished run, apart from result.json itself, and the facts that result.json states."""

from __future__ import annotations

import csv
import io
import resource
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as arrow_csv
import torch

import recbole_fair
from recbole_fair import storage
from recbole_fair.data.labeled import AnswerTable
from recbole_fair.data.load import Data, Tokens
from recbole_fair.metrics.formulas import FloatArray
from recbole_fair.metrics.list_table import RankingTable
from recbole_fair.rundir.result import Result
from recbole_fair.training import checkpoint

_PACKAGES = ("recbole", "torch", "numpy", "scipy", "pandas", "transformers", "sentence-transformers", "ray")


def bars_wanted(quiet: bool) -> bool:
    """Progress bars only for someone who watches a terminal."""
    return not quiet and sys.stderr.isatty()


def describe(result: Result, config: Mapping[str, Any]) -> None:
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
        "candidates": loaded.asked,
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


def write_users(folder: Path, names: Tokens, table: RankingTable | AnswerTable) -> None:
    """users.csv: a row a judged user with its groups and what it adds to each figure.

    Lists: additive metrics, and hits and test items by item group. Answers: counts of right and wrong ones. `names`
    are the raw ids of all users.
    """
    values = dict(_answer_columns(table) if isinstance(table, AnswerTable) else _list_columns(table))
    user_groups = [groups for groups in table.groups.values() if groups.kind == "user"]
    labels = {groups.field: groups.labels(table.users) for groups in user_groups}
    columns = {"user_id": names[table.users].astype(object), **labels, **values}
    stream = pa.BufferOutputStream()
    options = arrow_csv.WriteOptions(include_header=False, quoting_style="needed")
    arrow_csv.write_csv(pa.table({name: pa.array(column) for name, column in columns.items()}), stream, options)
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(columns)
    storage.write_bytes(folder / "users.csv", header.getvalue().encode() + stream.getvalue().to_pybytes())


def _answer_columns(table: AnswerTable) -> Iterator[tuple[str, FloatArray]]:
    yield from table.confusion()._asdict().items()


def _list_columns(table: RankingTable) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    yield from table.per_user.items()
    for field, hits in table.hits.items():
        for k, at_k in zip(table.topk, np.moveaxis(hits, 1, 0), strict=True):
            for name, column in zip(table.groups[field].names, at_k.T, strict=True):
                yield f"hits[{field}:{name}@{k}]", column
        for name, column in zip(table.groups[field].names, table.relevant[field].T, strict=True):
            yield f"relevant[{field}:{name}]", column


def write_groups(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """groups.csv; a figure that is not printed is empty."""
    header = list(dict.fromkeys(key for row in rows for key in row)) or ["kind", "field", "group", "size", "users"]
    write_table(folder / "groups.csv", header, ([row.get(key) for key in header] for row in rows))


def write_history(folder: Path, history: Iterable[tuple[int, str, float]]) -> None:
    """history.csv: losses and validation figures by epoch."""
    write_table(folder / "history.csv", ["epoch", "metric", "value"], history)


def write_lists(folder: Path, loaded: Data, table: RankingTable) -> None:
    """recommendations.tsv and interactions.tsv with external ids, for whoever recomputes the figures."""
    users, items = loaded.tokens(loaded.dataset.uid_field), loaded.tokens(loaded.dataset.iid_field)
    rows = (
        (users[user], items[item], rank, score)
        for user, listed, valued in zip(table.users, table.lists, table.scores, strict=True)
        for rank, (item, score) in enumerate(zip(listed, valued, strict=True), start=1)
        if item
    )
    write_table(folder / "recommendations.tsv", ["user_id", "item_id", "rank", "score"], rows, "\t")
    splits = (
        (users[user], items[item], phase)
        for phase in loaded.parts
        for user, item in zip(*loaded.pairs(phase), strict=True)
    )
    write_table(folder / "interactions.tsv", ["user_id", "item_id", "split"], splits, "\t")


def write_predictions(folder: Path, loaded: Data, table: AnswerTable) -> None:
    """predictions.tsv: every judged pair with its label and score; `variant` says what the prompt held."""
    users, items = loaded.tokens(loaded.dataset.uid_field), loaded.tokens(loaded.dataset.iid_field)
    rows = (
        (users[user], items[item], int(label), variant, score)
        for variant, scores in table.scores.items()
        for user, item, label, score in zip(table.users[table.rows], table.items, table.labels, scores, strict=True)
    )
    write_table(folder / "predictions.tsv", ["user_id", "item_id", "label", "variant", "score"], rows, "\t")


def write_candidates(folder: Path, loaded: Data) -> None:
    """candidates.tsv: what was drawn for each user beside its own items."""
    users, items = loaded.tokens(loaded.dataset.uid_field), loaded.tokens(loaded.dataset.iid_field)
    rows = (
        (users[user], items[item], phase)
        for phase, loader in (("valid", loaded.valid), ("test", loaded.test))
        for user, item in loader.pairs()
    )
    write_table(folder / "candidates.tsv", ["user_id", "item_id", "split"], rows, "\t")
