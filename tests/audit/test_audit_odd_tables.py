"""Tables that an audit could misread: strangers among the items, words of missing values, numbers, codes, NUL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from recbole_fair.audit import foreign_tables
from recbole_fair.audit.judge import Files, audit, checked
from recbole_fair.errors import UsageError
from recbole_fair.rundir.result import Result

MET = "user_id\titem_id\tsplit\na\tx\ttest\nb\ty\ttest\nc\tx\ttrain\nc\ty\ttrain\nc\tz\ttest\n"


def judge(folder: Path, lists: str, users: str = "", items: str = "", **keys: Any) -> Result:
    texts = {"lists": lists, "met": MET, "users": users, "items": items}
    paths = {name: folder / f"{name}.tsv" for name in texts}
    for name, text in texts.items():
        paths[name].write_bytes(text.encode())
    files = Files(paths["lists"], paths["met"], paths["users"] if users else None, paths["items"] if items else None)
    return audit(files, folder / "out", "system", "data", {"topk": [1], "item_groups": [], **keys})


LISTS = "user_id\titem_id\trank\na\tx\t1\nb\tx\t1\nc\tz\t1\n"


def test_lists_of_items_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no listed item is among the data's"):
        judge(tmp_path, "user_id\titem_id\trank\na\t1\t1\nb\t2\t1\nc\t3\t1\n")


def test_the_share_of_strange_items_is_said(tmp_path: Path) -> None:
    lists = LISTS.replace("b\tx", "b\tnew")
    result = judge(tmp_path, lists)
    assert any(note.startswith("1 of 3 listed items (33.3%) are not among the data's") for note in result.warnings)
    table = tmp_path / "second"
    table.mkdir()
    known = judge(table, lists, items="item_id\ngone\nnew\n")
    assert not any("listed items" in note for note in known.warnings), "the items table names it"


@pytest.mark.parametrize("word", ["NA", "None", "null", "nan"])
def test_a_group_with_the_name_of_a_missing_value_is_a_group(word: str, tmp_path: Path) -> None:
    users = f"user_id:token\tcountry:token\na\t{word}\nb\tSE\nc\tSE\n"
    result = judge(tmp_path, LISTS, users, user_groups=["country"], metrics=["Gap_Recall"], min_group_users=1)
    assert {row["group"] for row in result.group_rows} >= {word, "SE"}
    assert result.test["gap_recall@1[country]"] == 0.5, "a hits; of b and c one does"


def test_numbers_are_the_values_that_a_run_has(tmp_path: Path) -> None:
    """18.0 is the code 18, and a gap is no value: as a float column of an atomic file, and of parquet."""
    text = tmp_path / "users.tsv"
    text.write_text("user_id:token\tage:float\na\t18.0\nb\tNA\nc\t1.25\nd\t\n")
    parquet.write_table(pa.table({"user_id": list("abc"), "age": [18.0, float("nan"), 1.25]}), tmp_path / "u.parquet")
    assert foreign_tables.read(text).values("age") == [("18",), (), ("1.25",), ()]
    assert foreign_tables.read(tmp_path / "u.parquet").values("age") == [("18",), (), ("1.25",)]
    text.write_text("user_id:token\tage:float\na\tyoung\n")
    with pytest.raises(UsageError, match="column 'age': expected numbers"):
        foreign_tables.read(text).values("age")


def test_bins_of_a_field_that_no_table_has_are_refused(tmp_path: Path) -> None:
    users = "user_id\tage\na\t30\nb\t40\nc\t50\n"
    with pytest.raises(UsageError, match=r"group_bins\.agee: no table .* Did you mean 'age'"):
        judge(tmp_path, LISTS, users, user_groups=["age"], group_bins={"agee": {"young": "[0,35)"}})


def test_values_typed_for_no_group_are_text() -> None:
    assert [str(value) for value in checked({"unknown_values": "010,9"})["unknown_values"]] == ["010", "9"]


def test_a_nul_byte_in_an_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a NUL byte"):
        judge(tmp_path, LISTS.replace("b\tx", "a\0\tx"))
