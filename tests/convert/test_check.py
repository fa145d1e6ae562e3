"""`convert --check`: sizes, groups, what is missing, and the first thing that would go wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from convert import mini

from recbole_fair.commands import convert as command
from recbole_fair.commands.arguments import Arguments
from recbole_fair.convert import check as checking
from recbole_fair.convert.check import check
from recbole_fair.convert.sources.catalogue import SOURCES
from recbole_fair.errors import UsageError


def test_a_good_data_set(convert: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = convert("ml-1m", mini.ml_1m(tmp_path / "raw"))
    capsys.readouterr()
    assert command.main(Arguments(options={"check": "ml-1m", "out": str(folder.parent)})) == 0
    report = capsys.readouterr().out
    ratings = [line.split("::")[:2] for line in (tmp_path / "raw" / "ratings.dat").read_text().splitlines()]
    users, items = ({row[place] for row in ratings} for place in (0, 1))
    surplus = len(ratings) - len({tuple(row) for row in ratings})
    assert f"{len(users)} users, {len(items)} items, 400 interactions" in report
    assert f"density {400 / len(users) / len(items):.6f}" in report
    assert f"in {surplus} rows" in report
    assert f".user: 30 rows, {len(users)} of them with interactions" in report
    assert "user groups by gender: F 15, M 15; in no group: 0" in report
    assert re.search(r"user groups by age: [^;]*\b0\b", report)  # a bin that nobody is in is a group of a run too
    assert "nothing that would go wrong was found" in report


def test_what_is_missing_is_counted(convert: Callable[..., Path], tmp_path: Path) -> None:
    convert("book-crossing", mini.book_crossing(tmp_path / "raw"))
    report = check("book-crossing", tmp_path / "out")
    lines = (tmp_path / "out/book-crossing/book-crossing.user").read_text().splitlines()[1:]
    missing = sum(line.endswith("\t") for line in lines)
    assert f".user age: {missing} of {len(lines)} missing" in report


@pytest.mark.parametrize(
    ("suffix", "change", "names"),
    [
        ("user", lambda text: text.replace("gender", "sex", 1), "load_col names 'gender'"),
        ("user", lambda text: "\n".join(text.splitlines()[:-3]) + "\n", "3 rated ids have no row in ml-1m.user"),
        ("item", lambda text: text.splitlines()[0] + "\n", "rated ids have no row in ml-1m.item"),
        ("inter", lambda text: text.replace("rating:float", "rating:token_seq", 1), "RecBole cannot load it|nothing"),
    ],
)
def test_the_first_thing_that_would_go_wrong(
    suffix: str, change: Callable[[str], str], names: str, convert: Callable[..., Path], tmp_path: Path
) -> None:
    path = convert("ml-1m", mini.ml_1m(tmp_path / "raw", rows=900)) / f"ml-1m.{suffix}"
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    report = check("ml-1m", tmp_path / "out").splitlines()[-1]
    assert any(name in report for name in names.split("|")), report


def test_no_time_and_wide_texts(convert: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = mini.csv_tables(tmp_path / "raw")
    convert("csv", raw, name="mine", mapping=tmp_path / "map.yaml")
    assert "nothing that would go wrong" in check("mine", tmp_path / "out")  # the starter file says order: RO
    (tmp_path / "out/mine/mine.yaml").unlink()
    assert "there is no timestamp" in check("mine", tmp_path / "out")
    monkeypatch.setattr(checking, "_TOO_MANY_BYTES", 1000)
    convert("ml-1m", mini.ml_1m(tmp_path / "films"))
    assert "the longest movie_title has" in check("ml-1m", tmp_path / "out")


def test_too_few_are_left_by_the_filters(convert: Callable[..., Path], tmp_path: Path) -> None:
    convert("amazon-books", mini.amazon(tmp_path / "raw", "2014"))
    assert "would go wrong first: RecBole cannot load it" in check("amazon-books", tmp_path / "out")


@pytest.mark.parametrize(
    "content", ["", "user_id\titem_id\n", "user_id:word\titem_id:token\n", "user_id:token\titem_id:token\n1\n"]
)
def test_files_that_are_not_atomic(content: str, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bad.inter").write_text(content)
    with pytest.raises(UsageError, match=r"bad.inter"):
        check("bad", tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        check("absent", tmp_path)


@pytest.mark.parametrize(
    ("inter", "user", "says"),
    [
        (
            "uid:token\titem_id:token\n",
            "user_id:token\n",
            r"own\.inter, line 1: has no field user_id; it has uid, item_id",
        ),
        ("user_id:token\titem_id:token\n", "uid:token\n", r"own\.user, line 1: has no field user_id; it has uid"),
    ],
)
def test_a_table_without_its_ids_is_refused(inter: str, user: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/own.inter").write_text(inter + "1\t2\n")
    (tmp_path / "own/own.user").write_text(user + "1\n")
    with pytest.raises(UsageError, match=says):
        check("own", tmp_path)


def test_rows_with_interactions_are_rows_of_the_table(convert: Callable[..., Path], tmp_path: Path) -> None:
    path = convert("ml-1m", mini.ml_1m(tmp_path / "raw")) / "ml-1m.user"
    path.write_text("\n".join(path.read_text("utf-8").splitlines()[:3]) + "\n", "utf-8")
    assert re.search(r"\.user: 2 rows, [0-2] of them with interactions", check("ml-1m", tmp_path / "out"))


def test_help_names_every_source() -> None:
    text = command.usage()
    assert all(f"\n  {name} " in text for name in SOURCES)
