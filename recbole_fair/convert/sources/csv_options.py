"""Own tables by the options of one command line, or by the arguments of `run`: `--user=customer --item=sku`.

What is not said is read off the header lines: the separator, and which other columns users and items have.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_fair.convert.raw import RawFile
from recbole_fair.errors import UsageError
from recbole_fair.registry import nearest

_FIELDS = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
_SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class _File:
    """A CSV file, how it is written, and the names in its first line."""

    path: Path
    separator: str
    encoding: str
    names: tuple[str, ...]

    def column(self, word: str, name: str) -> str:
        """The column that an option names, or a refusal."""
        if name not in self.names:
            has = ", ".join(self.names)
            raise UsageError(
                f"--{word}={name}: {self.path} has no such column.{nearest(name, self.names)} It has {has}"
            )
        return name

    def described(self, columns: dict[str, Any]) -> dict[str, Any]:
        """The file and these columns in the form that a mapping has."""
        how = {"separator": self.separator, "encoding": self.encoding}
        return {"file": str(self.path), "columns": columns, **how}


def described(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables in the form that a mapping file has."""
    if "interactions" not in options:
        raise UsageError(
            "convert csv: give the file of interactions, as in `convert csv purchases.csv --user=customer --item=sku`,"
            " or --raw DIR --mapping FILE, the yaml that says which column is what (docs/data.md)"
        )
    inter = _opened(options["interactions"], options)
    columns = _of_interactions(inter, options)
    tables = {"inter": inter.described(columns)}
    sides = {side: _opened(options[f"{side}s"], options) for side in ("user", "item") if options.get(f"{side}s")}
    ids = {side: _id_column(file, side, columns[f"{side}_id"], options) for side, file in sides.items()}
    lists = words(options.get("lists"))
    if absent := [name for name in lists if not any(name in file.names for file in sides.values())]:
        all_names = [name for file in sides.values() for name in file.names]
        raise UsageError(f"--lists={absent[0]}: no column of the users or items.{nearest(absent[0], all_names)}")
    fields = _field_names({side: [n for n in file.names if n != ids[side]] for side, file in sides.items()})
    for side, file in sides.items():
        own = {
            field: {"column": name, **_kind(name, lists)} for (owner, name), field in fields.items() if owner == side
        }
        tables[side] = file.described({f"{side}_id": ids[side], **own})
    return tables


def words(value: Any) -> list[str]:
    """The names that an option lists, by comma or as a list."""
    return [word.strip() for word in value.split(",")] if isinstance(value, str) else list(value or ())


def columns_not_taken(options: Mapping[str, Any]) -> list[str]:
    """The columns of the interactions that are not taken."""
    inter = _opened(options["interactions"], options)
    columns = _of_interactions(inter, options).values()
    taken = {column["column"] if isinstance(column, dict) else column for column in columns}
    return [name for name in inter.names if name not in taken]


def encoding_of(name: str, where: str) -> str:
    """An encoding in which a line ends as it does in ASCII, or a refusal."""
    try:
        ends_alike = codecs.lookup(name).encode("\n;")[0] == b"\n;"
    except (LookupError, UnicodeError):
        ends_alike = False
    if not ends_alike:
        raise UsageError(f"{where}: encoding={name}: expected utf-8, latin-1, cp1252 or alike; save the file as UTF-8")
    return name


def separator_of(text: str, named: str) -> str:
    """What stands between the fields of a line, by a word where it cannot be typed, or a refusal that names the key."""
    separator = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(separator) != 1 or separator in '\r\n"':
        raise UsageError(f"{named}={text}: expected one character, as in ';', or tab")
    return separator


def _opened(path: Any, options: Mapping[str, Any]) -> _File:
    path, encoding = Path(path), encoding_of(str(options.get("encoding", "utf-8")), "convert csv")
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    _, line = next(RawFile(path).lines())
    first = line.decode(encoding, "surrogateescape").removeprefix("\ufeff")
    separator = separator_of(str(options.get("separator") or max(_SEPARATORS, key=first.count)), "--separator")
    try:
        return _File(path, separator, encoding, tuple(next(csv.reader([first], delimiter=separator), ())))
    except csv.Error as error:
        raise UsageError(
            f"{path}, line 1: {error}; expected the names of columns, {separator!r} between them"
        ) from error


def _of_interactions(file: _File, options: Mapping[str, Any]) -> dict[str, Any]:
    """Field by column: as the options say, else the columns that are called like the fields."""
    columns: dict[str, Any] = {}
    for word, field in _FIELDS.items():
        if options.get(word):
            columns[field] = file.column(word, str(options[word]))
        elif field in file.names:
            columns[field] = field
        elif word in ("user", "item"):
            has = ", ".join(file.names)
            raise UsageError(f"{file.path}: which column names the {word}s? Give --{word}=COLUMN; it has {has}")
    if "timestamp" in columns and options.get("time_format"):
        columns["timestamp"] = {"column": columns["timestamp"], "kind": "time", "format": str(options["time_format"])}
    return columns


def _id_column(file: _File, side: str, in_interactions: str, options: Mapping[str, Any]) -> str:
    word = f"{side}s_id"
    if options.get(word):
        return file.column(word, str(options[word]))
    usual = (in_interactions, f"{side}_id", "id")
    if name := next((name for name in usual if name in file.names), None):
        return name
    has = ", ".join(file.names)
    raise UsageError(f"{file.path}: which column names the {side}s? Give --{word}=COLUMN; it has {has}")


def _field_names(columns: Mapping[str, Iterable[str]]) -> dict[tuple[str, str], str]:
    """A field for each column by its side; RecBole cannot read two of one name, so a shared one gets its side's."""
    plain = {(side, name): re.sub(r"\W+", "_", name).strip("_") for side, names in columns.items() for name in names}
    often = Counter([*plain.values(), *_FIELDS.values()])
    fields = {
        (side, name): f"{side}_{field}" if often[field] > 1 or not field[:1].isalpha() else field
        for (side, name), field in plain.items()
    }
    for (side, name), field in fields.items():
        if Counter(fields.values())[field] > 1:
            raise UsageError(f"--{side}s: several columns would be one field {field!r}, {name!r} among them; rename it")
    return fields


def _kind(name: str, lists: Iterable[str]) -> dict[str, str]:
    return {"kind": "token_seq", "split": "|"} if name in lists else {}
