"""docs/results/run_plan.py: which runs a plan asks for, and that validation alone chooses a strength."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from report_planted import plant

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
