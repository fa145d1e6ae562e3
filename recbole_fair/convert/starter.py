"""The property file of a user's own data set: what its tables hold, and bins proposed for numbers.

It lies beside the atomic files, every run on the data set reads it, and it is there to be edited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_fair.convert.atomic import read_header, read_parts
from recbole_fair.convert.sources import csv_options
from recbole_fair.settings import yamls
from recbole_fair.storage import MISSING_NUMBERS

NO_TIME = "no timestamps, so the split is random (eval_args.order=RO)"
_FEW = {"user": 12, "item": 40}  # values of a field, up to which each is proposed as a group
_ROWS = 5  # rows of a value, on average, from which it is proposed as a group
_TEXTS = 3  # fields of an item's text
_SMALLEST_TOPK = 20
_BINS = 3


def write(folder: Path) -> dict[str, Any]:
    """Write NAME.yaml into a data set's folder and return what it says."""
    name, values = folder.name, proposed(folder)
    notes = list(_notes(folder, values))
    head = (
        f"# What {name} holds. Every run on it reads this file; edit it, and --key=value on a command line still wins."
    )
    (folder / f"{name}.yaml").write_text("\n".join([head, *notes, yamls.dump(values)]), "utf-8")
    return values


def proposed(folder: Path) -> dict[str, Any]:
    """Order of the split, texts, groups and bins."""
    inter = read_header(folder / f"{folder.name}.inter")
    values: dict[str, Any] = {} if "timestamp" in inter else {"eval_args": {"order": "RO"}}
    groups: dict[str, list[str]] = {"user": [], "item": ["pop"]}
    texts, bins, unknown = [], {}, set()
    for side, name, column in _columns(folder):
        words = set(column.unique().to_pylist())
        numbers = _numbers(words - set(MISSING_NUMBERS))
        unknown |= words & set(MISSING_NUMBERS)
        if len(words) < 2:
            continue
        if len(words) <= min(_FEW[side], len(column) / _ROWS):
            groups[side].append(name)
        elif numbers is not None and (ranges := _ranges(column, numbers)):
            groups[side].append(name)
            bins[name] = ranges
        if side == "item" and numbers is None:
            texts.append(name)
    values |= {"item_groups": groups["item"], "user_groups": groups["user"]}
    values |= {"item_text": texts[:_TEXTS]} if texts else {}
    values |= {"group_bins": bins} if bins else {}
    values |= {"unknown_values": ["unknown", *sorted(unknown)]} if unknown else {}
    return values | _cutoffs(folder)


def _columns(folder: Path) -> Iterator[tuple[str, str, pa.ChunkedArray]]:
    """Side, name and non-empty texts of every column of users and items but their ids; a list's values apart."""
    for side in ("user", "item"):
        path = folder / f"{folder.name}.{side}"
        kinds = read_header(path)
        table = pa.Table.from_batches(read_parts(path), pa.schema([(name, pa.string()) for name in kinds]))
        for name, kind in list(kinds.items())[1:]:
            column = table[name].filter(pc.not_equal(table[name], ""))
            if kind == "token_seq":
                column = pc.list_flatten(pc.split_pattern(column, " "))
            if len(column):
                yield side, name, column


def _numbers(words: set[str]) -> np.ndarray[Any, Any] | None:
    """The values as numbers, if all of them are."""
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        return None
    return numbers if len(numbers) and np.isfinite(numbers).all() else None


def _ranges(column: pa.ChunkedArray, numbers: np.ndarray[Any, Any]) -> dict[str, str]:
    """Three intervals that hold about as many rows each."""
    rows = np.array([float(word) for word in column.to_pylist() if word not in MISSING_NUMBERS])
    cuts = np.unique(np.quantile(rows, [place / _BINS for place in range(1, _BINS)], method="nearest"))
    cuts = [f"{cut:.15g}" for cut in cuts if cut > numbers.min()]  # as they stand in the file
    if not cuts:
        return {}
    edges = ["-inf", *cuts, "inf"]
    names = [f"below_{cuts[0]}", *(f"{low}_to_{high}" for low, high in pairwise(cuts))]
    names.append(f"from_{cuts[-1]}")
    return {
        name: f"{'(' if low == '-inf' else '['}{low},{high})"
        for name, (low, high) in zip(names, pairwise(edges), strict=True)
    }


def _cutoffs(folder: Path) -> dict[str, Any]:
    """Shorter lists where there are few items: a list of all of them says nothing."""
    name = f"{folder.name}.item"
    items = sum(len(part) for part in read_parts(folder / name, ["item_id"]))
    if items > _SMALLEST_TOPK:
        return {}
    topk = sorted({max(1, items // 8), max(1, items // 4), max(1, items // 2)})
    return {"topk": topk, "valid_metric": f"NDCG@{topk[-1]}"}


def _notes(folder: Path, values: Mapping[str, Any]) -> Iterator[str]:
    """What a reader of the file should know of the fields that it does not name."""
    if "eval_args" in values:
        yield "# There is no time, so the split is random (order: RO); models that read items in order need a time."
    for side, name, column in _columns(folder):
        if name not in [*values[f"{side}_groups"], *values.get("item_text", ())]:
            count = len(column.unique())
            yield f"# {name}: {count} values; {side}_groups with group_bins: {{{name}: 10}} keeps the ten largest."


def lacking(folder: Path, options: Mapping[str, Any]) -> Iterator[str]:
    """A sentence on each thing that own tables do not have, with what would give it."""
    fields = {side: list(read_header(folder / f"{folder.name}.{side}")) for side in ("inter", "user", "item")}
    if "interactions" in options and (rest := csv_options.columns_not_taken(options)):
        yield f"columns left out: {', '.join(rest)}"
    if "timestamp" not in fields["inter"]:
        yield f"{NO_TIME} ({folder.name}.yaml says so); --time=COLUMN names one"
    if "rating" not in fields["inter"]:
        yield "no ratings: every row counts as a like; --rating=COLUMN names them"
    else:
        yield (
            "ratings are kept, and every row counts as a like, whatever its rating, until a run says"
            " --val_interval=\"{rating: '[4,inf)'}\" (or predicts likes: --eval_protocol=labeled)"
        )
    for side, use in (("user", "user groups"), ("item", "item texts (AlphaRec) and groups")):
        if len(fields[side]) == 1:
            yield f"no fields of {side}s, so no {use}; --{side}s=FILE gives them"
