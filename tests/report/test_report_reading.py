"""What is found below a folder, and every damaged file that is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_planted import change, plant

from recbole_fair.errors import UsageError
from recbole_fair.report.charts.curves import by_group, curves, experts
from recbole_fair.report.runs import read_runs
from recbole_fair.report.users import read_users


def test_runs_are_found_at_any_depth_under_names_below_what_they_share(tmp_path: Path) -> None:
    plant(tmp_path / "a" / "deep" / "MF", "MF")
    plant(tmp_path / "b", "Pop")
    assert [run.name for run in read_runs([tmp_path])] == ["a/deep/MF", "b"]
    assert [run.name for run in read_runs([tmp_path / "a", tmp_path / "b"])] == ["a/deep/MF", "b"]
    assert [run.name for run in read_runs([tmp_path / "b"])] == ["b"]
    assert len(read_runs([tmp_path, tmp_path / "b"])) == 2


def test_ray_tunes_own_files_are_no_runs(tmp_path: Path) -> None:
    plant(tmp_path / "MF", "MF")
    trial = tmp_path / "trial"
    trial.mkdir()
    (trial / "result.json").write_text('{"a": 1}\n{"a": 2}\n')
    (trial / "params.json").write_text("{}")
    assert [run.name for run in read_runs([tmp_path])] == ["MF"]


def test_an_unfinished_run_is_kept_and_says_how_to_go_on(tmp_path: Path) -> None:
    folder = plant(tmp_path / "MF", "MF", seed=4)
    (folder / "result.json").unlink()
    (run,) = read_runs([tmp_path])
    assert (run.result.model, run.result.dataset, run.result.seed) == ("MF", "planted", 4)
    assert not run.finished
    assert "--resume=True" in str(run.result.error)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda root: None, "no such directory"),
        (lambda root: root.mkdir(), "no run directory"),
    ],
)
def test_nothing_to_report(tmp_path: Path, make: Callable[[Path], Any], told: str) -> None:
    make(tmp_path / "runs")
    with pytest.raises(UsageError, match=told):
        read_runs([tmp_path / "runs"])


def test_a_truncated_result_is_named(tmp_path: Path) -> None:
    path = plant(tmp_path / "MF", "MF") / "result.json"
    path.write_text(path.read_text()[:200])
    with pytest.raises(UsageError, match=f"{path}: damaged"):
        read_runs([tmp_path])


def test_a_result_without_a_needed_key_is_named(tmp_path: Path) -> None:
    path = plant(tmp_path / "MF", "MF") / "result.json"
    path.write_text(json.dumps({"model": "MF"}))
    with pytest.raises(UsageError, match=f"{path}: damaged"):
        read_runs([tmp_path])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", 3), ("seed", True), ("seed", "1"), ("status", "fine"), ("test", [1]), ("test", {"recall@5": "high"}),
        ("test", {"recall@5": float("nan")}), ("valid", {"recall@5": True}), ("interval", {"recall@5": [1]}),
        ("interval", {"recall@5": [0, float("inf")]}), ("interval", {"recall@5": "0-1"}), ("groups", {}),
        ("warnings", "all well"), ("data", None), ("config_hash", None),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_named(tmp_path: Path, key: str, value: Any) -> None:
    change(plant(tmp_path / "MF", "MF"), **{key: value})
    with pytest.raises(UsageError, match=rf"result.json: damaged \({key}"):
        read_runs([tmp_path])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text.replace("user_id", "who"), "no column user_id"),
        (lambda text: text.replace("\nu1,", "\nu2,"), "a user stands twice"),
        (lambda text: text.replace("\nu1,M,", "\nu1,M,high "), "damaged"),
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: "", "damaged"),
    ],
)
def test_a_damaged_users_file_is_named(tmp_path: Path, spoil: Callable[[str], str], told: str) -> None:
    path = plant(tmp_path / "MF", "MF") / "users.csv"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(UsageError, match=rf"{path}.*{told}"):
        read_users(path.parent)


def test_answers_of_unknown_users_are_refused(tmp_path: Path) -> None:
    folder = plant(tmp_path / "MF", "MF")
    (folder / "predictions.tsv").write_text("user_id\titem_id\tlabel\tvariant\tscore\nnobody\ti\t1\tnone\t0.9\n")
    users = read_users(folder)
    assert users is not None
    with pytest.raises(UsageError, match=r"users that users.csv lacks"):
        _ = users.table


def test_history_by_group_and_by_expert(tmp_path: Path) -> None:
    found = curves(plant(tmp_path / "MF", "MF"))
    assert found["loss"][1] == (1, 0.5)
    assert set(by_group(found)) == {"weight"}
    assert set(by_group(found)["weight"]) == {"popular", "rest"}
    assert set(experts(found)) == {"1", "2"}
    assert curves(tmp_path) == {}


def test_an_aggregate_in_the_history_is_no_group() -> None:
    found = {
        name: [(0, 1.0)]
        for name in ("valid cv@5[pop]", "valid cv@5[genre]", "valid recall@5[g:F]", "valid recall@5[g:M]")
    }
    assert {name: set(groups) for name, groups in by_group(found).items()} == {"valid recall@5": {"g:F", "g:M"}}


@pytest.mark.parametrize(
    "text", ["epoch,metric\n1,loss\n", "epoch,metric,value\none,loss,2\n", "epoch,metric,value\n1,loss,\n"]
)
def test_a_damaged_history_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(UsageError, match=r"history.csv: damaged"):
        curves(tmp_path)
