"""A user's own tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from convert import mini
from convert.conftest import manifest, through_recbole

from recbole_fair.errors import UsageError


def test_two_tables(convert: Callable[..., Path], tmp_path: Path) -> None:
    raw = mini.csv_tables(tmp_path / "raw")
    folder = convert("csv", raw, name="mine", mapping=tmp_path / "map.yaml")
    read = through_recbole(folder)
    stars = [line.replace('"', "").split(";") for line in (raw / "stars.csv").read_text().splitlines()[1:]]
    columns = (read["inter"][field] for field in ("user_id", "item_id", "rating"))
    assert list(zip(*columns, strict=True)) == [(user, book, float(rating)) for user, book, rating in stars]
    titles = dict(zip(read["item"]["item_id"], read["item"]["title"], strict=True))
    assert titles["b7"] == 'Title, "7"\nsecond line'
    assert read["item"]["genres"][0] == ["Science\u00a0Fiction", "War"]
    assert sorted(read["user"]["user_id"]) == sorted({row[0] for row in stars})
    assert [file["name"] for file in manifest(folder)["files"]] == ["books.csv", "map.yaml", "stars.csv"]
    assert manifest(folder)["options"] == {"mapping": "map.yaml"}


@pytest.mark.parametrize(
    ("mapping", "names"),
    [
        ("user: {file: a, columns: {user_id: U}}", "expected inter"),
        ("inter: {file: stars.csv}", "expected file and columns"),
        ("inter: {file: ../stars.csv, columns: {user_id: Reader, item_id: Book}}", "leaves the --raw folder"),
        ("inter: {file: stars.csv, separator: ';;', columns: {user_id: Reader, item_id: Book}}", "one character"),
        ("inter: {file: stars.csv, columns: {item_id: Book, user_id: Reader}}", "must begin with user_id and item_id"),
        ("inter: {file: stars.csv, separator: ';', columns: {user_id: Reader, item_id: Buch}}", "has no column 'Buch'"),
        ("inter: {file: stars.csv, separator: ';', columns: {user_id: 1, item_id: 2}}", "a name of the header"),
        ("inter: {file: stars.csv, header: false, columns: {user_id: 1, item_id: 0}}", "a number from 1"),
        ("inter: {file: stars.csv, header: false, columns: {user_id: 1, item_id: 2}}", "has no column 2"),
        ("inter: {file: stars.csv, columns: {user_id: Reader, item_id: Book, 'a:b': Stars}}", "expected a name"),
        (
            "inter: {file: stars.csv, columns: {user_id: Reader, item_id: {column: Book, kind: float}}}",
            "ids are tokens",
        ),
        ("inter: {file: stars.csv, columns: {user_id: Reader, item_id: {column: Book, kind: word}}}", "kind"),
        ("inter: {file: stars.csv, columns: {user_id: Reader, item_id: {column: Book, kind: [word]}}}", "kind"),
        (
            "inter: {file: stars.csv, columns: {user_id: Reader, item_id: {column: Book, split: ''}}}",
            "split is empty",
        ),
        ("inter: {file: none.csv, columns: {user_id: Reader, item_id: Book}}", "no such file"),
        ("inter: 3", "expected file and columns"),
    ],
)
def test_mappings_that_cannot_be_followed(
    mapping: str, names: str, convert: Callable[..., Path], tmp_path: Path
) -> None:
    raw = mini.csv_tables(tmp_path / "raw")
    (tmp_path / "map.yaml").write_text(mapping)
    with pytest.raises(UsageError, match=names):
        convert("csv", raw, mapping=tmp_path / "map.yaml")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"r1;b1", "the wrong number of fields"),
        (b"r1;b1;many", "Stars is no number"),
        (b"r1;b1;nan", "Stars is no number"),
        (b"r1;b1;", "Stars is empty"),
        (b" ;b1;3", "Reader is empty"),
        (b'r1;"b"1;3', "broken quotes"),
        (b"r\xff;b1;3", "bytes of another encoding"),
        (b"r1;b1;3\0", "Stars is no number"),
    ],
)
def test_bad_lines(line: bytes, reason: str, convert: Callable[..., Path], tmp_path: Path) -> None:
    raw = mini.csv_tables(tmp_path / "raw")
    lines = (raw / "stars.csv").read_bytes().split(b"\n")
    (raw / "stars.csv").write_bytes(b"\n".join([*lines[:9], line, *lines[9:]]))
    with pytest.raises(UsageError, match=rf"stars.csv, line 10: {reason}"):
        convert("csv", raw, mapping=tmp_path / "map.yaml")
    account = manifest(convert("csv", raw, mapping=tmp_path / "map.yaml", on_error="drop"))["rows"]["inter"][
        "stars.csv"
    ]
    assert (account["read"], account["kept"]) == (201, 200)


def test_a_quote_that_is_never_closed(convert: Callable[..., Path], tmp_path: Path) -> None:
    raw = mini.csv_tables(tmp_path / "raw")
    (raw / "stars.csv").write_bytes((raw / "stars.csv").read_bytes() + b'r1;"b1;3\nr2;b2;4\n')
    with pytest.raises(UsageError, match=r"line 202: a quote that is never closed"):
        convert("csv", raw, mapping=tmp_path / "map.yaml", on_error="drop")


def test_a_mapping_is_needed(convert: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--mapping FILE"):
        convert("csv", mini.csv_tables(tmp_path / "raw"))
