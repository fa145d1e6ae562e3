"""A user's own tables: files, and which column of each is what.

Two ways to say it: the options of one command line (csv_options.py), or a small yaml for whatever these do not reach:

    inter: {file: ratings.csv, columns: {user_id: Reader, item_id: Book, rating: Stars}}
    user:  {file: people.csv, separator: ";", columns: {user_id: Id, gender: Sex}}
    item:
      file: books.csv
      columns: {item_id: Isbn, title: Title, genres: {column: Genres, kind: token_seq, split: "|"}}

`user` and `item` may be left out. With `header: false` columns are numbers, from 1. A column is a token unless it is
`rating` (float), `timestamp` (time) or its `kind` says otherwise. Quoted fields may hold separators and line breaks.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from recbole_fair.convert.ledger import BadLineError, Ledger
from recbole_fair.convert.raw import RawFile, RawFolder
from recbole_fair.convert.sources import csv_options
from recbole_fair.convert.tables import Kind, Row, Table, Tables, batches
from recbole_fair.errors import UsageError
from recbole_fair.registry import nearest
from recbole_fair.settings import yamls

_IDS: Mapping[str, tuple[str, ...]] = {"inter": ("user_id", "item_id"), "user": ("user_id",), "item": ("item_id",)}
_TABLE_KEYS = {"file", "separator", "encoding", "header", "columns"}
_COLUMN_KEYS = {"column", "kind", "split", "format"}
_NUMBERS = {"rating": "float", "timestamp": "time"}
_ATOMIC: Mapping[str, Kind] = {"token": "token", "token_seq": "token_seq", "float": "float", "time": "float"}
_CLOCKS = ("", " %H:%M", " %H:%M:%S")
_FORMS = [f"{day}{time}" for day in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d") for time in _CLOCKS]
_NAME = re.compile(r"[^\W\d]\w*")
_TIMES = "a date or time as in 2024-05-01 or 2024-05-01T04:35:54, or seconds since 1970"


@dataclass(frozen=True)
class _Column:
    """Where a field comes from (a header's name, or a number from 1) and what it is."""

    source: str | int
    kind: str
    split: str
    format: str
    needed: bool


@dataclass(frozen=True)
class _Mapped:
    """One table of the description."""

    file: RawFile
    separator: str
    header: bool
    columns: Mapping[str, _Column]

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each field is in the atomic file, where a time is a number."""
        return {name: _ATOMIC[column.kind] for name, column in self.columns.items()}


def read(raw: RawFolder, options: Mapping[str, Any]) -> Tables:
    """The tables that the mapping or the options name."""
    if "mapping" not in options:
        described = csv_options.described(options)
        return Tables(*(_table(described.get(suffix), suffix, "csv", raw.take) for suffix in _IDS))
    path = Path(options["mapping"])
    mapping = yamls.read_mapping(path)
    if "inter" not in mapping or not set(mapping) <= _IDS.keys():
        raise UsageError(f"{path}: expected inter, and perhaps user and item; it has {sorted(mapping)}")
    raw.take(str(path))

    def inside(name: str, encoding: str) -> RawFile:
        if PurePath(name).name != name:
            raise UsageError(f"{path}: file={name!r} leaves the --raw folder; put the file there")
        return raw.file(name.removesuffix(".gz"), encoding)

    return Tables(*(_table(mapping.get(suffix), suffix, str(path), inside) for suffix in _IDS))


def _table(values: Any, suffix: str, where: str, file: Callable[[str, str], RawFile]) -> Table:
    if values is None:
        return Table(dict.fromkeys(_IDS[suffix], "token"), lambda _ledger: iter(()))
    mapped = _mapped(values, suffix, f"{where}: {suffix}", file)
    return Table(mapped.kinds, lambda ledger: batches(_rows(mapped, ledger), mapped.kinds))


def _mapped(values: Any, suffix: str, where: str, file: Callable[[str, str], RawFile]) -> _Mapped:
    if not isinstance(values, dict) or not {"file", "columns"} <= set(values) <= _TABLE_KEYS:
        raise UsageError(f"{where}: expected file and columns, and perhaps {sorted(_TABLE_KEYS - {'file', 'columns'})}")
    separator = csv_options.separator_of(str(values.get("separator", ",")), f"{where}: separator")
    header, columns, first = bool(values.get("header", True)), values["columns"], _IDS[suffix]
    if not isinstance(columns, dict) or tuple(columns)[: len(first)] != first:
        raise UsageError(f"{where}: columns must begin with {' and '.join(first)}")
    encoding = csv_options.encoding_of(str(values.get("encoding", "utf-8")), where)
    needed = {*first, *(_NUMBERS if suffix == "inter" else ())}
    described = {str(name): _column(str(name), value, header, where, needed) for name, value in columns.items()}
    return _Mapped(file(str(values["file"]), encoding), separator, header, described)


def _column(name: str, value: Any, header: bool, where: str, needed: set[str]) -> _Column:
    described = value if isinstance(value, dict) else {"column": value}
    kind = str(described.get("kind", _NUMBERS.get(name, "token")))
    source = described.get("column")
    if not _NAME.fullmatch(name) or kind not in _ATOMIC or not set(described) <= _COLUMN_KEYS:
        raise UsageError(
            f"{where}.{name}: expected a name, and of column, kind ({', '.join(_ATOMIC)}), split and format"
        )
    if name in ("user_id", "item_id") and kind != "token":
        raise UsageError(f"{where}.{name}: ids are tokens")
    if not (isinstance(source, str) if header else isinstance(source, int) and source >= 1):
        place = "a name of the header" if header else "a number from 1"
        raise UsageError(f"{where}.{name}: column={source!r}; expected {place}")
    assert isinstance(source, (str, int))
    split, pattern = str(described.get("split", " ")), str(described.get("format", ""))
    if not split:
        raise UsageError(f"{where}.{name}: split is empty; expected what stands between the words, as in '|'")
    return _Column(source, kind, split, pattern, name in needed)


# --- rows


def _rows(mapped: _Mapped, ledger: Ledger) -> Iterator[Row]:
    records = _records(mapped)
    line, lines, first = next(records)
    if first is None:
        raise UsageError(f"{mapped.file.path}, line 1: broken quotes; expected fields and {mapped.separator!r}")
    reader = _Reader(mapped, _places(mapped, first), len(first), ledger)
    if not mapped.header:
        yield from reader.row(line, lines, first)
    for record in records:
        yield from reader.row(*record)


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
    sources = [column.source for column in mapped.columns.values()]
    for source in sources:
        available = first if mapped.header else range(1, len(first) + 1)
        if source not in available:
            alike = nearest(str(source), first) if mapped.header else ""
            raise UsageError(f"{mapped.file.path}, line 1: has no column {source!r}.{alike} It has {first}")
        if mapped.header and first.count(str(source)) > 1:
            raise UsageError(f"{mapped.file.path}, line 1: has several columns {source!r}; rename all but one")
    return [first.index(source) if isinstance(source, str) else source - 1 for source in sources]


@dataclass
class _Reader:
    """Records as rows; a column's times are all numbers or all dates, whichever the first of them is."""

    mapped: _Mapped
    places: list[int]
    width: int
    ledger: Ledger
    numbers: dict[str | int, bool] = field(default_factory=dict)

    def row(self, line: int, lines: int, fields: list[str] | None) -> Iterator[Row]:
        """The row of a record; none of one that cannot be read, which is counted."""
        path, separator = self.mapped.file.path, self.mapped.separator
        self.ledger.count(path, 1 if fields is not None else lines)
        try:
            if fields is None:
                raise BadLineError("broken quotes")
            if len(fields) != self.width:
                raise BadLineError(f"the wrong number of fields, {len(fields)}")
            columns = self.mapped.columns.values()
            yield [self._value(fields[place], column) for place, column in zip(self.places, columns, strict=True)]
        except BadLineError as error:
            self.ledger.reject(path, line, error, f"{self.width} fields separated by {separator!r}", str(fields))

    def _value(self, text: str, column: _Column) -> Any:
        name = column.source
        if any("\ud800" <= sign <= "\udfff" for sign in text):
            expected = f"{self.mapped.file.encoding}; perhaps it is encoding latin-1 or cp1252"
            raise BadLineError(f"bytes of another encoding in {name}", repr(text), expected)
        blank = not text.strip()
        if column.needed and blank:
            raise BadLineError(f"{name} is empty", "", "a value in every line")
        if column.kind == "token_seq":
            return [word for word in text.split(column.split) if word]
        if column.kind == "token":
            return text or None
        return None if blank else self._time(text, column) if column.kind == "time" else _number(text, name)

    def _time(self, text: str, column: _Column) -> float:
        """Seconds since 1970 (in UTC where no zone is named) of a date, or a number as it is."""
        if column.format:
            return _moment(text, column, lambda: datetime.strptime(text.strip(), column.format))
        try:
            number = float(text)
        except ValueError:
            number = None
        if self.numbers.setdefault(column.source, number is not None) != (number is not None):
            other = "numbers" if number is None else "dates"
            raise BadLineError(f"{column.source} is no time like those before it", text, f"{other} throughout")
        if number is not None:
            return _finite(number, text, column.source)
        return _moment(text, column, lambda: datetime.fromisoformat(text.strip()))


def _moment(text: str, column: _Column, parse: Callable[[], datetime]) -> float:
    try:
        moment = parse()
    except re.error as error:  # strptime makes a pattern of the format
        raise UsageError(
            f"time_format={column.format!r}: {error}; name each part of a time once (%m is the month, %M the minute)"
        ) from error
    except ValueError as error:
        expected = f"a time of the form {column.format}" if column.format else _TIMES + _other_forms(text)
        raise BadLineError(f"{column.source} is no date or time", text, expected) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _other_forms(text: str) -> str:
    """The usual ways to write dates that this one may be written in."""
    fitting = [f"--time_format='{form}'" for form in _FORMS if _fits(text, form)]
    return f"; of another form say {' or '.join(fitting or ['--time_format, as in --time_format=%d/%m/%Y'])}"


def _fits(text: str, form: str) -> bool:
    try:
        datetime.strptime(text.strip(), form)
    except ValueError:
        return False
    return True


def _number(text: str, name: str | int) -> float:
    try:
        return _finite(float(text), text, name)
    except ValueError as error:
        raise BadLineError(f"{name} is no number", text, "a number as in 3.5") from error


def _finite(value: float, text: str, name: str | int) -> float:
    if not math.isfinite(value):
        raise BadLineError(f"{name} is no number", text, "a finite number")
    return value
