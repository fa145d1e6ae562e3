"""What the end of a run says, on results made by hand and on a run whose outcome is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recbole_fair.rundir import before_after
from recbole_fair.rundir.result import Result

Run = Callable[..., Any]


def rows(kind: str, field: str, figure: str, **groups: tuple[int, int, float | None]) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "field": field, "group": name, "size": size, "users": users, figure: value}
        for name, (size, users, value) in groups.items()
    ]


def result(**more: Any) -> Result:
    values: dict[str, Any] = {
        "test": {"ndcg@10": 0.1, "ndcg@20": 0.2, "gap_ndcg@20[gender]": 0.0063, "cv@20[genre]": 0.46},
        "valid": {"ndcg@20": 0.21},
        "interval": {"gap_ndcg@20[gender]": [0.0, 0.03], "cv@20[genre]": [0.41, 0.51]},
        "resampling": {"level": 0.95, "method": "widened"},
        "group_rows": [
            *rows("user", "gender", "ndcg@20", F=(273, 273, 0.0646), M=(670, 670, 0.0711)),
            *rows("item", "genre", "recall@20", a=(5, 9, 0.3), b=(6, 9, 0.1), c=(7, 9, 0.2), d=(8, 9, 0.4)),
        ],
    }
    return Result("MF", None, "ml", 1, "x", **{**values, **more})


def test_a_grouping_is_a_sentence_with_sizes_and_whether_it_is_sure() -> None:
    shown = result().table()
    gap = "gap_ndcg@20 .0063 [.0000, .0300]: not sure"
    assert f"gender, ndcg@20: F .0646 (273 users) below M .0711 (670 users); {gap}" in shown
    worst = "genre, recall@20: 4 groups, worst b .1000 (6 items) and c .2000 (7 items), best d .4000 (8 items)"
    assert f"{worst}; cv@20 .4600 [.4100, .5100]: a sure difference" in " ".join(shown.split())


def test_groups_of_equal_figures_are_alike_not_one_below_the_other() -> None:
    pair = rows("item", "pop", "recall@20", rest=(1, 9, 1.0), popular=(10, 9, 1.0))
    four = rows("item", "genre", "recall@20", **dict.fromkeys("abcd", (5, 9, 0.5)))
    shown = result(group_rows=[*pair, *four]).table()
    assert "pop, recall@20: rest 1.0000 (1 item) like popular 1.0000 (10 items)" in shown
    assert "genre, recall@20: 4 groups, all .5000" in shown


def test_bounds_that_know_nothing_of_chance_do_not_make_a_difference_sure() -> None:
    note = "noise adds to the differences in cv@10[genre], cv@20[genre]: read them as at most so much"
    how = {"level": 0.9, "method": "percentile"}
    shown = " ".join(result(warnings=[note], resampling=how).table().split())
    assert "cv@20 .4600 [.4100, .5100]: not sure" in shown
    assert "served alike: cv@20[genre] would be nearer" in shown, "the K that is shown, in words that need no manual"
    assert "90% interval" in shown


def test_figures_stand_in_blocks_with_the_better_side() -> None:
    lines = result().table().splitlines()
    heads = [lines.index(name) for name in ("accuracy", "items", "users")]
    assert heads == sorted(heads)
    assert lines[heads[0] + 1].split() == ["ndcg@20", "↑", ".2000", ".2100"], "one K, the largest"
    assert lines[heads[1] + 1].split()[:3] == ["cv@20[genre]", "↓", ".4600"]


def test_what_a_probe_found_stands_among_the_figures() -> None:
    shown = result(test={"ndcg@20": 0.2, "attr_auc[gender]": 0.625}).table()
    assert "attr_auc[gender]" in shown and ".625" in shown


def test_a_group_too_small_to_be_printed_is_named() -> None:
    groups = rows("user", "gender", "ndcg@20", F=(2, 2, None), M=(670, 670, 0.07))
    assert "gender, ndcg@20: M .0700 (670 users), F - (2 users)" in result(group_rows=groups).table()


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(0.01, 0.03, "MF beats Pop"), (-0.01, 0.03, "MF is not shown to beat Pop"), (-0.3, -0.1, "MF is worse than Pop")],
)
def test_the_model_stands_beside_pop(low: float, high: float, says: str) -> None:
    pop = {"metric": "ndcg@20", "pop": 0.18, "difference": (low + high) / 2, "low": low, "high": high}
    shown = result(popularity=pop).table()
    assert says in shown
    assert ("train it longer" in shown) is (low < 0)


def test_no_line_is_longer_than_the_screen() -> None:
    names = {f"group number {number}": (10, 10, number / 100) for number in range(40)}
    shown = result(group_rows=rows("item", "genre", "recall@20", **names), warnings=["words " * 60]).table()
    assert max(map(len, shown.splitlines())) <= 120


@pytest.mark.parametrize("model", ["MF", "SASRec"])
def test_the_difference_to_pop_is_that_of_two_runs(model: str, run_toy: Run, tmp_path: Path) -> None:
    ours = run_toy(model, epochs=1)
    theirs = run_toy("Pop", run_dir=str(tmp_path / "pop"))
    assert theirs.popularity == {}
    assert ours.popularity["pop"] == pytest.approx(theirs.test["ndcg@5"], abs=1e-12)
    users = [pd.read_csv(Path(one.run_dir) / "users.csv")["ndcg@5"] for one in (ours, theirs)]
    difference = (users[0] - users[1]).to_numpy()
    reach = 1.959964 * difference.std(ddof=1) / np.sqrt(len(difference))
    expected = [difference.mean(), difference.mean() - reach, difference.mean() + reach]
    assert [ours.popularity[word] for word in ("difference", "low", "high")] == pytest.approx(expected, abs=1e-6)


def test_the_lists_that_are_saved_are_the_models_not_pops(run_toy: Run) -> None:
    folder = Path(run_toy("MF", save_recommendations=True).run_dir)
    lists = pd.read_csv(folder / "recommendations.tsv", sep="\t")
    assert lists.groupby("rank")["item_id"].nunique()[1] > 3, "Pop would name its few most popular items to all"


@pytest.fixture
def beneath(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_strategy_finds_the_plain_run_of_the_same_settings(run_toy: Run, beneath: None) -> None:
    run_toy("MF", run_dir=None, learning_rate=0.05)
    other = run_toy("ReweightMF", run_dir=None)
    assert "before and after" not in other.table(), "no plain run of this learning rate"
    plain = run_toy("MF", run_dir=None)
    table = run_toy("ReweightMF", run_dir=None).table()
    assert f"before and after (MF alone: {plain.run_dir})" in table
    before, after = (f"{one.test['ndcg@5']:.4f}".removeprefix("0") for one in (plain, other))
    assert f"{before} -> {after}" in table


def test_offset_that_changes_nothing_says_what_it_would_take(tmp_path: Path) -> None:
    header = "step,chosen,valid accuracy,valid cv,valid min\n"
    (tmp_path / "frontier.csv").write_text(f"{header}0,1,0.2,0.62,0\n1,0,0.19,0.6,0\n2,0,0.181,0.37,0\n3,0,0.1,0.1,0\n")
    said = before_after._what_it_takes(tmp_path, {"ndcg_budget": 0.98})
    assert "keeps ndcg_budget=0.98" in said
    assert "--ndcg_budget=0.9 cv would fall from .6200 to .3700" in said
    (tmp_path / "frontier.csv").write_text(f"{header}0,1,0.2,0.62,0\n1,0,0.19,0.6,0\n")
    assert "no step of its way" in before_after._what_it_takes(tmp_path, {"ndcg_budget": 0.98})


def test_offset_stands_beside_its_base(run_toy: Run, beneath: None) -> None:
    shown = run_toy("OffsetMF", run_dir=None, fair_group="genre", ndcg_budget=1.0, epochs=4).table()
    assert "before and after (MF alone: runs/toy/MF/" in shown
    assert "cv@5[genre]" in shown.partition("before and after")[2]


@pytest.mark.parametrize(
    ("before", "after", "word"), [(0.5, 0.4, "fairer"), (0.4, 0.5, "less fair"), (1, 1, "as before")]
)
def test_a_change_is_said_in_words(before: float, after: float, word: str) -> None:
    assert before_after._row("cv@20[pop]", before, after)[3] == word
    assert before_after._row("ndcg@20", 0.2, 0.1)[3] == "less accurate"
    assert before_after._row("min@20[pop]", 0.1, 0.2)[2:] == ["+100.0%", "fairer"]
