"""`--filter FILE`: the filters of a data set yaml, applied while writing instead of at every load.

Same keys, same order and same result as RecBole's own (`_data_filtering`): rm_dup_inter, val_interval, then the
numbers of interactions again and again until nothing more falls out. Two passes over the raw files: the first one
keeps 64 bits a row and decides, the second one writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recbole_fair.convert.index import Codes, IdMap, Index, Pairs
from recbole_fair.convert.ledger import Ledger
from recbole_fair.convert.sides import restricted
from recbole_fair.convert.tables import Table, Tables, with_distinct
from recbole_fair.errors import UsageError
from recbole_fair.groups.bins import bounds
from recbole_fair.settings import yamls

KEYS = ("rm_dup_inter", "val_interval", "user_inter_num_interval", "item_inter_num_interval")
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Filtered:
    """Tables that stream only what is kept, and what the manifest says of the rest."""

    tables: Tables
    account: dict[str, Any]


@dataclass
class _Seen:
    """What the first pass keeps of every row."""

    index: Index
    inside: Mask
    times: npt.NDArray[np.float64] | None


def read_rules(path: Path) -> dict[str, Any]:
    """The filter keys of a property file; a file without any is a mistake."""
    rules = {key: value for key, value in yamls.read_mapping(path).items() if key in KEYS and value is not None}
    if not rules:
        raise UsageError(f"{path}: has none of {', '.join(KEYS)}; name a data set yaml that filters")
    if rules.get("rm_dup_inter", "first") not in ("first", "last"):
        raise UsageError(f"{path}: rm_dup_inter={rules['rm_dup_inter']!r}; expected first or last")
    if not isinstance(rules.get("val_interval", {}), dict):
        raise UsageError(f'{path}: val_interval maps a field to an interval, as in `rating: "[3,inf)"`')
    intervals = {key: text for key, text in rules.items() if key.endswith("_inter_num_interval")}
    intervals |= {f"val_interval.{field}": text for field, text in rules.get("val_interval", {}).items()}
    for key, text in intervals.items():
        within(np.empty(0), text, f"{path}: {key}")  # refused before the first pass over the data
    return rules


def apply(tables: Tables, path: Path, drop: bool) -> Filtered:
    """Decide, and wrap the three tables so that they stream what is kept."""
    rules = read_rules(path)
    intervals = _value_intervals(rules, tables.inter, path)
    seen = _first_pass(tables.inter, intervals, "rm_dup_inter" in rules, drop)
    keep, dropped = _decide(seen, rules, path)
    kept_tables = Tables(
        _masked(tables.inter, keep),
        restricted(tables.user, _names(seen.index.users, keep)),
        restricted(tables.item, _names(seen.index.items, keep)),
    )
    return Filtered(kept_tables, {"rules": rules, "read": len(keep), "kept": int(keep.sum()), "dropped": dropped})


def _value_intervals(rules: Mapping[str, Any], inter: Table, path: Path) -> dict[str, str]:
    for field in rules.get("val_interval", {}):
        if inter.columns.get(field) != "float":
            raise UsageError(
                f"{path}: val_interval.{field}: only numbers of the interactions are filtered while writing"
                f" ({[name for name, kind in inter.columns.items() if kind == 'float']}); leave it to the run's yaml"
            )
    return dict(rules.get("val_interval", {}))


def _first_pass(inter: Table, intervals: Mapping[str, str], timed: bool, drop: bool) -> _Seen:
    index, inside, times, ledger = Index(), [], [], Ledger(drop)
    ledger.reading = "inter"
    for part in inter.parts(ledger):
        index.add(with_distinct(part))
        good = np.ones(len(part), bool)
        for field, text in intervals.items():
            good &= within(_numbers(part, field), text, f"val_interval.{field}")
        inside.append(good)
        if timed and "timestamp" in inter.columns:
            times.append(_numbers(part, "timestamp"))
    return _Seen(index, np.concatenate(inside or [np.empty(0, bool)]), np.concatenate(times) if times else None)


def _numbers(part: pa.RecordBatch, field: str) -> npt.NDArray[np.float64]:
    return pc.cast(part[field], pa.float64()).to_numpy(zero_copy_only=False)


def _decide(seen: _Seen, rules: Mapping[str, Any], path: Path) -> tuple[Mask, dict[str, int]]:
    users, items = seen.index.users.codes(), seen.index.items.codes()
    keep, dropped = np.ones(len(users), bool), {}
    if "rm_dup_inter" in rules:
        keep = _one_of_each(seen.index.pairs(), seen.times, rules["rm_dup_inter"])
        dropped["rm_dup_inter"] = len(keep) - int(keep.sum())
    if "val_interval" in rules:
        before = int(keep.sum())
        keep &= seen.inside
        dropped["val_interval"] = before - int(keep.sum())
    before = int(keep.sum())
    keep = _core(keep, {"user_inter_num_interval": users, "item_inter_num_interval": items}, rules)
    dropped["inter_num_interval"] = before - int(keep.sum())
    if not keep.any():
        raise UsageError(f"{path}: these filters leave no interaction (dropped: {dropped}); loosen them")
    return keep, dropped


def _one_of_each(pairs: Pairs, times: npt.NDArray[np.float64] | None, which: str) -> Mask:
    """The first or last of each pair by time; ties, and data without time, by the order of the file."""
    order = np.arange(len(pairs)) if times is None else np.argsort(times, kind="stable")
    if which == "last":
        order = order[::-1]
    _, chosen = np.unique(pairs[order], return_index=True)
    keep = np.zeros(len(pairs), bool)
    keep[order[chosen]] = True
    return keep


def _core(keep: Mask, sides: Mapping[str, Codes], rules: Mapping[str, Any]) -> Mask:
    """Drop users and items out of their interval until none is."""
    while True:
        good = keep.copy()
        for key, codes in sides.items():
            if key in rules and len(codes):
                counts = np.bincount(codes[keep], minlength=int(codes.max()) + 1)
                good &= within(counts.astype(np.float64), rules[key], key)[codes]
        if good.sum() == keep.sum():
            return keep
        keep = good


def _names(ids: IdMap, keep: Mask) -> pa.StringArray:
    return ids.names().take(pa.array(np.unique(ids.codes()[keep])))


def _masked(inter: Table, keep: Mask) -> Table:
    def stream(ledger: Ledger) -> Iterator[pa.RecordBatch]:
        row = 0
        for part in inter.parts(ledger):
            yield part.filter(pa.array(keep[row : row + len(part)]))
            row += len(part)

    return Table(inter.columns, stream)


def within(values: npt.NDArray[np.float64], text: str, key: str) -> Mask:
    """Which numbers lie in one of the intervals, written as RecBole reads them.

    >>> within(np.array([1.0, 2.0, 3.0, 9.0]), "[1,2);(3,inf)", "rating").tolist()
    [True, False, False, True]
    """
    inside = np.zeros(len(values), bool)
    for part in str(text).split(";"):
        low, high, closed_low, closed_high = bounds(part, key)
        above = values >= low if closed_low else values > low
        below = values <= high if closed_high else values < high
        inside |= above & below
    return inside
