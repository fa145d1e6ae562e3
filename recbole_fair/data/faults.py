"""What is wrong with files that RecBole cannot load: the first fault, with its file, line and remedy."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from recbole_fair.data.identity import SUFFIXES
from recbole_fair.groups.named import reads_as_number
from recbole_fair.storage import MISSING_NUMBERS, open_regular

_FILTERS = ("val_interval", "user_inter_num_interval", "item_inter_num_interval")


def first_fault(config: Any, error: Exception) -> str:
    """A sentence on the file or key that RecBole stumbled over; its own words only where none is found."""
    paths = [config.folder / f"{config['dataset']}{suffix}" for suffix in SUFFIXES]
    faults = (fault for path in paths if path.is_file() for fault in _faults(path, config))
    if fault := next(faults, None):
        return fault
    filters = ", ".join(f"{key}={config[key]!r}" for key in _FILTERS if config[key] not in (None, {}, "[0,inf)"))
    if filters and "empty" in str(error):
        return f"{config.folder}: no interaction is left by {filters}; loosen it"
    words = " ".join(str(error).split()) or type(error).__name__
    return f"{config.folder}: RecBole cannot load or split this data set: {words[:300]}; convert it with recbole-fair"


def _faults(path: Path, config: Any) -> Iterator[str]:
    number = 1
    try:
        with TextIOWrapper(open_regular(path), config["encoding"], newline="") as stream:
            reader = csv.reader(stream, delimiter=config["field_separator"], strict=True)
            columns = [(name, kind) for name, _, kind in (column.partition(":") for column in next(reader))]
            for fields in filter(None, reader):
                number = reader.line_num
                if fault := _fault(columns, fields, config["seq_separator"]):
                    yield f"{path}, line {number}: {fault}; correct it"
            if number == 1:
                remedy = "it needs interactions" if path.suffix == ".inter" else "fill it, or remove the file"
                yield f"{path}: holds no row after its first line; {remedy}"
    except UnicodeError as error:
        yield f"{path}: cannot be read as {config['encoding']} ({error}); say which it is, as in --encoding=latin-1"
    except csv.Error as error:
        yield f"{path}, line {number + 1}: {_REASONS.get(str(error).partition(' (')[0], _QUOTES)} ({error})"


_QUOTES = 'a quote that does not end its field; double it and quote the field, as in "a ""b"" c"'
_REASONS = {"field larger than field limit": "a field too long for RecBole's reader; shorten it"}


def _fault(columns: Sequence[tuple[str, str]], fields: list[str], separator: str) -> str:
    """What is wrong with a record, if anything."""
    if len(fields) > len(columns):
        return f"{len(fields)} fields, the first line names {len(columns)}"
    for (name, kind), text in zip(columns, fields, strict=False):
        words = text.split(separator) if kind == "float_seq" else [text]
        if kind.startswith("float") and not all(word in MISSING_NUMBERS or reads_as_number(word) for word in words):
            return f"{name}={text[:60]!r} is no {kind}"
    return ""
