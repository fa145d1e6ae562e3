"""The writer: whatever is written, RecBole reads back what was meant."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from convert.conftest import through_recbole
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pandas._libs.parsers import STR_NA_VALUES as NA_WORDS

from recbole_fair.convert.atomic import AtomicFile, as_read, read_header, read_parts, word_as_read
from recbole_fair.convert.tables import batch
from recbole_fair.errors import UsageError

HARD = ["None", "NA", "NA ", "nan  ", "null", "Null", '"Lead', 'a "b" c', '"', '""', "tab\there", "cr\rx", "lf\ny",
        "crlf\r\n", "\x00nul\x00", "\x1b[0m", "\x0b\x0c\x1c\x85\u2028", " lead", "trail ", "  ", "\ufeffbom", "'",
        "#N/A N/A", "[PAD]", "1e5", "007", "True", "\U0001f600", "e\u0301", "a,b;c", "\\", '\\"', "\u00a0"]  # fmt: skip


def write(folder: Path, name: str, suffix: str, columns: dict, rows: list) -> None:
    with AtomicFile(folder / f"{name}.{suffix}", columns) as file:
        file.write(batch(rows, columns))


def write_all(folder: Path, users: list[str], titles: list[str], words: list[list[str]]) -> Path:
    """A data set in which every user rates every title's item once."""
    folder = folder / "hard"
    folder.mkdir()
    pairs = [(user, str(place), 1.5) for place in range(len(titles)) for user in users]
    write(folder, "hard", "inter", {"user_id": "token", "item_id": "token", "rating": "float"}, pairs)
    write(folder, "hard", "user", {"user_id": "token"}, [(user,) for user in users])
    rows = [(str(place), *row) for place, row in enumerate(zip(titles, words, strict=True))]
    write(folder, "hard", "item", {"item_id": "token", "title": "token", "words": "token_seq"}, rows)
    return folder


def read_back(users: list[str], titles: list[str], words: list[list[str]]) -> dict:
    with TemporaryDirectory() as folder:
        return through_recbole(write_all(Path(folder), users, titles, words))


def test_hard_titles_come_back_exactly_but_for_the_stated_mapping() -> None:
    read = read_back(["u"], HARD, [[title] for title in HARD])
    changed = {title: got for title, got in zip(HARD, read["item"]["title"], strict=True) if title != got}
    assert changed == {"\x00nul\x00": "\ufffdnul\ufffd"}
    assert read["item"]["words"] == [[title.replace(" ", "\u00a0").replace("\0", "\ufffd")] for title in HARD]


texts = st.text(min_size=1, max_size=20) | st.sampled_from(HARD)
ids = st.lists(st.text(min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=4, unique_by=as_read)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(ids, st.lists(st.tuples(texts, st.lists(texts, max_size=3)), min_size=1, max_size=12))
@example(["NA", '"q"', "a\tb"], [("None", ["None"]), ("\r", ["N/A", "N/A"])])
def test_any_text_round_trips(users: list[str], items: list[tuple[str, list[str]]]) -> None:
    titles, words = [title for title, _ in items], [found for _, found in items]
    read = read_back(users, titles, words)
    assert sorted(read["user"]["user_id"]) == sorted(map(as_read, users))
    assert read["inter"]["user_id"] == [as_read(user) for _ in titles for user in users]
    assert read["item"]["title"] == [as_read(title) for title in titles]
    assert read["item"]["words"] == [[word_as_read(word) for word in found] for found in words]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=6) | st.sampled_from(sorted(NA_WORDS)), st.text(max_size=6) | st.sampled_from(sorted(NA_WORDS)))
def test_two_values_never_fall_together(one: str, other: str) -> None:
    assert "\0" in one + other or "\ufffd" in one + other or (as_read(one) == as_read(other)) == (one == other)


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=1, max_size=20))
def test_our_own_reader_agrees(titles: list[str]) -> None:
    columns = {"item_id": "token", "title": "token"}
    with TemporaryDirectory() as folder:
        write(Path(folder), "t", "item", columns, [(str(place), title) for place, title in enumerate(titles)])
        path = Path(folder) / "t.item"
        assert read_header(path) == columns
        assert [title for part in read_parts(path) for title in part["title"].to_pylist()] == list(map(as_read, titles))


def test_numbers_keep_their_value(tmp_path: Path) -> None:
    columns = {"item_id": "token", "price": "float"}
    prices = [0.1, 4.5, 5.0, 1588687728.923, 1e16, 1e-7, 2.72897800776197, -0.0]
    write(tmp_path, "t", "item", columns, [(str(place), price) for place, price in enumerate(prices)])
    lines = (tmp_path / "t.item").read_text().splitlines()[1:]
    assert [float(line.split("\t")[1]) for line in lines] == prices
    assert lines[2] == "2\t5"  # a whole number has no ".0": three layouts, one text


def test_a_text_that_recbole_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="RecBole reads at most"):
        write(tmp_path, "t", "item", {"item_id": "token", "title": "token"}, [("1", "x" * 200_000)])


def test_half_an_emoji_becomes_a_replacement_character() -> None:
    assert batch([("\ud83d!", ["\ud83d"])], {"a": "token", "b": "token_seq"})["a"].to_pylist() == ["\ufffd!"]


def test_missing_values_are_empty_fields_and_are_counted(tmp_path: Path) -> None:
    columns = {"item_id": "token", "title": "token", "words": "token_seq", "price": "float"}
    with AtomicFile(tmp_path / "t.item", columns) as file:
        file.write(batch([("1", None, None, None), ("2", "a", ["", "b c"], 1.0)], columns))
    assert (tmp_path / "t.item").read_text().splitlines()[1:] == ["1\t\t\t", "2\ta\tb\u00a0c\t1"]
    assert file.missing == {"item_id": 0, "title": 1, "words": 1, "price": 1}
    assert pa.types.is_string(next(read_parts(tmp_path / "t.item"))["title"].type)
