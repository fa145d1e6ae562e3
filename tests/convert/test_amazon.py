"""Amazon in its three layouts, plain and gzip: six times the same data set."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from convert import mini
from convert.conftest import manifest, through_recbole

from recbole_fair.convert.ledger import BadLineError
from recbole_fair.convert.sources import amazon
from recbole_fair.errors import UsageError

PRODUCTS = [*itertools.product(mini.LAYOUTS, (False, True), ("csv", "json"))]


def files(folder: Path) -> list[bytes]:
    return [(folder / f"{folder.name}.{suffix}").read_bytes() for suffix in ("inter", "user", "item")]


@pytest.fixture
def first(convert: Callable[..., Path], tmp_path: Path) -> Path:
    return convert("amazon-books", mini.amazon(tmp_path / "first", "2014"))


@pytest.mark.parametrize(("layout", "zipped", "kind"), PRODUCTS)
def test_all_layouts_agree(
    layout: str, zipped: bool, kind: str, first: Path, convert: Callable[..., Path], tmp_path: Path
) -> None:
    raw = mini.amazon(tmp_path / "raw", layout, zipped, kind)
    assert files(convert("amazon-books", raw, out=tmp_path / "other")) == files(first)


def test_what_comes_out(first: Path) -> None:
    read = through_recbole(first)
    assert read["inter"]["user_id"] == [{"NA": "NA"}.get(user, user) for user, _, _, _ in mini.REVIEWS]
    assert read["inter"]["item_id"] == [item for _, item, _, _ in mini.REVIEWS]
    assert read["inter"]["rating"] == [rating for _, _, rating, _ in mini.REVIEWS]
    assert read["inter"]["timestamp"] == [float(seconds) for _, _, _, seconds in mini.REVIEWS]
    assert sorted(read["user"]["user_id"]) == ["NA", "u1", "u2"]
    rows = zip(read["item"]["item_id"], read["item"]["title"], read["item"]["categories"], strict=True)
    assert {item: (title, path) for item, title, path in rows} == {
        "A": ('Tom & Jerry\'s\t"best"\r\nof', ["Books", "Arts\u00a0&\u00a0Photography"]),
        "B": ("[PAD]", ["Books", "None"]),
        "C": ("[PAD]", []),
        "D": ("None", []),
        "E": ("[PAD]", ["Books"]),
    }


def test_what_the_manifest_says(first: Path) -> None:
    facts = manifest(first)
    assert facts["interactions"]["duplicates"]["pairs"] == 1
    assert facts["interactions"]["ranges"] == {"rating": [1.0, 5.0], "timestamp": [1355616000.0, 1355616005.0]}
    assert facts["notes"] == {
        "item": {
            "listed again: the first row is kept": 1,
            "never rated: kept": 2,
            "rated but not listed: added with empty fields": 1,
        },
        "user": {"rated but not listed: added with empty fields": 3},
    }
    assert facts["written"]["amazon-books.item"]["missing"] == {"title": 3, "categories": 2}
    assert facts["options"] == {"category": "Books"}


def test_a_folder_with_two_layouts_is_refused_unless_one_is_named(convert: Callable[..., Path], tmp_path: Path) -> None:
    raw = mini.amazon(mini.amazon(tmp_path / "raw", "2014"), "2023")
    with pytest.raises(UsageError, match=r"holds ratings_Books.csv and Books.jsonl.*--layout"):
        convert("amazon-books", raw)
    assert files(convert("amazon-books", raw, layout=2023))


@pytest.mark.parametrize(
    ("options", "names"),
    [({"category": "Games"}, "no interactions of Games"), ({}, "--category=''"), ({"category": "../x"}, "--category")],
)
def test_a_category_that_is_not_there(options: dict, names: str, convert: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=names):
        convert("amazon", mini.amazon(tmp_path / "raw", "2014"), **options)


@pytest.mark.parametrize("layout", mini.LAYOUTS)
def test_missing_metadata_and_both_plain_and_gzip_are_refused(
    layout: str, convert: Callable[..., Path], tmp_path: Path
) -> None:
    raw = mini.amazon(tmp_path / "raw", layout)
    meta = next(raw.glob("meta_*"))
    meta.rename(raw / "away")
    with pytest.raises(UsageError, match=r"meta_Books.*no such file.*README"):
        convert("amazon-books", raw)
    (raw / "away").rename(meta)
    mini.amazon(raw, layout, zipped=True)
    with pytest.raises(UsageError, match="leave only the one"):
        convert("amazon-books", raw)
    assert not (tmp_path / "out" / "amazon-books").exists()


@pytest.mark.parametrize(
    "text", ["__import__('os').system('echo')", "{'asin': open('x')}", "(" * 9000, "[" * 200, "'a'"]
)
def test_a_literal_is_never_executed(text: str) -> None:
    with pytest.raises(BadLineError):
        amazon._record(text, literal=True)
    with pytest.raises(BadLineError):
        amazon._record(text)


@pytest.mark.parametrize(
    "line",
    [
        '{"reviewerID": 7, "asin": "A", "overall": 5.0, "unixReviewTime": 1}',
        '{"reviewerID": "u", "asin": " ", "overall": 5.0, "unixReviewTime": 1}',
        '{"reviewerID": "u", "asin": "A", "overall": true, "unixReviewTime": 1}',
        '{"reviewerID": "u", "asin": "A", "overall": NaN, "unixReviewTime": 1}',
        '{"reviewerID": "u", "asin": "A", "overall": 6, "unixReviewTime": 1}',
        '{"reviewerID": "u", "asin": "A", "overall": 5, "unixReviewTime": "1"}',
        '{"reviewerID": "u", "asin": "A", "overall": 5, "unixReviewTime": ' + "9" * 400 + "}",
        '{"reviewerID": "u", "asin": "A", "overall": 5}',
        '{"asin": "A"}{"asin": "B"}',
        "[]", "", "null", "{", "\x00",
    ],
)  # fmt: skip
def test_a_bad_review_is_found_among_good_ones(line: str, convert: Callable[..., Path], tmp_path: Path) -> None:
    raw = mini.amazon(tmp_path / "raw", "2018", kind="json")
    good = (raw / "Books.json").read_text().splitlines(keepends=True)
    (raw / "Books.json").write_text("".join([*good[:3], line + "\n", *good[3:]]))
    with pytest.raises(UsageError, match=r"Books.json, line 4: .*expected a JSON object"):
        convert("amazon-books", raw)
    folder = convert("amazon-books", raw, on_error="drop", verify="sample")
    account = manifest(folder)["rows"]["inter"]["Books.json"]
    assert (account["read"], account["kept"], sum(account["dropped"].values())) == (7, 6, 1)
