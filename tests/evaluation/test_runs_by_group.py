"""Every figure of a run against plain loops over the files it leaves, and against figures worked out by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loops
import pytest
from planted import run_planted

from recbole_fair.errors import UsageError
from recbole_fair.metrics.judging import NOTHING_COMPARED
from recbole_fair.runner import run
from recbole_fair.settings.config import data_folder

Toy = Callable[..., dict[str, Any]]

BASES = ("Recall", "NDCG", "Hit", "MRR", "MAP", "Precision")
OF_USERS = [f"{prefix}_{base}" for prefix in ("Gap", "Ratio", "CV", "MIN") for base in BASES]
OF_ITEMS = ["CV", "MIN", "REO", "RSP", "Exposure_CV", "Merit_CV"]
METRICS = [*BASES, *OF_USERS, *OF_ITEMS, "ItemCoverage", "GiniIndex", "ShannonEntropy", "AveragePopularity"]
BINS = {"age": {"young": "[0,35)", "middle": "[35,50)", "old": "[50,inf)"}}


def binned_ages(users: dict[str, dict[str, str]]) -> loops.Sets:
    bins = {name: set() for name in BINS["age"]}
    for user, row in users.items():
        age = float(row["age"])
        bins["young" if age < 35 else "middle" if age < 50 else "old"].add(user)
    return bins


def products(first: loops.Sets, second: loops.Sets) -> loops.Sets:
    return {f"{a}*{b}": first[a] & second[b] for a in sorted(first) for b in second}


def check_all(folder: Path, items: Path, users: Path, genre: str, topk: list[int]) -> loops.Judged:
    """result.json and groups.csv against the loops; returns what was judged."""
    run_files = loops.judged(folder)
    user_table, item_table = loops.atomic(users), loops.atomic(items)
    gender, age = loops.members(user_table, "gender"), binned_ages(user_table)
    expected = loops.figures(
        run_files,
        topk,
        {"pop": loops.popular(run_files), "genre": loops.members(item_table, genre, several=True)},
        {"gender": gender, "age": age, "gender*age": products(gender, age)},
    )
    stored = json.loads((folder / "result.json").read_text())["test"]
    assert stored.keys() == expected.test.keys()
    for key, value in expected.test.items():
        assert stored[key] is None if math.isnan(value) else stored[key] == pytest.approx(value, abs=1e-9), key
    check_groups(folder / "groups.csv", expected)
    return run_files


def check_groups(path: Path, expected: loops.Figures) -> None:
    cells = {(row["field"], row["group"]): row for row in loops.rows(path) if row["group"] != "(none)"}
    assert cells.keys() == expected.groups.keys()
    for key, figures in expected.groups.items():
        for name, value in figures.items():
            shown = cells[key][name]
            hidden = math.isnan(value) or (name not in ("size", "users") and figures["users"] < 5)
            assert shown == "" if hidden else float(shown) == pytest.approx(value, abs=1e-9), (key, name)


@pytest.mark.parametrize("model", ["LightGCN", "SASRec", "AlphaRec"])
def test_figures_follow_from_the_files_by_plain_loops(model: str, toy: Toy, toy_root: Path) -> None:
    groups = {"user_groups": ["gender", "age", "gender*age"], "group_bins": BINS}
    result = run(**toy(model, metrics=METRICS, save_recommendations=True, **groups))
    folder = toy_root / "toy"
    check_all(Path(result.run_dir), folder / "toy.item", folder / "toy.user", "genre", [3, 5])


def test_figures_of_movielens_follow_from_the_files(tmp_path: Path) -> None:
    keys = {"metrics": METRICS, "epochs": 1, "save_recommendations": True, "bootstrap": 20, "use_gpu": False}
    groups = {"user_groups": ["gender", "age", "gender*age"], "unknown_values": []}
    result = run("MF", "ml-100k", run_dir=str(tmp_path / "run"), valid_metric="CV@20[genre]", **groups, **keys)
    folder = data_folder("ml-100k", tmp_path)
    files = check_all(Path(result.run_dir), folder / "ml-100k.item", folder / "ml-100k.user", "class", [10, 20])
    assert len(files.test) == 943
    assert all(not files.known[user] & set(listed) for user, listed in files.lists.items())


# --- a model that ignores one group, by hand


def comics_for_all(user: str, item: str, step: int) -> float:
    return float(item.startswith("c"))


def test_a_model_that_ignores_one_group_gets_the_figures_worked_out_by_hand(toy: Toy, toy_root: Path) -> None:
    """Everyone is shown comics. The 30 women have 2 test items each, all comics, among the 2 that are left to show:
    recall 1. The 12 men have 2 test items each, all noir, below 10 comics: recall 0.

    Genres: comic 1, drawn 1, noir 0. CV = sqrt(((1/3)^2 + (1/3)^2 + (2/3)^2) / 3) / (2/3) = sqrt(2)/2. MIN = 0.
    """
    metrics = ["Recall", "NDCG", "CV", "MIN", "Gap_Recall", "Ratio_Recall", "CV_Recall", "MIN_Recall", "Exposure_CV"]
    result = run_planted(toy, comics_for_all, metrics=metrics, save_recommendations=True)
    rows = loops.rows(toy_root / "toy" / "toy.inter", "\t")
    assert {len([1 for row in rows if row["user_id:token"] == user]) for user in ("uF3", "uM3")} == {10, 14}
    expected = {
        "recall@3": 30 / 42,
        "recall@5": 30 / 42,
        "ndcg@3": 30 / 42,
        "cv@3[genre]": math.sqrt(2) / 2,
        "cv@5[genre]": math.sqrt(2) / 2,
        "min@3[genre]": 0.0,
        "gap_recall@3[gender]": 1.0,
        "ratio_recall@3[gender]": 0.0,
        "cv_recall@3[gender]": 1.0,  # of 1 and 0: (1/2) / (1/2)
        "min_recall@3[gender]": 0.0,
    }
    for key, value in expected.items():
        assert result.test[key] == pytest.approx(value, abs=1e-12), key
    cells = {(row["field"], row["group"]): row for row in result.group_rows}
    assert cells["gender", "F"]["recall@5"] == 1 and cells["gender", "M"]["recall@5"] == 0
    assert (cells["gender", "F"]["size"], cells["gender", "F"]["users"]) == (29, 29)
    assert cells["gender", "(none)"]["size"] == cells["gender", "(none)"]["users"] == 1, "uF0's gender is unknown"
    # Slots of 3: a woman has 2 comics left, then a noir; a man 3 comics. 96 comics of 126, which are drawn as well.
    assert cells["genre", "comic"]["exposure@3"] == cells["genre", "drawn"]["exposure@3"] == 96 / 126
    assert cells["genre", "noir"]["exposure@3"] == 30 / 126


def test_a_fair_model_gets_no_disparity(toy: Toy) -> None:
    result = run_planted(toy, lambda user, item, _: float((user[1] == "F") == (item[0] == "c")))
    assert result.test["recall@3"] == 1
    for key in ("cv@3[genre]", "cv@5[pop]", "gap_ndcg@3[gender]"):
        assert result.test[key] == 0
    assert result.test["min@3[pop]"] == 1


def test_utilities_may_be_hits_or_over_all_users(toy: Toy, tmp_path: Path) -> None:
    """One test item right of two, for women only: recall 1/2, hit 1; over all users 30 of 42 have a comic."""

    def half(user: str, item: str, _: int) -> float:
        return float(user[1] == "F" and item[0] == "c") - 2 * (item in ("c0", "c1", "c2", "c3", "c4"))

    recalls = run_planted(toy, half, topk=[1, 3], valid_metric="NDCG@3", run_dir=str(tmp_path / "a"))
    hits = run_planted(toy, half, topk=[1, 3], valid_metric="NDCG@3", group_utility="hit", run_dir=str(tmp_path / "b"))
    everyone = run_planted(
        toy, half, topk=[1, 3], valid_metric="NDCG@3", group_utility_users="all", run_dir=str(tmp_path / "c")
    )
    column = {name: cell(result, "genre", "comic") for name, result in {"r": recalls, "h": hits, "a": everyone}.items()}
    assert column["h"]["hit@1"] > column["h"]["recall@1"] == column["r"]["recall@1"] > 0
    assert column["a"]["recall@1"] == pytest.approx(column["r"]["recall@1"] * 30 / 42, abs=1e-12)
    utilities = [cell(hits, "genre", group)["hit@1"] for group in ("comic", "drawn", "noir")]
    assert hits.test["cv@1[genre]"] == pytest.approx(loops.cv(utilities), abs=1e-12), (
        "groups.csv shows what CV compares"
    )


def cell(result: Any, field: str, group: str) -> dict[str, Any]:
    return next(row for row in result.group_rows if (row["field"], row["group"]) == (field, group))


# --- groupings


def test_an_item_of_several_genres_counts_in_each_or_in_its_first(toy: Toy, tmp_path: Path) -> None:
    names = {}
    for multi in ("all", "first"):
        result = run_planted(toy, comics_for_all, item_group_multi=multi, run_dir=str(tmp_path / multi))
        names[multi] = {row["group"]: row["size"] for row in result.group_rows if row["field"] == "genre"}
        utilities = [row["recall@5"] for row in result.group_rows if row["field"] == "genre"]
        assert result.test["cv@5[genre]"] == pytest.approx(loops.cv(utilities), abs=1e-12)
    assert names == {"all": {"comic": 10, "drawn": 10, "noir": 14}, "first": {"comic": 10, "noir": 14}}


def test_a_group_without_a_judged_user_is_left_out_and_named(toy: Toy) -> None:
    bins = {"age": {"children": "[0,18)", "young": "[18,40)", "old": "[40,inf)"}}
    result = run_planted(toy, comics_for_all, user_groups=["age"], group_bins=bins, metrics=["Recall", "Gap_Recall"])
    assert "age: no judged user for children; left out" in result.warnings
    row = cell(result, "age", "children")
    assert (row["size"], row["users"], row["recall@5"], row["recall@5_low"]) == (0, 0, None, None)
    shown = [cell(result, "age", name)["recall@5"] for name in ("young", "old")]
    assert result.test["gap_recall@5[age]"] == pytest.approx(abs(shown[0] - shown[1]), abs=1e-12)


def test_one_group_has_no_disparity_and_that_is_said(toy: Toy) -> None:
    """Null with a warning, never 0; MIN of one group is that group's figure."""
    keys = {"user_groups": ["gender"], "unknown_values": ["M"], "item_groups": ["genre"], "item_group_multi": "first"}
    metrics = ["Recall", "Gap_Recall", "Ratio_Recall", "CV_Recall", "MIN_Recall"]
    result = run_planted(toy, comics_for_all, metrics=metrics, **keys)
    for name in ("gap", "ratio", "cv"):
        key = f"{name}_recall@5[gender]"
        assert key in result.test and result.test[key] is None
        assert result.interval[key] is None and key not in result.table()
    assert result.test["min_recall@5[gender]"] == 1
    assert [warning for warning in result.warnings if "gender" in warning] == [f"gender{NOTHING_COMPARED}"]
    assert cell(result, "gender", "(none)")["users"] == 13
    stored = json.loads((Path(result.run_dir) / "result.json").read_text())
    assert stored["test"]["gap_recall@5[gender]"] is None


def test_nobody_hit_leaves_cv_undefined_and_min_zero(toy: Toy) -> None:
    result = run_planted(toy, lambda user, item, _: -float((user[1] == "F") == (item[0] == "c")))
    assert result.test["recall@5"] == 0 and result.test["min@5[genre]"] == 0
    assert result.test["cv@5[genre]"] is None
    named = sorted(warning for warning in result.warnings if "is undefined" in warning)
    where = "is undefined on test (K = 3, 5) and validation (K = 3, 5)"
    assert named == [f"cv[genre] {where}", f"cv[pop] {where}"]


def test_small_groups_are_counted_and_not_printed(toy: Toy, tmp_path: Path) -> None:
    """They still enter every aggregate: only groups.csv and the table keep silent."""
    open_all = run_planted(toy, comics_for_all, min_group_users=1)
    result = run_planted(toy, comics_for_all, min_group_users=13, run_dir=str(tmp_path / "other"))
    row, same = cell(result, "gender", "M"), cell(open_all, "gender", "M")
    assert (row["size"], row["users"]) == (same["size"], same["users"]) == (12, 12)
    figures = [name for name in row if "@" in name]
    assert all(row[name] is None for name in figures)
    assert same["ndcg@5"] is not None
    assert cell(result, "gender", "F")["ndcg@5"] == 1
    assert result.test == open_all.test
    assert "M -" in result.table()
    texts = {row["group"]: row for row in loops.rows(Path(result.run_dir) / "groups.csv") if row["field"] == "gender"}
    assert {texts["M"][name] for name in figures} == {""}


def test_a_grouping_named_twice_is_refused(toy: Toy) -> None:
    for keys in ({"item_groups": ["pop", "pop"]}, {"item_groups": ["pop"], "user_groups": ["gender", "gender"]}):
        with pytest.raises(UsageError, match="named twice"):
            run_planted(toy, comics_for_all, **keys)


def test_a_field_of_users_is_no_grouping_of_items_however_many_there_are(tmp_path: Path) -> None:
    """As many users as items: lengths alone cannot tell them apart."""
    folder = tmp_path / "data" / "square"
    folder.mkdir(parents=True)
    lines = [f"u{user}\ti{(user + step) % 6}\t{user * 6 + step}" for user in range(6) for step in range(5)]
    (folder / "square.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *lines]) + "\n")
    for side, field in (("user", "gender"), ("item", "colour")):
        table = [f"{side[0]}{number}\t{'ab'[number % 2]}" for number in range(6)]
        (folder / f"square.{side}").write_text("\n".join([f"{side}_id:token\t{field}:token", *table]) + "\n")
    keys = {"data_path": str(tmp_path / "data"), "topk": [2], "valid_metric": "NDCG@2", "use_gpu": False}
    for wrong, owner in (({"item_groups": ["gender"]}, "users"), ({"user_groups": ["colour"]}, "items")):
        with pytest.raises(UsageError, match=f"is a field of {owner}"):
            run("Pop", "square", run_dir=str(tmp_path / "run"), **wrong, **keys)
    right = run("Pop", "square", run_dir=str(tmp_path / "run"), item_groups=["colour"], user_groups=["gender"], **keys)
    assert [row["field"] for row in right.group_rows] == ["colour", "colour", "gender", "gender"]


def test_a_user_who_has_met_every_item_is_refused_with_a_remedy(toy: Toy, toy_root: Path, tmp_path: Path) -> None:
    """RecBole's sampler refuses it with a traceback."""
    folder = tmp_path / "data" / "toy"
    folder.mkdir(parents=True)
    for file in (toy_root / "toy").glob("toy.*"):
        (folder / file.name).write_text(file.read_text())
    with (folder / "toy.inter").open("a") as stream:
        stream.writelines(f"uF1\tn{number}\t3\t{9000 + number}\n" for number in range(14))
    with pytest.raises(UsageError, match="user_inter_num_interval"):
        run(**toy("MF", data_path=str(tmp_path / "data")))
