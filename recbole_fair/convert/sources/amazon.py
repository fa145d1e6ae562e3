"""Amazon reviews in their three published layouts: 2014, 2018 and 2023, recognised from the names of the files.

What they share stands once; what tells them apart is a row of `_LAYOUTS`. Times are seconds in all of them (2023 has
milliseconds). 2014's metadata are Python literals, read with `ast.literal_eval`, which executes nothing.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any

import pyarrow as pa

from recbole_fair.convert.atomic import MAX_FIELD
from recbole_fair.convert.delimited import Delimited
from recbole_fair.convert.ledger import BadLineError
from recbole_fair.convert.raw import RawFile, RawFolder, accepted, line_table
from recbole_fair.convert.tables import Kind, Row, Table, Tables
from recbole_fair.errors import UsageError

_INTER: Mapping[str, Kind] = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}
_ITEM: Mapping[str, Kind] = {"item_id": "token", "title": "token", "categories": "token_seq"}
_RANGES = {"rating": (0.0, 5.0), "timestamp": (0.0, 4102444800.0)}
# A literal is built in memory before anyone can look at it.
_MAX_LITERAL = 1 << 20
# Four bytes a character and every quote doubled still pass the writer.
_MAX_TEXT = MAX_FIELD // 8
_CATEGORY = re.compile(r"\w+")
_CSV_TYPES = {"user_id": pa.string(), "item_id": pa.string(), "rating": pa.float64(), "timestamp": pa.float64()}


@dataclass(frozen=True)
class _Layout:
    """File names (`{}` is the category), the order of a ratings CSV, and the fields of a review and of an item."""

    csv: str
    reviews: tuple[str, ...]
    meta: str
    csv_order: tuple[str, ...]
    user: str
    item: str
    rating: str
    time: str
    ticks: int
    literal: bool = False


_LAYOUTS: Mapping[str, _Layout] = {
    "2014": _Layout(
        "ratings_{}.csv", ("reviews_{}.json", "reviews_{}_5.json"), "meta_{}.json",
        ("user_id", "item_id", "rating", "timestamp"), "reviewerID", "asin", "overall", "unixReviewTime", 1, True,
    ),
    "2018": _Layout(
        "{}.csv", ("{}.json", "{}_5.json"), "meta_{}.json",
        ("item_id", "user_id", "rating", "timestamp"), "reviewerID", "asin", "overall", "unixReviewTime", 1,
    ),
    "2023": _Layout(
        "", ("{}.jsonl",), "meta_{}.jsonl", (), "user_id", "parent_asin", "rating", "timestamp", 1000,
    ),
}  # fmt: skip


def read(raw: RawFolder, options: Mapping[str, Any]) -> Tables:
    """The ratings or reviews of a category, and its metadata."""
    category = str(options.get("category", ""))
    if not _CATEGORY.fullmatch(category):
        raise UsageError(f"--category={category!r}: name one of the publisher's categories, as in --category Books")
    layout, name = _recognised(raw, category, options.get("layout"))
    ratings, meta = raw.file(name), raw.file(layout.meta.format(category))
    return Tables(
        _csv_ratings(ratings, layout) if name.endswith(".csv") else _json_ratings(ratings, layout),
        Table({"user_id": "token"}, lambda _ledger: iter(())),
        _items(meta, layout),
    )


def _recognised(raw: RawFolder, category: str, year: str | None) -> tuple[_Layout, str]:
    """The layout and the one file of interactions in the folder."""
    if year is not None and year not in _LAYOUTS:
        raise UsageError(f"--layout={year}: choose one of {', '.join(_LAYOUTS)}")
    names = {
        pattern.format(category): layout
        for edition, layout in _LAYOUTS.items()
        if year in (None, edition)
        for pattern in (layout.csv, *layout.reviews)
        if pattern
    }
    present = [name for name in names if raw.find(name)]
    if not present:
        raise UsageError(f"{raw.path}: no interactions of {category}; expected one of {', '.join(names)}, plain or .gz")
    if len(present) > 1:
        raise UsageError(f"{raw.path}: holds {' and '.join(present)}; leave one of them, or name its --layout")
    return names[present[0]], present[0]


def _csv_ratings(file: RawFile, layout: _Layout) -> Table:
    columns = {name: _CSV_TYPES[name] for name in layout.csv_order}
    delimited = Delimited(b",", columns, _RANGES)
    expected = f"{','.join(layout.csv_order)} without a header, the rating from 0 to 5"
    return Table(_INTER, lambda ledger: accepted(file, delimited.parse, expected, ledger))


def _json_ratings(file: RawFile, layout: _Layout) -> Table:
    # Python's own parser: arrow's crashes the process on a line that is `null` (pyarrow 19).
    expected = f"a JSON object with {layout.user}, {layout.item}, {layout.rating} from 0 to 5 and {layout.time}"
    return line_table(file, lambda text: _review(_record(text), layout), expected, _INTER)


def _review(record: Mapping[str, Any], layout: _Layout) -> Row:
    user, item, rating, time = (record.get(name) for name in (layout.user, layout.item, layout.rating, layout.time))
    if not isinstance(user, str) or not isinstance(item, str) or not user.strip() or not item.strip():
        raise BadLineError("an empty id")
    return user, item, _number(rating, "rating"), _number(time, "timestamp", layout.ticks)


def _number(value: object, name: str, ticks: int = 1) -> float:
    low, high = _RANGES[name]
    # nan, which compares false with everything, is refused as well.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not low * ticks <= value <= high * ticks:
        raise BadLineError(f"a {name} that is not from {low:g} to {high:g}")
    return value / ticks


def _record(text: str, literal: bool = False) -> dict[str, Any]:
    """A line as a mapping: JSON, or where the layout has them a Python literal."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not literal:
            raise BadLineError("no JSON object") from error
        value = _literal(text)
    if not isinstance(value, dict):
        raise BadLineError("no mapping of names to values")
    return value


def _literal(text: str) -> object:
    if len(text) > _MAX_LITERAL:
        raise BadLineError(f"a Python literal of more than {_MAX_LITERAL} characters")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise BadLineError("neither JSON nor a Python literal") from error


def _items(file: RawFile, layout: _Layout) -> Table:
    kind = "a Python literal" if layout.literal else "a JSON object"
    expected = f"{kind} with {layout.item}, and perhaps title and categories"
    return line_table(file, lambda text: _item(_record(text, layout.literal), layout.item), expected, _ITEM)


def _item(record: Mapping[str, Any], id_field: str) -> Row:
    """2014's categories are a list of paths, 2018 calls its path `category`."""
    item, title = record.get(id_field), record.get("title")
    if not isinstance(item, str) or not item.strip():
        raise BadLineError("an empty id")
    if not isinstance(title, str | None):
        raise BadLineError("a title that is no text")
    words = list(dict.fromkeys(_flat(record.get("categories") or record.get("category") or [])))
    if max(len(title or ""), len(" ".join(words))) > _MAX_TEXT:
        raise BadLineError(f"a text of more than {_MAX_TEXT} characters")
    return item, unescape(title or "") or None, words


def _flat(paths: object) -> Iterator[str]:
    if not isinstance(paths, list):
        raise BadLineError("categories that are no list")
    for entry in paths:
        if isinstance(entry, str):
            yield unescape(entry)
        else:
            yield from _flat(entry)
