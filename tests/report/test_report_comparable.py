"""What may stand in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_planted import FACTS, change, plant

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.report.assemble import Options, assemble
from recbole_fair.report.comparable import comparable, counted_once
from recbole_fair.report.runs import read_runs

KEYS = Options(metrics=("recall@5",))


@pytest.mark.parametrize("fact", ["fingerprint", "split", "candidates", "data set"])
def test_runs_of_other_data_split_or_candidates_stand_in_a_table_each_and_are_not_ranked_together(
    tmp_path: Path, fact: str
) -> None:
    plant(tmp_path / "one", "MF", quality=(0.2, 0.1))
    other = {"dataset": "elsewhere"} if fact == "data set" else {"data": {**FACTS, fact: "other"}}
    plant(tmp_path / "two", "Pop", quality=(0.9, 0.9), **other)
    report = assemble([tmp_path], KEYS)
    assert sorted([row.label for row in block.rows] for block in report.blocks) == [["MF"], ["Pop"]]
    assert not any(block.rows[0].cells["recall@5"].mark for block in report.blocks), "best of itself alone"
    assert len({block.described for block in report.blocks}) == 2, "headings tell them apart"
    assert not any(block.tests for block in report.blocks)


def test_only_the_data_sets_and_models_asked_for_are_shown(tmp_path: Path) -> None:
    for model, dataset in (("MF", "here"), ("Pop", "here"), ("MF", "there")):
        plant(tmp_path / f"{model}-{dataset}", model, dataset=dataset)
    report = assemble([tmp_path], Options(metrics=("recall@5",), datasets=("here",), models=("MF",)))
    assert [[row.label for row in block.rows] for block in report.blocks] == [["MF"]]
    assert report.blocks[0].dataset == "here"
    with pytest.raises(UsageError, match=r"--datasets=ther: no run has it. Did you mean 'there'"):
        assemble([tmp_path], Options(datasets=("ther",)))
    with pytest.raises(UsageError, match=r"--models=Random: no run has it.* There are: MF, Pop"):
        assemble([tmp_path], Options(models=("Random",)))


@pytest.mark.parametrize("relative", [True, False])
def test_the_folder_of_a_comparison_stands_for_its_runs(
    tmp_path: Path, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path / "elsewhere/runs/toy/MF", "Namesake")
    monkeypatch.chdir(tmp_path / "elsewhere")
    for model in ("MF", "Pop", "Random"):
        plant(tmp_path / "runs/toy" / model, model)
    root = Path("runs/toy") if relative else tmp_path / "runs/toy"
    runs = [{"model": model, "run_dir": str(root / model)} for model in ("MF", "Pop")] + [{"model": "EASE"}]
    storage.write_json(tmp_path / "runs/toy/compare-1/compare.json", {"runs": runs})
    assert sorted(run.result.model for run in read_runs([tmp_path / "runs/toy/compare-1"])) == ["MF", "Pop"]
    (tmp_path / "runs/toy/Pop").rename(tmp_path / "away")
    with pytest.raises(UsageError, match=r"compare.json: names .*Pop, which is not there"):
        read_runs([tmp_path / "runs/toy/compare-1"])


def test_copies_with_equal_figures_count_once(tmp_path: Path) -> None:
    plant(tmp_path / "one", "MF")
    plant(tmp_path / "two", "MF")
    (run,) = counted_once(read_runs([tmp_path]))
    assert (run.name, run.copies) == ("one", ("two",))


@pytest.mark.parametrize("part", ["test", "valid", "data"])
def test_the_same_hash_and_seed_with_other_figures_is_refused_by_name(tmp_path: Path, part: str) -> None:
    plant(tmp_path / "one", "MF")
    changed: dict[str, Any] = {"data": {**FACTS, "split": "other"}}
    change(plant(tmp_path / "two", "MF"), **{part: changed.get(part, {"recall@5": 0.123})})
    with pytest.raises(UsageError, match=r"one and two: the same configuration \(hash-MF\) and seed \(1\)"):
        counted_once(read_runs([tmp_path]))


def test_a_failed_copy_gives_way_to_a_finished_one(tmp_path: Path) -> None:
    for name in ("a", "c"):
        plant(tmp_path / name, "MF", status="failed", error="killed", test={}, valid={}, data={})
    plant(tmp_path / "b", "MF")
    (run,) = counted_once(read_runs([tmp_path]))
    assert (run.name, run.finished, run.copies) == ("b", True, ("a", "c"))


def test_a_run_that_failed_before_its_data_were_read_stands_with_its_own(tmp_path: Path) -> None:
    other = {**FACTS, "split": "0-split"}  # sorts before the other
    plant(tmp_path / "a", "MF", data=other)
    plant(tmp_path / "b", "Pop", seed=1)
    plant(tmp_path / "c", "Pop", seed=2, status="failed", test={}, data={})  # by its hash
    plant(tmp_path / "d", "New", status="failed", test={}, data={})  # by the data set's name
    plant(tmp_path / "e", "Lone", status="failed", test={}, data={}, dataset="alone")
    sets = comparable(counted_once(read_runs([tmp_path])))
    assert sorted(sorted(run.name for run in runs) for runs in sets.values()) == [["a", "d"], ["b", "c"], ["e"]]


def test_a_run_directory_names_the_reference_where_rows_share_a_model(tmp_path: Path) -> None:
    for folder, weight in (("light", 0.1), ("strong", 0.9)):
        plant(tmp_path / folder, "ReweightMF", config={"fair_weight": weight}, config_hash=folder)
    (block,) = assemble([tmp_path], Options(metrics=("recall@5",), reference=str(tmp_path / "strong"))).blocks
    assert block.reference and block.reference.label == "ReweightMF (fair_weight=0.9)"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (Options(metrics=("recal@5",)), r"--metrics=recal@5: no run has it.*recall@5"),
        (
            Options(metrics=("recall@5",), reference="Pup"),
            "--reference=Pup: no row, model or run directory of this name",
        ),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path, options: Options, told: str) -> None:
    plant(tmp_path / "one", "Pop")
    with pytest.raises(UsageError, match=told):
        assemble([tmp_path], options)
