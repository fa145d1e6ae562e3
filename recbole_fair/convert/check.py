"""`convert --check NAME`: what a converted data set holds, and the first thing that would go wrong in a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recbole_fair.convert.atomic import read_header, read_parts
from recbole_fair.convert.index import Index
from recbole_fair.convert.readback import FULL_ROWS, through_recbole
from recbole_fair.convert.tables import Kind, with_distinct
from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups, Values, product
from recbole_fair.groups.named import field_groups
from recbole_fair.settings import yamls
from recbole_fair.settings.config import Config, data_folder, merge, of_data_set

# RecBole keeps the tokens of a field in one numpy array of fixed width, four bytes a character.
_TOKEN_BYTES = 4
_TOO_MANY_BYTES = 4 << 30


@dataclass(frozen=True)
class _Side:
    """The users or the items: their columns as texts."""

    path: Path
    kinds: Mapping[str, Kind]
    columns: Mapping[str, pa.ChunkedArray]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def missing(self) -> dict[str, int]:
        """Empty fields by column."""
        empty = {name: pc.sum(pc.equal(column, "")).as_py() or 0 for name, column in self.columns.items()}
        return {name: rows for name, rows in empty.items() if rows}


@dataclass(frozen=True)
class _DataSet:
    """A data set as it lies on the disk, and the settings a run would have for it."""

    name: str
    folder: Path
    out: Path
    index: Index
    rows: int
    inter: Mapping[str, Kind]
    sides: Mapping[str, _Side]
    settings: Mapping[str, Any]

    def rated(self, side: str) -> pa.StringArray:
        """The ids of a side that have interactions."""
        return (self.index.users if side == "user" else self.index.items).names()

    def listed(self, side: str) -> int:
        """How many of these have a row in the table of their side."""
        columns = self.sides[side].columns
        ids = columns[f"{side}_id"].combine_chunks() if columns else pa.array([], pa.string())
        return pc.sum(pc.is_in(self.rated(side), ids)).as_py() or 0

    def values(self, field: str, key: str, kind: str) -> Values:
        """Raw values of a field, after the padding row that groups expect."""
        side = self.sides[kind]
        words = side.columns[field].to_pylist()
        if side.kinds[field] == "token_seq":
            return [(), *(tuple(filter(None, text.split(" "))) for text in words)]
        return [(), *((text,) if text else () for text in words)]


def check(name: str, out: Path) -> str:
    """Sizes, missing fields and groups of a data set, and the first thing that would go wrong in a run, in lines."""
    data = _read(name, out)
    lines = [*_sizes(data), *_missing(data), *_groups(data)]
    problem = next(_problems(data), None)
    lines.append(f"would go wrong first: {problem}" if problem else "nothing that would go wrong was found")
    return "\n".join(lines)


def _read(name: str, out: Path) -> _DataSet:
    folder = data_folder(name, out)
    inter = _header(folder / f"{name}.inter", "user_id", "item_id")
    index, rows = Index(), 0
    for part in read_parts(folder / f"{name}.inter", ["user_id", "item_id"]):
        index.add(with_distinct(part.select(["user_id", "item_id"])))
        rows += len(part)
    sides = {suffix: _side(folder / f"{name}.{suffix}") for suffix in ("user", "item")}
    settings = yamls.packaged("overall.yaml")
    merge(settings, of_data_set(folder))
    return _DataSet(name, folder, out, index, rows, inter, sides, settings)


def _header(path: Path, *ids: str) -> dict[str, Kind]:
    """The fields of a file, among which its ids must be."""
    kinds = read_header(path)
    if absent := next((name for name in ids if name not in kinds), None):
        raise UsageError(f"{path}, line 1: has no field {absent}; it has {', '.join(kinds)}. Rename the field of ids")
    return kinds


def _side(path: Path) -> _Side:
    if not path.is_file():
        return _Side(path, {}, {})
    kinds = _header(path, f"{path.suffix[1:]}_id")
    table = pa.Table.from_batches(read_parts(path), pa.schema([(name, pa.string()) for name in kinds]))
    return _Side(path, kinds, {name: table[name] for name in kinds})


def _sizes(data: _DataSet) -> Iterator[str]:
    users, items = len(data.index.users), len(data.index.items)
    density = data.rows / (users * items) if users and items else 0.0
    yield f"{data.folder}: {users} users, {items} items, {data.rows} interactions, density {density:.6f}"
    for suffix, side in data.sides.items():
        yield f"  .{suffix}: {len(side)} rows, {data.listed(suffix)} of them with interactions"
    duplicates = data.index.duplicates()
    yield f"  duplicates: {duplicates['pairs']} pairs come again, in {duplicates['rows']} rows"


def _missing(data: _DataSet) -> Iterator[str]:
    for suffix, side in data.sides.items():
        for field, rows in side.missing().items():
            yield f"  .{suffix} {field}: {rows} of {len(side)} missing ({rows / len(side):.1%})"


def _groups(data: _DataSet) -> Iterator[str]:
    for grouping in _groupings(data):
        sizes = grouping.membership.sum(axis=0).tolist()
        listed = ", ".join(f"{name} {size}" for name, size in zip(grouping.names, sizes, strict=True))
        yield f"  {grouping.kind} groups by {grouping.field}: {listed or 'none'}; in no group: {grouping.unknown}"


def _groupings(data: _DataSet) -> Iterator[Groups]:
    """The groups of the data set's yaml, over the rows of its tables; popularity depends on the split of a run."""
    settings, users, items = data.settings, data.sides["user"], data.sides["item"]
    for name in settings["user_groups"]:
        if set(fields := name.split("*")) <= users.columns.keys():
            yield product([field_groups(settings, data, "user", field, field, "user_groups") for field in fields])
    for name in settings["item_groups"]:
        field = settings["genre_field"] if name == "genre" else name
        if field in items.columns:
            yield field_groups(settings, data, "item", name, field, "item_groups")


def _problems(data: _DataSet) -> Iterator[str]:
    """What would go wrong, in the order in which a run would meet it."""
    yield from _absent_columns(data)
    yield from _absent_rows(data)
    if data.settings["eval_args"]["order"] == "TO" and "timestamp" not in data.inter:
        yield "there is no timestamp, and the default split goes by time; set eval_args.order=RO"
    yield from _wide_texts(data)
    if data.rows <= FULL_ROWS:
        yield from _host_refusal(data)


def _absent_columns(data: _DataSet) -> Iterator[str]:
    kinds = {"inter": data.inter, **{suffix: side.kinds for suffix, side in data.sides.items()}}
    for suffix, fields in (data.settings["load_col"] or {}).items():
        for field in fields:
            if field not in kinds.get(suffix, {}):
                yield f"load_col names {field!r}, which {data.name}.{suffix} does not have"


def _absent_rows(data: _DataSet) -> Iterator[str]:
    for suffix, side in data.sides.items():
        if side.columns and (absent := len(data.rated(suffix)) - data.listed(suffix)):
            yield f"{absent} rated ids have no row in {side.path.name}: RecBole drops their interactions"


def _wide_texts(data: _DataSet) -> Iterator[str]:
    for side in data.sides.values():
        for field, column in side.columns.items():
            longest = pc.max(pc.utf8_length(column)).as_py() or 0
            needed = _TOKEN_BYTES * longest * len(side)
            if side.kinds[field] == "token" and needed > _TOO_MANY_BYTES:
                yield (
                    f"the longest {field} has {longest} characters, so RecBole needs {needed / 2**30:.0f} GiB for this"
                    " column; convert with --filter, or leave it out of load_col"
                )


def _host_refusal(data: _DataSet) -> Iterator[str]:
    """Why RecBole cannot load the data set as a run would, or how little its filters leave; nothing if all is well."""
    try:
        config = Config("MF", data.name, overrides={"data_path": str(data.out)})
        dataset = through_recbole(config)
    except (UsageError, ValueError, KeyError, TypeError, AssertionError, IndexError) as error:
        yield f"RecBole cannot load it: {error}"
        return
    smallest = min(dataset.user_num, dataset.item_num) - 1
    if smallest < 1 or dataset.item_num - 1 <= max(config["topk"]):
        yield f"after the filters only {dataset.user_num - 1} users and {dataset.item_num - 1} items are left"
