r"""Book-Crossing in the layout of the original dump: latin-1, `"a";"b"`, `\"` inside a field, NULL without quotes.

A rating of 0 means that the book was seen but not rated; all are kept, the data set yaml leaves the zeros out. Ages
run from 0 to 244 and stay as they are; the yaml's bins decide which are believed. There is no time in this source.
The image URLs are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import unescape
from typing import Any

from recbole_fair.convert.ledger import BadLineError
from recbole_fair.convert.raw import RawFolder, line_table
from recbole_fair.convert.tables import Kind, Row, Table, Tables

_INTER: Mapping[str, Kind] = {"user_id": "token", "item_id": "token", "rating": "float"}
_USER: Mapping[str, Kind] = {"user_id": "token", "location": "token", "age": "token"}
_ITEM: Mapping[str, Kind] = dict.fromkeys(
    ("item_id", "book_title", "book_author", "publication_year", "publisher"), "token"
)
_RATING = re.compile(r'"(\d+)";"(.+)";"(10|\d)"')
_PERSON = re.compile(r'"(\d+)";"(.*)";(?:"(\d{1,3})"|NULL)')
_BOOK_FIELDS = 8


def read(raw: RawFolder, _options: Mapping[str, Any]) -> Tables:
    """BX-Book-Ratings.csv, BX-Users.csv and BX-Books.csv."""

    def table(name: str, parse: Callable[[str], Row], header: str, columns: Mapping[str, Kind]) -> Table:
        header = ";".join(f'"{field}"' for field in header.split(";"))
        return line_table(raw.file(name, "latin-1"), parse, f"fields as in the header, {header}", columns, header)

    book = "ISBN;Book-Title;Book-Author;Year-Of-Publication;Publisher;Image-URL-S;Image-URL-M;Image-URL-L"
    return Tables(
        table("BX-Book-Ratings.csv", _rating, "User-ID;ISBN;Book-Rating", _INTER),
        table("BX-Users.csv", _person, "User-ID;Location;Age", _USER),
        table("BX-Books.csv", _book, book, _ITEM),
    )


def _text(field: str) -> str | None:
    r"""A field without its escapes and entities: `\"` is a quote, `&amp;` an ampersand."""
    return unescape(field.replace('\\"', '"')) or None


def _rating(line: str) -> Row:
    match = _RATING.fullmatch(line)
    if not match or not match.group(2).strip():
        raise BadLineError("not three quoted fields with a rating from 0 to 10")
    return match.group(1), _text(match.group(2)), float(match.group(3))


def _person(line: str) -> Row:
    match = _PERSON.fullmatch(line)
    if not match:
        raise BadLineError("not an id, a place and an age or NULL")
    return match.group(1), _text(match.group(2)), match.group(3)


def _book(line: str) -> Row:
    if len(line) < 2 or line[0] != '"' or line[-1] != '"':
        raise BadLineError("not quoted fields")
    fields = line[1:-1].split('";"')
    if len(fields) == _BOOK_FIELDS - 1:  # a few titles of the original dump swallowed the author: `title\\";author`
        fields = line[1:-1].replace('\\";', '";"', 1).split('";"')
    if len(fields) != _BOOK_FIELDS:
        raise BadLineError("the wrong number of fields")
    isbn, title, author, year, publisher, *_ = fields
    if not isbn.strip() or not year.isdecimal():
        raise BadLineError("an empty ISBN or a year that is no number")
    return _text(isbn), _text(title), _text(author), year, _text(publisher)
