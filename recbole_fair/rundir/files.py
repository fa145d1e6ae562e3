"""The files of a finished run, apart from result.json itself: how each is written; a protocol says which are."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as arrow_csv

from recbole_fair import storage
from recbole_fair.metrics.answer_table import AnswerTable
from recbole_fair.metrics.formulas import FloatArray
from recbole_fair.metrics.list_table import RankingTable
from recbole_fair.metrics.stereotypes import COLUMNS, stereotype_rows

if TYPE_CHECKING:
    from recbole_fair.data.load import Data, Tokens


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
    columns = {"user_id": names[table.users], **labels, **values, **dict(_stored_columns(table))}
    stream = pa.BufferOutputStream()
    options = arrow_csv.WriteOptions(include_header=False, quoting_style="needed")
    arrow_csv.write_csv(pa.table({name: _arrow(column) for name, column in columns.items()}), stream, options)
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(columns)
    storage.write_bytes(folder / "users.csv", header.getvalue().encode() + stream.getvalue().to_pybytes())


def _arrow(column: npt.NDArray[Any]) -> pa.Array:
    """A column of numbers or words by its buffers: pyarrow's own conversion imports pandas."""
    if column.dtype.kind in "iuf":
        values = pa.py_buffer(np.ascontiguousarray(column))
        return pa.Array.from_buffers(pa.from_numpy_dtype(column.dtype), len(column), [None, values])
    words = [word.encode() for word in column.tolist()]
    ends = np.cumsum([0, *map(len, words)], dtype=np.int64)
    return pa.Array.from_buffers(
        pa.large_string(), len(words), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(words))]
    )


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


def _stored_columns(table: RankingTable | AnswerTable) -> Iterator[tuple[str, FloatArray]]:
    """A figure that the other columns do not give: its sum above and below the line, by group."""
    for figure in table.stored:
        terms = table.terms(*figure)
        for part, matrix in zip(("above", "below"), terms, strict=True):
            for number, column in enumerate(matrix.T):
                yield f"{part}[{figure.name}|{figure.grouping}|{figure.prompt}|{number}]", column


def write_groups(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """groups.csv; a figure that is not printed is empty."""
    header = list(dict.fromkeys(key for row in rows for key in row)) or ["kind", "field", "group", "size", "users"]
    write_table(folder / "groups.csv", header, ([row.get(key) for key in header] for row in rows))


def write_history(folder: Path, history: Iterable[tuple[int, str, float]]) -> None:
    """history.csv: losses and validation figures by epoch."""
    write_table(folder / "history.csv", ["epoch", "metric", "value"], history)


def write_lists(folder: Path, loaded: Data, table: RankingTable) -> None:
    """interactions.tsv, then recommendations.tsv, with external ids, for whoever recomputes the figures.

    A run that is asked for its lists later looks for the last of them: a killed process leaves none that is alone.
    """
    users, items = loaded.tokens(loaded.dataset.uid_field), loaded.tokens(loaded.dataset.iid_field)
    splits = (
        (users[user], items[item], phase)
        for phase in loaded.parts
        for user, item in zip(*loaded.pairs(phase), strict=True)
    )
    write_table(folder / "interactions.tsv", ["user_id", "item_id", "split"], splits, "\t")
    rows = (
        (users[user], items[item], rank, score)
        for user, listed, valued in zip(table.users, table.lists, table.scores, strict=True)
        for rank, (item, score) in enumerate(zip(listed, valued, strict=True), start=1)
        if item
    )
    write_table(folder / "recommendations.tsv", ["user_id", "item_id", "rank", "score"], rows, "\t")


def write_predictions(folder: Path, loaded: Data, table: AnswerTable) -> None:
    """predictions.tsv: every judged pair with its label and score; `variant` says what the prompt held."""
    users, items = loaded.tokens(loaded.dataset.uid_field), loaded.tokens(loaded.dataset.iid_field)
    rows = (
        (users[user], items[item], int(label), str(variant), score)
        for variant, scores in table.scores.items()
        for user, item, label, score in zip(table.users[table.rows], table.items, table.labels, scores, strict=True)
    )
    write_table(folder / "predictions.tsv", ["user_id", "item_id", "label", "variant", "score"], rows, "\t")


def write_stereotypes(folder: Path, loaded: Data, table: AnswerTable) -> None:
    """stereotypes.csv: which items are a stereotype of which group and why, where a metric reads stereotypes."""
    if table.histories is not None:
        users = table.users[table.rows]
        rows = stereotype_rows(table.histories, loaded.names("item").tolist(), users, table.items, table.recommended())
        write_table(folder / "stereotypes.csv", COLUMNS, rows)


def write_candidates(folder: Path, loaded: Data, _: RankingTable) -> None:
    """candidates.tsv: what was drawn for each user beside its own items."""
    users, items = loaded.tokens(loaded.dataset.uid_field), loaded.tokens(loaded.dataset.iid_field)
    rows = (
        (users[user], items[item], phase)
        for phase, loader in (("valid", loaded.valid), ("test", loaded.test))
        for user, item in loader.pairs()
    )
    write_table(folder / "candidates.tsv", ["user_id", "item_id", "split"], rows, "\t")


# By the names that a protocol asks for (evaluation/protocols.py).
WRITERS: Mapping[str, Callable[[Path, Data, Any], None]] = MappingProxyType(
    {
        "lists": write_lists,
        "predictions": write_predictions,
        "stereotypes": write_stereotypes,
        "candidates": write_candidates,
    }
)
