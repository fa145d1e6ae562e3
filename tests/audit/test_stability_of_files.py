"""`audit --variants`: lists of a language model, a file a variant of the prompt."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import recbole_fair
from recbole_fair import cli
from recbole_fair.audit.stability import audit_variants, parsed
from recbole_fair.errors import UsageError
from recbole_fair.report.statistics.evaluated import evaluated
from recbole_fair.report.users import read_users

USERS, K = [f"u{number}" for number in range(60)], 6
Files = dict[str, Path]


def write(path: Path, lists: dict[str, list[str]]) -> Path:
    rows = [f"{user}\t{item}\t{rank}" for user, items in lists.items() for rank, item in enumerate(items, start=1)]
    path.write_text("\n".join(["user_id\titem_id\trank", *rows]) + "\n")
    return path


def changed(lists: dict[str, list[str]], share: float, seed: int) -> dict[str, list[str]]:
    """Each item replaced by a new one with this chance."""
    draw = random.Random(seed)
    return {
        user: [f"x{seed}-{place}" if draw.random() < share else item for place, item in enumerate(items)]
        for user, items in lists.items()
    }


@pytest.fixture
def files(tmp_path: Path) -> Files:
    draw = random.Random(0)
    none = {user: draw.sample([f"i{number}" for number in range(30)], K) for user in USERS}
    lists = {"none": none, "gender:F": changed(none, 0.6, 1), "gender:M": changed(none, 0.1, 2),
             "again": changed(none, 0.05, 3)}  # fmt: skip
    return {name: write(tmp_path / f"{name.replace(':', '-')}.tsv", of) for name, of in lists.items()}


def typed(files: Files) -> str:
    return ",".join(f"{name}={path}" for name, path in files.items())


def test_figures_are_those_of_sets(files: Files, tmp_path: Path) -> None:
    found = audit_variants(files, tmp_path / "out", "llm", "data", {"topk": [3, K]})
    read = {
        name: pd.read_csv(path, sep="\t").query("rank <= 3").groupby("user_id")["item_id"].agg(set)
        for name, path in files.items()
    }
    mean = {
        name: sum(len(read["none"][user] & of[user]) / len(read["none"][user] | of[user]) for user in USERS) / 60
        for name, of in read.items()
    }
    assert found.test["jaccard@3[gender]"] == pytest.approx((mean["gender:F"] + mean["gender:M"]) / 2)
    assert found.test["snsr_jaccard@3[gender]"] == pytest.approx(mean["gender:M"] - mean["gender:F"])
    assert found.test["jaccard_null@3"] == pytest.approx(mean["again"])
    low, high = found.interval["jaccard_drop@3[gender]"] or (0, 0)
    assert 0 < low < found.test["jaccard_drop@3[gender]"] < high  # type: ignore[operator]
    rows = {row["group"]: row for row in found.group_rows}
    assert rows["F"]["jaccard@3"] == pytest.approx(mean["gender:F"])
    assert rows["F"]["users"] == rows["M"]["size"] == 60
    assert len(found.test) == 2 * 15


def test_the_command_says_who_is_moved_more(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["audit", "--variants", typed(files), f"--run_dir={tmp_path / 'out'}", "--topk=6", "--system=llm"]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert "llm on audit" in shown
    assert "gender, jaccard@6: F " in shown and "a sure difference" in shown
    assert cli.main(command) == 0, "asked again it is the same request"


def test_a_report_tests_what_was_stated(files: Files, tmp_path: Path) -> None:
    found = audit_variants(files, tmp_path / "out", "llm", "data", {"topk": [K]})
    users = read_users(tmp_path / "out")
    assert users is not None
    for key, value in found.test.items():
        again = evaluated(users, key, value)  # type: ignore[arg-type]
        assert again is not None, key
        assert again.value == pytest.approx(value)
    page = recbole_fair.report(tmp_path / "out", out=tmp_path / "page")
    assert "snsr_jaccard@6[gender]" in page.read_text()


def test_without_a_second_pass_there_is_no_null(files: Files, tmp_path: Path) -> None:
    del files["again"]
    found = audit_variants(files, tmp_path / "out", "llm", "data", {"topk": [K]})
    assert {key.partition("@")[0] for key in found.test} == {
        f"{prefix}{name}" for prefix in ("", "snsr_", "snsv_") for name in ("jaccard", "serp", "prag")
    }
    with pytest.raises(UsageError, match="give again=FILE"):
        audit_variants(files, tmp_path / "other", "llm", "data", {"metrics": ["PRAG_Drop"], "topk": [K]})
    assert not (tmp_path / "other").exists()


def test_two_models_asked_about_the_same_users_stand_in_one_table(files: Files, tmp_path: Path) -> None:
    other = {**files, "gender:F": files["gender:M"]}
    first, second = (
        audit_variants(asked, tmp_path / name, name, "data", {"topk": [K]})
        for name, asked in (("a", files), ("b", other))
    )
    assert first.data == second.data
    assert first.config_hash != second.config_hash
    assert second.test["snsr_prag@6[gender]"] == 0.0


def test_short_lists_are_remarked_and_refused_where_all_are(files: Files, tmp_path: Path) -> None:
    lines = files["gender:F"].read_text().splitlines()
    files["gender:F"].write_text("\n".join(line for line in lines if not line.startswith("u7\t") or line[-1] < "3"))
    found = audit_variants(files, tmp_path / "out", "llm", "data", {"topk": [K]})
    assert "gender:F: 1 users have fewer than 6 items listed" in found.warnings
    with pytest.raises(UsageError, match=r"topk: the longest list has 6 items; give --topk=6 or less"):
        audit_variants(files, tmp_path / "long", "llm", "data", {"topk": [K, 7]})


Change = Callable[[Files, Path], None]


def lose_none(files: Files, _: Path) -> None:
    del files["none"]


def lose_values(files: Files, _: Path) -> None:
    for name in ("gender:F", "gender:M"):
        del files[name]


def lose_a_user(files: Files, _: Path) -> None:
    lines = files["gender:M"].read_text().splitlines()
    files["gender:M"].write_text("\n".join(line for line in lines if not line.startswith("u7\t")))


def list_an_item_twice(files: Files, _: Path) -> None:
    files["gender:M"].write_text(files["gender:M"].read_text() + "u0\ti1\t7\nu0\ti1\t8\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lose_none, "give none=FILE"),
        (lose_values, "no value of an attribute"),
        (lose_a_user, r"gender-M\.tsv: no list of user u7, of whom another variant has one; ask for all"),
        (list_an_item_twice, r"gender-M\.tsv: user u0 has one item twice"),
    ],
)
def test_files_that_cannot_be_compared_are_refused(change: Change, message: str, files: Files, tmp_path: Path) -> None:
    change(files, tmp_path)
    with pytest.raises(UsageError, match=message):
        audit_variants(files, tmp_path / "out", "llm", "data", {"topk": [8 if change is list_an_item_twice else K]})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("gender:W", r"--variants gender:W: no such group of gender in .*users\.tsv\. It has F, M"),
        ("gendre:F", "variants='gendre': no such field in .* Did you mean 'gender'"),
    ],
)
def test_a_table_of_users_knows_attributes_and_values(variant: str, message: str, files: Files, tmp_path: Path) -> None:
    table = tmp_path / "users.tsv"
    table.write_text("user_id\tgender\n" + "".join(f"{user}\t{'FM'[place % 2]}\n" for place, user in enumerate(USERS)))
    assert audit_variants(files, tmp_path / "right", "llm", "data", {"topk": [K]}, table).status == "ok"
    with pytest.raises(UsageError, match=message):
        audit_variants({**files, variant: files["again"]}, tmp_path / "out", "llm", "data", {"topk": [K]}, table)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["none", "none=", "gender=F.tsv", "none=a,none=b", ":F=a", "none=a,gender:=b"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--variants"):
        parsed([text])


def test_an_equals_sign_belongs_to_the_value_or_to_the_file_without_one() -> None:
    assert parsed(["none=day=1/a.tsv,age:<=18=b.tsv,age:>18=c.tsv"]) == {
        "none": Path("day=1/a.tsv"), "age:<=18": Path("b.tsv"), "age:>18": Path("c.tsv")
    }  # fmt: skip


def test_a_comma_in_a_path_is_part_of_it() -> None:
    assert parsed(["none=a,b.tsv,gender*age:F*young=c.tsv"]) == {
        "none": Path("a,b.tsv"), "gender*age:F*young": Path("c.tsv")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--interactions=x", "--interactions: --variants are compared with each other"),
        ("--item_groups=pop", "--item_groups: variants are compared with each other, not with interactions"),
        ("--metrics=NDCG", "metrics: NDCG does not compare variants"),
        ("--metrics=5", "metrics=5: expected str or list"),
        ("--metrics=[5]", "metrics: 5 is no name"),
        ("--metrics=[]", "metrics: names none, so there is nothing to judge"),
        ("--epochs=3", "--epochs: audit does not take it"),
    ],
)
def test_options_of_other_audits_are_refused(
    option: str, message: str, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["audit", "--variants", typed(files), f"--run_dir={tmp_path / 'out'}", option]) == 2
    assert message in capsys.readouterr().err


def test_lists_alone_are_not_audited_for_stability(files: Files, tmp_path: Path) -> None:
    met = tmp_path / "met.tsv"
    met.write_text("user_id\titem_id\tsplit\nu0\ti1\ttest\nu0\ti2\ttrain\n")
    with pytest.raises(
        UsageError, match="Jaccard compares lists under several prompts; give their files by --variants"
    ):
        recbole_fair.audit(files["none"], met, tmp_path / "out", metrics=["Jaccard"])


def test_variants_from_python_are_those_of_the_command(files: Files, tmp_path: Path) -> None:
    command = ["audit", "--variants", typed(files), f"--run_dir={tmp_path / 'typed'}", "--topk=6", "--quiet"]
    assert cli.main(command) == 0
    called = recbole_fair.audit(variants=files, run_dir=tmp_path / "called", topk=[6])
    typed_in = recbole_fair.load(tmp_path / "typed")
    assert (called.test, called.interval, called.model) == (typed_in.test, typed_in.interval, typed_in.model)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"variants": {"none": "none.tsv", "F": "f.tsv"}}, "--variants F: is no prompt; expected none=FILE"),
        ({"variants": {}}, "give none=FILE"),
        ({"variants": {"none": "none.tsv"}, "items": "items.tsv"}, "leave recommendations, interactions, items out"),
        ({"recommendations": "lists.tsv"}, "give recommendations=FILE and interactions=FILE, or variants="),
    ],
)
def test_half_an_audit_from_python_is_refused(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        recbole_fair.audit(**given, run_dir=tmp_path / "out")
    with pytest.raises(UsageError, match="give run_dir=DIR"):
        recbole_fair.audit(**given)
    assert not (tmp_path / "out").exists()
