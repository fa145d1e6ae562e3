"""The publishers' own files against a straight parse: counts, and every value as RecBole reads it back."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from convert.conftest import manifest, through_recbole

from recbole_fair.convert.sources.catalogue import SOURCES
from recbole_fair.settings.config import data_folder


def sizes(folder: Path) -> tuple[int, int, int]:
    facts = manifest(folder)
    return (
        facts["interactions"]["users"],
        facts["interactions"]["items"],
        facts["written"][f"{folder.name}.inter"]["rows"],
    )


def by_id(table: dict[str, list[Any]], key: str) -> dict[str, tuple[Any, ...]]:
    columns = [values for name, values in table.items() if name != key]
    return dict(zip(table[key], zip(*columns, strict=True), strict=True))


def or_pad(text: str) -> str:
    return text or "[PAD]"


def dat(path: Path) -> list[list[str]]:
    return [line.split("::") for line in path.read_text("latin-1").splitlines()]


def test_ml_1m_counts_and_rows(convert: Callable[..., Path], published: Callable[[str], Path]) -> None:
    raw = published("ml-1m")
    folder = convert("ml-1m", raw, verify="sample")
    assert sizes(folder) == (6040, 3706, 1000209)
    written = (folder / "ml-1m.inter").read_text().split("\n")
    assert written[0] == "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    assert written[1:-1] == ["\t".join(row) for row in dat(raw / "ratings.dat")]
    films = (folder / "ml-1m.item").read_text("utf-8").splitlines()[1:]
    assert len(films) == 3883
    for line, (item, title, genres) in zip(films, dat(raw / "movies.dat"), strict=True):
        assert line == f"{item}\t{title}\t{title[-5:-1]}\t{genres.replace('|', ' ')}"
    users = (folder / "ml-1m.user").read_text().splitlines()[1:]
    order = [(user, age, gender, job, place) for user, gender, age, job, place in dat(raw / "users.dat")]
    assert [tuple(line.split("\t")) for line in users] == order


@pytest.mark.slow
def test_ml_1m_through_recbole(convert: Callable[..., Path], published: Callable[[str], Path]) -> None:
    raw = published("ml-1m")
    read = through_recbole(convert("ml-1m", raw))
    ratings = dat(raw / "ratings.dat")
    for place, field in enumerate(("user_id", "item_id")):
        assert read["inter"][field] == [row[place] for row in ratings]
    for place, field in enumerate(("rating", "timestamp"), start=2):
        assert read["inter"][field] == [float(row[place]) for row in ratings]
    users = {user: (age, gender, job, place) for user, gender, age, job, place in dat(raw / "users.dat")}
    assert by_id(read["user"], "user_id") == users
    films = {item: (title, title[-5:-1], genres.split("|")) for item, title, genres in dat(raw / "movies.dat")}
    assert by_id(read["item"], "item_id") == films


def test_sushi(convert: Callable[..., Path], published: Callable[[str], Path]) -> None:
    raw = published("sushi3-2016")
    folder = convert("sushi", raw)
    assert sizes(folder) == (5000, 100, 50000)
    people = [line.split("\t") for line in (raw / "sushi3.udata").read_text().splitlines()]
    scores = [line.split() for line in (raw / "sushi3b.5000.10.score").read_text().splitlines()]
    read = through_recbole(folder)
    triples = list(zip(*(read["inter"][field] for field in ("user_id", "item_id", "rating")), strict=True))
    assert triples == [
        (person[0], str(item), float(score))
        for person, line in zip(people, scores, strict=True)
        for item, score in enumerate(line)
        if score != "-1"
    ]
    assert by_id(read["user"], "user_id") == {person[0]: tuple(person[1:]) for person in people}
    kinds = [line.split("\t") for line in (raw / "sushi3.idata").read_text().splitlines()]
    names = {"0": "maki roll", "1": "other style"}
    expected = {kind[0]: (*kind[1:5], *map(float, kind[5:]), names[kind[2]]) for kind in kinds}
    found = by_id(read["item"], "item_id")
    assert found.keys() == expected.keys()
    for item, row in expected.items():
        assert _close(found[item], row)


def _close(found: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    """Texts alike, numbers to the last unit (RecBole's parser is not exact beyond 15 digits)."""
    pairs = zip(found, expected, strict=True)
    return all(a == b or (isinstance(b, float) and abs(a - b) <= abs(b) * 2.3e-16) for a, b in pairs)


def test_insurance(convert: Callable[..., Path], published: Callable[[str], Path]) -> None:
    raw = published("insurance")
    folder = convert("insurance", raw)
    assert sizes(folder) == (29132, 21, 66353)
    with (raw / "Train.csv").open(newline="") as stream:
        header, *lines = csv.reader(stream)
    read = through_recbole(folder)
    owned = [
        (row[0], product) for row in lines for product, flag in zip(header[8:], row[8:], strict=True) if flag == "1"
    ]
    assert list(zip(read["inter"]["user_id"], read["inter"]["item_id"], strict=True)) == owned
    assert by_id(read["user"], "user_id") == {row[0]: tuple(map(or_pad, row[1:8])) for row in lines}
    assert by_id(read["item"], "item_id") == {product: (product,) for product in header[8:]}
    assert manifest(folder)["notes"]["user"] == {
        "an empty join_date: kept empty": sum(not row[1] for row in lines),
        "born after 2002, so a minor when joining: kept": sum(int(row[4]) > 2002 for row in lines),
        "marital_status 'f', not a code of this source: kept, in no bin of the data set yaml": 1,
    }


def crossing(path: Path) -> list[list[str]]:
    """A straight parse that looks at the quotes only: a separator is `;` after a closing and before an opening one."""
    lines = path.read_bytes().decode("latin-1").split("\r\n")[1:-1]
    return [
        [part.strip('"') if part == "NULL" else part for part in re.split(r'(?<="|L);(?="|N)', line)] for line in lines
    ]


def plain(field: str) -> str:
    return "" if field == "NULL" else unescape(field[1:-1].replace('\\"', '"'))


def test_book_crossing_counts_and_rows(convert: Callable[..., Path], published: Callable[[str], Path]) -> None:
    raw = published("book-crossing")
    folder = convert("book-crossing", raw, verify="sample")
    assert sizes(folder) == (51759, 27109, 230936)
    notes = manifest(folder)["notes"]["user"]
    assert notes == {"rated but not listed: added with empty fields": 3460}
    written = (folder / "book-crossing.inter").read_text().split("\n")[1:-1]
    assert written == ["\t".join(map(plain, row)) for row in crossing(raw / "BX-Book-Ratings.csv")]


@pytest.mark.slow
def test_book_crossing_through_recbole(convert: Callable[..., Path], published: Callable[[str], Path]) -> None:
    raw = published("book-crossing")
    read = through_recbole(convert("book-crossing", raw))
    ratings = [list(map(plain, row)) for row in crossing(raw / "BX-Book-Ratings.csv")]
    for place, field in enumerate(("user_id", "item_id")):
        assert read["inter"][field] == [row[place] for row in ratings]
    assert read["inter"]["rating"] == [float(row[2]) for row in ratings]
    people = {
        user: (place, or_pad(age)) for user, place, age in (map(plain, row) for row in crossing(raw / "BX-Users.csv"))
    }
    found = by_id(read["user"], "user_id")
    assert len(found) - len(people) == 3460
    assert found == {**dict.fromkeys(found, ("[PAD]", "[PAD]")), **people}
    books = {
        row[0]: tuple(map(or_pad, row[1:5])) for row in (list(map(plain, b)) for b in crossing(raw / "BX-Books.csv"))
    }
    assert by_id(read["item"], "item_id") == books


def test_ml_100k_from_the_packaged_copy(convert: Callable[..., Path], tmp_path: Path) -> None:
    packaged, raw = data_folder("ml-100k", tmp_path), tmp_path / "raw"
    raw.mkdir()
    rows = {
        s: [line.split("\t") for line in (packaged / f"ml-100k.{s}").read_text().splitlines()[1:]]
        for s in ("inter", "user", "item")
    }
    genres = [
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
        "Film-Noir",
        "Horror",
        "Musical",
        "Mystery",
        "Romance",
        "Sci-Fi",
        "Thriller",
        "War",
        "Western",
    ]
    for row in rows["item"]:
        if not row[2].isdecimal():  # the packaged copy took "unkonwn" and the (V) of "... (1995) (V)" for years
            row[1], row[2] = ("unknown", "") if row[2] == "unkonwn" else (row[1].removesuffix(" (1995)"), "1995")
    films = [
        [
            item,
            f"{title} ({year})" if year else title,
            f"01-Jan-{year}" if year else "",
            "",
            "",
            *("01"[g in kinds.split()] for g in genres),
        ]
        for item, title, year, kinds in rows["item"]
    ]
    (raw / "u.data").write_text("".join("\t".join(row) + "\n" for row in rows["inter"]))
    (raw / "u.user").write_text("".join("|".join(row) + "\n" for row in rows["user"]))
    (raw / "u.item").write_bytes("".join("|".join(row) + "\n" for row in films).encode("latin-1", "replace"))
    folder = convert("ml-100k", raw)
    assert sizes(folder) == (943, 1682, 100000)
    read = through_recbole(folder)
    assert [read["inter"][f] for f in ("user_id", "item_id")] == [[row[p] for row in rows["inter"]] for p in (0, 1)]
    assert [read["inter"][f] for f in ("rating", "timestamp")] == [
        [float(row[p]) for row in rows["inter"]] for p in (2, 3)
    ]
    assert by_id(read["user"], "user_id") == {row[0]: tuple(row[1:]) for row in rows["user"]}
    for item, (title, year, kinds) in by_id(read["item"], "item_id").items():
        source = next(row for row in rows["item"] if row[0] == item)
        assert (year, set(kinds)) == (or_pad(source[2]), set(source[3].split()))
        assert title.startswith(source[1].encode("latin-1", "replace").decode("latin-1"))


@pytest.mark.parametrize(
    ("source", "name"),
    [("sushi", "sushi3-2016"), *(pytest.param(name, name, marks=pytest.mark.slow) for name in ("ml-1m", "insurance"))],
)
def test_the_same_files_give_the_same_bytes(
    source: str, name: str, convert: Callable[..., Path], published: Callable[[str], Path], tmp_path: Path
) -> None:
    raw = published(name)
    one, two = (convert(source, raw, out=tmp_path / place, verify="sample") for place in ("one", "two"))
    files = sorted(path.name for path in one.iterdir())
    assert files == sorted([f"{source}.inter", f"{source}.item", f"{source}.user", "manifest.json"])
    assert all((one / file).read_bytes() == (two / file).read_bytes() for file in files)
    assert str(tmp_path) not in (one / "manifest.json").read_text()


def test_every_source_says_where_it_is_from() -> None:
    for source in SOURCES.values():
        assert source.publisher and source.licence and source.files
        assert source.name == "csv" or (source.citation and source.homepage)
