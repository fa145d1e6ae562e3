"""MovieLens-1M (`::` between fields, latin-1) and MovieLens-100K (tabs and `|`, latin-1).

Field names are those of RecBole's own conversions, so that property files for one serve the other. Titles stay whole,
year included; the year is a field of its own as well. MovieLens-1M codes age (1, 18, ..., 56) and occupation (0-20).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from recbole_fair.convert.delimited import Delimited
from recbole_fair.convert.ledger import BadLineError
from recbole_fair.convert.raw import RawFile, RawFolder, accepted, fields_of, line_table
from recbole_fair.convert.tables import Kind, Row, Table, Tables

_INTER: Mapping[str, Kind] = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}
_USER: Mapping[str, Kind] = dict.fromkeys(("user_id", "age", "gender", "occupation", "zip_code"), "token")
_RATINGS = {"user_id": pa.string(), "item_id": pa.string(), "rating": pa.int64(), "timestamp": pa.int64()}
# Until 2100: a digit too many is noticed.
_RANGES = {"rating": (1.0, 5.0), "timestamp": (0.0, 4102444800.0)}
_YEAR = re.compile(r"\((\d{4})\)(?: \(V\))?\s*$")  # (V): published on video
# Flags of u.item, in its order (u.genre).
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


def read_1m(raw: RawFolder, _options: Mapping[str, Any]) -> Tables:
    """ratings.dat, users.dat and movies.dat."""
    ratings = Delimited(b"::", _RATINGS, _RANGES, alphabet=b"0123456789:\n")
    expected = "UserID::MovieID::Rating::Timestamp, the rating from 1 to 5"
    return Tables(
        _ratings(raw.file("ratings.dat"), ratings, expected),
        line_table(raw.file("users.dat", "latin-1"), _user_1m, "UserID::Gender::Age::Occupation::Zip-code", _USER),
        line_table(raw.file("movies.dat", "latin-1"), _movie_1m, "MovieID::Title::Genre|Genre", _item("genre")),
    )


def read_100k(raw: RawFolder, _options: Mapping[str, Any]) -> Tables:
    """u.data, u.user and u.item; the genres of a film are flags in a fixed order."""
    ratings = Delimited(b"\t", _RATINGS, _RANGES, alphabet=b"0123456789\t\n")
    expected = "user, item, rating from 1 to 5 and timestamp, separated by tabs"
    film = f"id|title|release date|video release date|URL and {len(_GENRES)} flags 0 or 1"
    return Tables(
        _ratings(raw.file("u.data"), ratings, expected),
        line_table(
            raw.file("u.user", "latin-1"),
            lambda line: _user(*_fields(line, "|", 5)),
            "id|age|gender|occupation|zip code",
            _USER,
        ),
        line_table(raw.file("u.item", "latin-1"), _movie_100k, film, _item("class")),
    )


def _item(genre: str) -> Mapping[str, Kind]:
    return {"item_id": "token", "movie_title": "token", "release_year": "token", genre: "token_seq"}


def _ratings(file: RawFile, layout: Delimited, expected: str) -> Table:
    return Table(_INTER, lambda ledger: accepted(file, layout.parse, expected, ledger))


def _fields(line: str, separator: str, width: int) -> list[str]:
    fields = fields_of(line, separator, width)
    if not fields[0].isdecimal():
        raise BadLineError("an id that is no number")
    return fields


def _user(user: str, age: str, gender: str, occupation: str, zip_code: str) -> Row:
    if gender not in {"M", "F"}:
        raise BadLineError("a gender other than M and F")
    if not age.isdecimal():
        raise BadLineError("an age that is no number")
    return user, age, gender, occupation or None, zip_code or None


def _user_1m(line: str) -> Row:
    user, gender, age, *rest = _fields(line, "::", 5)
    return _user(user, age, gender, *rest)


def _movie_1m(line: str) -> Row:
    item, title, genres = _fields(line, "::", 3)
    return item, title or None, _year(title), genres.split("|")


def _year(title: str) -> str | None:
    """1995 of a title like `Toy Story (1995)`."""
    match = _YEAR.search(title)
    return match.group(1) if match else None


def _movie_100k(line: str) -> Row:
    item, title, released, _, _, *flags = _fields(line, "|", 5 + len(_GENRES))
    if not set(flags) <= {"0", "1"}:
        raise BadLineError("a genre flag other than 0 and 1")
    genres = [genre for genre, flag in zip(_GENRES, flags, strict=True) if flag == "1"]
    return item, title or None, _year(title) or _year(f"({released[-4:]})"), genres
