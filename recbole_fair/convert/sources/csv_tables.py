"""A user's own tables: a small yaml says which file and which column is what.

    inter: {file: ratings.csv, columns: {user_id: Reader, item_id: Book, rating: Stars}}
    user:  {file: people.csv, separator: ";", columns: {user_id: Id, gender: Sex}}
    item:
      file: books.csv
      columns: {item_id: Isbn, title: Title, genres: {column: Genres, kind: token_seq, split: "|"}}

`user` and `item` may be left out. With `header: false` columns are numbers, from 1. A column is a token unless it is
`rating` or `timestamp` (float) or its `kind` says otherwise. Quoted fields may hold separators and line breaks.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from recbole_fair.convert.ledger import BadLineError, Ledger
from recbole_fair.convert.raw import RawFile, RawFolder
from recbole_fair.convert.tables import ARROW, Kind, Row, Table, Tables, batches
from recbole_fair.errors import UsageError
from recbole_fair.settings import yamls

_IDS: Mapping[str, tuple[str, ...]] = {"inter": ("user_id", "item_id"), "user": ("user_id",), "item": ("item_id",)}
_TABLE_KEYS = {"file", "separator", "encoding", "header", "columns"}
_COLUMN_KEYS = {"column", "kind", "split"}
_NUMBERS = ("rating", "timestamp")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True)
class _Column:
    """Where a field comes from (a header's name, or a number from 1) and what it is."""

    source: str | int
    kind: Kind
    split: str


@dataclass(frozen=True)
class _Mapped:
    """One table of the mapping."""

    file: RawFile
    separator: str
    header: bool
    columns: Mapping[str, _Column]
    needed: tuple[str, ...]

    @property
    def kinds(self) -> dict[str, Kind]:
        return {name: column.kind for name, column in self.columns.items()}


def read(raw: RawFolder, options: Mapping[str, Any]) -> Tables:
    """The tables that the mapping names."""
    if "mapping" not in options:
        raise UsageError("convert csv: give --mapping FILE, the yaml that says which column is what (docs/data.md)")
    path = Path(options["mapping"])
    mapping = yamls.read_mapping(path)
    if "inter" not in mapping or not set(mapping) <= _IDS.keys():
        raise UsageError(f"{path}: expected inter, and perhaps user and item; it has {sorted(mapping)}")
    raw.used[path.name] = RawFile(path)
    return Tables(*(_table(raw, mapping.get(suffix), suffix, path) for suffix in _IDS))


def _table(raw: RawFolder, values: Any, suffix: str, path: Path) -> Table:
    if values is None:
        return Table(dict.fromkeys(_IDS[suffix], "token"), lambda _ledger: iter(()))
    mapped = _mapped(raw, values, suffix, path)
    return Table(mapped.kinds, lambda ledger: batches(_rows(mapped, ledger), mapped.kinds))


def _mapped(raw: RawFolder, values: Any, suffix: str, path: Path) -> _Mapped:
    where = f"{path}: {suffix}"
    if not isinstance(values, dict) or not {"file", "columns"} <= set(values) <= _TABLE_KEYS:
        raise UsageError(f"{where}: expected file and columns, and perhaps {sorted(_TABLE_KEYS - {'file', 'columns'})}")
    name, separator = str(values["file"]), str(values.get("separator", ","))
    if PurePath(name).name != name:
        raise UsageError(f"{where}: file={name!r} leaves the --raw folder; put the file there")
    if len(separator) != 1 or separator in '\r\n"':
        raise UsageError(f"{where}: separator={separator!r}; expected one character, as in ';'")
    columns, needed = values["columns"], _IDS[suffix]
    if not isinstance(columns, dict) or tuple(columns)[: len(needed)] != needed:
        raise UsageError(f"{where}: columns must begin with {' and '.join(needed)}")
    header = values.get("header", True)
    described = {str(field): _column(str(field), column, bool(header), where) for field, column in columns.items()}
    file = raw.file(name.removesuffix(".gz"), str(values.get("encoding", "utf-8")))
    return _Mapped(file, separator, bool(header), described, (*needed, *(n for n in _NUMBERS if suffix == "inter")))


def _column(field: str, value: Any, header: bool, where: str) -> _Column:
    described = value if isinstance(value, dict) else {"column": value}
    kind = described.get("kind", "float" if field in _NUMBERS else "token")
    source = described.get("column")
    if not _NAME.fullmatch(field) or kind not in ARROW or not set(described) <= _COLUMN_KEYS:
        raise UsageError(f"{where}.{field}: expected a name, and of column, kind ({', '.join(ARROW)}) and split")
    if field in ("user_id", "item_id") and kind != "token":
        raise UsageError(f"{where}.{field}: ids are tokens")
    if not (isinstance(source, str) if header else isinstance(source, int) and source >= 1):
        place = "a name of the header" if header else "a number from 1"
        raise UsageError(f"{where}.{field}: column={source!r}; expected {place}")
    assert isinstance(source, (str, int))
    return _Column(source, kind, str(described.get("split", " ")))


def _rows(mapped: _Mapped, ledger: Ledger) -> Iterator[Row]:
    records = _records(mapped)
    line, lines, first = next(records)
    if first is None:
        raise UsageError(f"{mapped.file.path}, line 1: broken quotes; expected fields and {mapped.separator!r}")
    places = _places(mapped, first)
    if not mapped.header:
        yield from _checked(mapped, places, len(first), (line, lines, first), ledger)
    for record in records:
        yield from _checked(mapped, places, len(first), record, ledger)


def _records(mapped: _Mapped) -> Iterator[tuple[int, int, list[str] | None]]:
    """First line, number of lines and fields of each record; None for fields that cannot be told apart."""
    reader = csv.reader(_text(mapped.file), delimiter=mapped.separator, strict=True)
    while True:
        start = reader.line_num + 1
        fields: list[str] | None = None
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):  # the rest of the file is gone: that is more than one bad line
                raise UsageError(f"{mapped.file.path}, line {start}: a quote that is never closed; close it") from error
        yield start, reader.line_num - start + 1, fields


def _text(file: RawFile) -> Iterator[str]:
    """Lines as text; bytes of another encoding become lone surrogates, by which their row is known and refused."""
    for number, line in file.lines():
        text = line.decode(file.encoding, "surrogateescape") + "\n"
        yield text.removeprefix("\ufeff") if number == 1 else text


def _places(mapped: _Mapped, first: list[str]) -> list[int]:
    """Where in a record each column stands."""
    if mapped.header:
        missing = [column.source for column in mapped.columns.values() if column.source not in first]
        places = [first.index(str(column.source)) for column in mapped.columns.values() if not missing]
    else:
        missing = [column.source for column in mapped.columns.values() if int(column.source) > len(first)]
        places = [int(column.source) - 1 for column in mapped.columns.values()]
    if missing:
        raise UsageError(f"{mapped.file.path}, line 1: has no column {missing[0]!r}; it has {first}")
    return places


def _checked(
    mapped: _Mapped, places: list[int], width: int, record: tuple[int, int, list[str] | None], ledger: Ledger
) -> Iterator[Row]:
    line, lines, fields = record
    ledger.count(mapped.file.path, 1 if fields is not None else lines)
    try:
        if fields is None:
            raise BadLineError("broken quotes")
        if len(fields) != width:
            raise BadLineError("the wrong number of fields")
        yield [
            _value(fields[place], column, name in mapped.needed)
            for place, (name, column) in zip(places, mapped.columns.items(), strict=True)
        ]
    except BadLineError as error:
        expected = f"{width} fields separated by {mapped.separator!r}"
        ledger.reject(mapped.file.path, line, str(error), expected, str(fields))


def _value(text: str, column: _Column, needed: bool) -> Any:
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        raise BadLineError("bytes of another encoding")
    if needed and not text.strip():
        raise BadLineError("an empty id, rating or timestamp")
    if column.kind == "token_seq":
        return [word for word in text.split(column.split) if word]
    return _number(text) if column.kind == "float" else text or None


def _number(text: str) -> float | None:
    try:
        value = float(text) if text.strip() else None
    except ValueError as error:
        raise BadLineError("a bad number") from error
    if value is not None and not math.isfinite(value):
        raise BadLineError("a bad number")
    return value
