"""docs/results/run_plan.py: which runs a plan asks for, and that validation alone chooses a strength."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from report_planted import plant

from recbole_fair.settings import yamls
from recbole_fair.settings.config import Config

ROOT = Path(__file__).parents[2]
TABLE: dict[str, Any] = {
    "name": "fair", "title": "Fair", "caption": "Planted.", "dataset": "planted", "seeds": [1, 2], "reference": "MF",
    "metrics": ["recall@5", "cv@5[pop]"], "tune": {"accuracy": "recall@5", "fairness": "cv@5[pop]", "keep": 0.9},
    "rows": [{"model": "MF"}, {"model": "ReweightMF", "strengths": {"fair_weight": [0.1, 0.5, 1.0]}}],
}  # fmt: skip


@pytest.fixture(scope="module")
def plan() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_plan", ROOT / "docs" / "results" / "run_plan.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finish(
    plan: ModuleType, runs: Path, row: dict[str, Any], seed: int, valid: tuple[float, float], **more: Any
) -> None:
    folder = plan.folder_of(runs, TABLE, row, seed)
    config = {"fair_weight": row.get("keys", {}).get("fair_weight")}
    figures = dict(zip(("recall@5", "cv@5[pop]"), valid, strict=True))
    plant(folder, row["model"], seed, config=config, valid=figures, config_hash=folder.name.rpartition("-s")[0], **more)


def asked(plan: ModuleType, runs: Path) -> list[str]:
    return [folder.name for folder, _ in plan.missing({"tables": [TABLE]}, runs, set(), set())]


def test_the_first_seed_is_asked_for_every_strength_and_the_others_for_the_chosen_one(
    plan: ModuleType, tmp_path: Path
) -> None:
    """Test figures would choose the strength 1.0, whose validation accuracy is outside the limit."""
    each = plan.strengths(TABLE["rows"][1])
    names = ["MF-s1", *(f"ReweightMF-fair_weight={value}-s1" for value in (0.1, 0.5, 1.0)), "MF-s2"]
    assert asked(plan, tmp_path) == names, "nothing is chosen before every strength has run"
    finish(plan, tmp_path, TABLE["rows"][0], 1, (0.40, 0.9))
    for one, valid in zip(each, [(0.39, 0.7), (0.37, 0.5), (0.20, 0.1)], strict=True):
        tempting = {"recall@5": 0.99, "cv@5[pop]": 0.0} if one["keys"]["fair_weight"] == 1.0 else {}
        finish(plan, tmp_path, one, 1, valid, **({"test": tempting} if tempting else {}))
    assert plan.chosen(TABLE, TABLE["rows"][1], tmp_path)["keys"] == {"fair_weight": 0.5}
    assert asked(plan, tmp_path) == ["MF-s2", "ReweightMF-fair_weight=0.5-s2"]


def test_of_a_shortlist_the_means_over_seeds_choose(plan: ModuleType, tmp_path: Path) -> None:
    """Strength 0.5 leads on the first seed, and falls below the limit over both."""
    table = {**TABLE, "tune": {**TABLE["tune"], "shortlist": 2}}
    light, middle, strong = plan.strengths(table["rows"][1])
    for seed in (1, 2):
        finish(plan, tmp_path, table["rows"][0], seed, (0.40, 0.9))
    for one, valid in [(light, (0.39, 0.7)), (middle, (0.37, 0.5)), (strong, (0.20, 0.1))]:
        finish(plan, tmp_path, one, 1, valid)
    assert [one["keys"]["fair_weight"] for one in plan.settings(table, table["rows"][1], tmp_path, first=False)] == [
        0.5,
        0.1,
    ]
    wanted = [folder.name for folder, _ in plan.missing({"tables": [table]}, tmp_path, set(), set())]
    assert wanted == ["ReweightMF-fair_weight=0.5-s2", "ReweightMF-fair_weight=0.1-s2"]
    finish(plan, tmp_path, middle, 2, (0.33, 0.4))
    assert plan.chosen(table, table["rows"][1], tmp_path) is None, "the other's second seed is missing"
    finish(plan, tmp_path, light, 2, (0.38, 0.8))
    assert plan.chosen(table, table["rows"][1], tmp_path)["keys"] == {"fair_weight": 0.1}


def test_where_none_keeps_enough_the_most_accurate_is_taken(plan: ModuleType, tmp_path: Path) -> None:
    finish(plan, tmp_path, TABLE["rows"][0], 1, (0.80, 0.9))
    for one, valid in zip(plan.strengths(TABLE["rows"][1]), [(0.5, 0.7), (0.6, 0.8), (0.4, 0.1)], strict=True):
        finish(plan, tmp_path, one, 1, valid)
    assert plan.chosen(TABLE, TABLE["rows"][1], tmp_path)["keys"] == {"fair_weight": 0.5}


def test_a_section_shows_the_chosen_rows_then_every_strength(
    plan: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(plan, tmp_path, TABLE["rows"][0], 1, (0.40, 0.9))
    for one, valid in zip(plan.strengths(TABLE["rows"][1]), [(0.39, 0.7), (0.37, 0.5), (0.2, 0.1)], strict=True):
        finish(plan, tmp_path, one, 1, valid)
    monkeypatch.setattr(plan, "HERE", tmp_path)
    chosen, every = "\n".join(plan.section(TABLE, tmp_path)).split("### Every strength")
    assert chosen.count("| ReweightMF") == 3, "its row and two tests, at one strength"
    assert [f"fair_weight={value}" in every for value in (0.1, 0.5, 1.0)] == [True] * 3
    figure = tmp_path / "fair-plane-1.svg"
    assert figure.name in every and "currentColor" not in figure.read_text()
    assert "plane" not in chosen
    assert "fair-rows-plane-1.svg" in "\n".join(plan.section({**TABLE, "charts": ["cv@5[pop]"]}, tmp_path))


def test_figures_by_group_are_means_over_seeds_and_a_group_with_too_few_has_none(
    plan: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "HERE", tmp_path)
    for seed, recalls in ((1, (0.2, None)), (2, (0.4, 0.3))):
        groups = [
            {"kind": "user", "field": "taste", "group": name, "size": 9, "recall@5": recall}
            for name, recall in zip(("warm", "cold"), recalls, strict=True)
        ]
        finish(plan, tmp_path, TABLE["rows"][0], seed, (0.40, 0.9), groups=groups)
    table = {**TABLE, "rows": TABLE["rows"][:1], "groups": {"taste": ["recall@5"]}}
    del table["tune"]
    text = "\n".join(plan.section(table, tmp_path))
    assert "| row | recall@5 warm | recall@5 cold |" in text.partition("### By taste")[2]
    assert "| MF | 0.300 +- 0.141 | - |" in text


def test_a_failed_strength_is_out_and_nothing_finished_is_no_table(plan: ModuleType, tmp_path: Path) -> None:
    text = "\n".join(plan.section(TABLE, tmp_path))
    assert "Planned and not run: MF, ReweightMF." in text and "|" not in text
    each = plan.strengths(TABLE["rows"][1])
    finish(plan, tmp_path, TABLE["rows"][0], 1, (0.40, 0.9))
    for one, valid in zip(each[:2], [(0.39, 0.7), (0.38, 0.6)], strict=True):
        finish(plan, tmp_path, one, 1, valid)
    finish(plan, tmp_path, each[2], 1, (0.39, 0.1), status="failed", error="TrainingError: nan")
    assert plan.chosen(TABLE, TABLE["rows"][1], tmp_path)["keys"] == {"fair_weight": 0.5}


def test_a_row_after_another_runs_last_and_stands_on_what_is_chosen_now(
    plan: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "HERE", tmp_path)
    after = {"model": "OffsetReweightMF", "after": "ReweightMF", "keys": {"strategy": "Offset", "fair_group": "pop"}}
    table = {**TABLE, "tune": {**TABLE["tune"], "shortlist": 3}, "rows": [after, *TABLE["rows"]]}
    each = [TABLE["rows"][0], *plan.strengths(TABLE["rows"][1])]
    figures = [(0.40, 0.9), (0.39, 0.7), (0.37, 0.5), (0.2, 0.1)]
    row_in = {
        plan.folder_of(tmp_path, TABLE, row, seed): (row, seed, valid)
        for row, valid in zip(each, figures, strict=True)
        for seed in (1, 2)
    }
    asked_for = []
    for folder, keys in plan.missing({"tables": [table]}, tmp_path, set(), set()):
        asked_for.append(folder.name)
        if "base" not in keys:
            finish(plan, tmp_path, *row_in[folder])
    base = plan.folder_of(tmp_path, TABLE, each[2], 2)
    assert asked_for[-2:] == [f"OffsetReweightMF-on-ReweightMF-fair_weight=0.5-s{seed}" for seed in (1, 2)]
    assert keys == {**after["keys"], "base": str(base), "seed": 2, "run_dir": str(folder), "resume": True}

    (on_middle,) = plan.settings(table, after, tmp_path, first=True)
    finish(plan, tmp_path, on_middle, 1, (0.3, 0.2), base="somewhere")
    (plan.folder_of(tmp_path, table, on_middle, 1) / "frontier.csv").write_text("test accuracy,test cv,test min\n")
    assert [one.name for one in plan.folders_of(table, after, tmp_path)] == [asked_for[-2]]
    assert "Run with fewer seeds than planned: OffsetReweightMF (1 of 2)." in "\n".join(plan.section(table, tmp_path))


def test_a_frontier_is_read_where_its_way_last_falls_below(plan: ModuleType, tmp_path: Path) -> None:
    """By hand: from (.980, .45) to (.960, .40) the accuracy .978 is a tenth of the way."""
    path = tmp_path / "frontier.csv"
    path.write_text("test accuracy,test cv\n.985,.60\n.975,.55\n.980,.45\n.960,.40\n")
    assert plan._along(path, 0.978, "cv") == pytest.approx(0.445)
    assert math.isnan(plan._along(path, 0.986, "cv")), "it begins below"
    assert math.isnan(plan._along(path, 0.95, "cv")), "it never falls so low"


def test_a_row_may_show_the_runs_of_another_table(plan: ModuleType, tmp_path: Path) -> None:
    finish(plan, tmp_path, TABLE["rows"][0], 1, (0.40, 0.9))
    other = {**TABLE, "name": "other", "rows": [{"model": "MF", "table": "fair"}, {"model": "ReweightMF"}]}
    assert plan.folders_of(other, other["rows"][0], tmp_path) == [plan.folder_of(tmp_path, TABLE, TABLE["rows"][0], 1)]
    asked_for = [folder.name for folder, _ in plan.missing({"tables": [other]}, tmp_path, set(), set())]
    assert asked_for == ["ReweightMF-s1", "ReweightMF-s2"]


def test_a_row_may_ask_for_fewer_seeds(plan: ModuleType, tmp_path: Path) -> None:
    table = {**TABLE, "rows": [{"model": "MF"}, {"model": "Pop", "seeds": 1}]}
    asked_for = [folder.name for folder, _ in plan.missing({"tables": [table]}, tmp_path, set(), set())]
    assert asked_for == ["MF-s1", "Pop-s1", "MF-s2"]


def test_a_row_that_stands_on_another_has_its_run_of_the_same_seed_as_base(plan: ModuleType, tmp_path: Path) -> None:
    rows = [{"model": "YesNo-Base", "hidden": True}, {"model": "CF", "stands_on": "YesNo-Base", "keys": {"epochs": 3}}]
    table = {**TABLE, "dataset": "toy", "rows": rows}
    asked_for = {folder.name: keys for folder, keys in plan.missing({"tables": [table]}, tmp_path, set(), set())}
    assert list(asked_for) == ["YesNo-Base-s1", "CF-s1", "YesNo-Base-s2", "CF-s2"]
    assert asked_for["CF-s2"]["base"] == str(plan.folder_of(tmp_path, table, rows[0], 2))
    assert asked_for["CF-s2"]["epochs"] == 3
    assert not any("YesNo-Base" in part for part in plan.section(table, tmp_path))


@pytest.mark.parametrize("name", [path.name for path in sorted((ROOT / "docs" / "results").glob("*.yaml"))])
def test_every_row_of_a_plan_is_a_run_that_would_start(plan: ModuleType, name: str) -> None:
    """Names, keys and bounds, as a run checks them before it reads data."""
    for table in yamls.read_mapping(ROOT / "docs" / "results" / name)["tables"]:
        for row in (one for given in table["rows"] if "after" not in given for one in plan.strengths(given)):
            config = Config(row["model"], "ml-100k", overrides={**table.get("keys", {}), **row.get("keys", {})})
            assert config.choice.name == row["model"]
