"""SUSHI preference data set: 5,000 people, 100 kinds of sushi, ten scores each.

The n-th line of the score file belongs to the n-th line of sushi3.udata. The `.order` files are not read: they list
items by preference, so the "last" item of one is its label. There is no time in this source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recbole_fair.convert.ledger import BadLineError, Ledger
from recbole_fair.convert.raw import RawFile, RawFolder, fields_of, line_table
from recbole_fair.convert.tables import Kind, Row, Table, Tables, batches
from recbole_fair.errors import UsageError

_INTER: Mapping[str, Kind] = {"user_id": "token", "item_id": "token", "rating": "float"}
_USER: Mapping[str, Kind] = dict.fromkeys(
    (
        "user_id", "gender", "age", "seconds_needed", "prefecture_until_15", "region_until_15", "east_west_until_15",
        "prefecture_now", "region_now", "east_west_now", "moved",
    ),
    "token",
)  # fmt: skip
_ITEM: Mapping[str, Kind] = {
    **dict.fromkeys(("item_id", "name", "style", "major_group", "minor_group"), "token"),
    **dict.fromkeys(("lightness", "eaten_often", "price", "sold_often"), "float"),
    "style_name": "token",
}
_STYLES = {"0": "maki roll", "1": "other style"}
_UNRATED = "-1"
_SCORES = {_UNRATED: None, "0": 0.0, "1": 1.0, "2": 2.0, "3": 3.0, "4": 4.0}
_KINDS = 100


def read(raw: RawFolder, _options: Mapping[str, Any]) -> Tables:
    """sushi3.udata, sushi3.idata and sushi3b.5000.10.score."""
    people, kinds, scores = (raw.file(name) for name in ("sushi3.udata", "sushi3.idata", "sushi3b.5000.10.score"))
    return Tables(
        Table(_INTER, lambda ledger: batches(_ratings(people, scores, ledger), _INTER)),
        line_table(people, _person, f"{len(_USER)} numbers separated by tabs", _USER),
        line_table(kinds, _kind, "id, name, style 0 or 1, two groups and four numbers, separated by tabs", _ITEM),
    )


def _person(line: str) -> Row:
    fields = fields_of(line, "\t", len(_USER))
    if not all(field.isdecimal() for field in fields):
        raise BadLineError("a field that is no number")
    if fields[1] not in {"0", "1"} or fields[2] not in set("012345"):
        raise BadLineError("a gender or age code that does not exist")
    return fields


def _kind(line: str) -> Row:
    item, name, style, major, minor, *numbers = fields_of(line, "\t", len(_ITEM) - 1)
    if not (item.isdecimal() and major.isdecimal() and minor.isdecimal() and style in _STYLES):
        raise BadLineError("a code that does not exist")
    return item, name or None, style, major, minor, *map(_number, numbers), _STYLES[style]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise BadLineError("a bad number") from error
    if not 0 <= value <= 10:  # every measure lies from 0 to 5; nan is refused as well
        raise BadLineError("a measure out of its range")
    return value


def _ratings(people: RawFile, scores: RawFile, ledger: Ledger) -> Iterator[Row]:
    """The scores that were given, line by line beside the people who gave them."""
    users, number = _ids(people), 0
    for number, line in scores.lines():
        ledger.count(scores.path)
        try:
            yield from _scores_of(users, number, scores.text(line))
        except BadLineError as error:
            expected = f"{_KINDS} scores -1 or 0 to 4, separated by blanks, for the person of that line"
            ledger.reject(scores.path, number, error, expected, line.decode("ascii", "backslashreplace"))
    if number < len(users):
        raise UsageError(f"{scores.path}: ends after line {number}; {people.path.name} has {len(users)} people")


def _ids(people: RawFile) -> list[str | None]:
    """Ids by line; None where the line is bad, which the table of users accounts for."""
    ids: list[str | None] = []
    for _, line in people.lines():
        try:
            ids.append(_person(people.text(line))[0])
        except BadLineError:
            ids.append(None)
    return ids


def _scores_of(users: list[str | None], number: int, line: str) -> list[Row]:
    scores = fields_of(line, " ", _KINDS)
    if not set(scores) <= _SCORES.keys():
        raise BadLineError("a score other than -1 and 0 to 4")
    user = users[number - 1] if number <= len(users) else None
    if user is None:
        raise BadLineError("there is no readable line for this person in sushi3.udata")
    return [(user, str(item), _SCORES[score]) for item, score in enumerate(scores) if score != _UNRATED]
