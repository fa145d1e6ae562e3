"""Comparisons: the same for all, one failure stops nobody, and figures that cannot be compared are not."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from recbole_fair import cli
from recbole_fair.compare import running
from recbole_fair.compare.comparison import Comparison, Spread
from recbole_fair.compare.entrants import models_of, seeds_of
from recbole_fair.errors import UsageError
from recbole_fair.jobs import cluster
from recbole_fair.tune.planning import SearchOptions

ALONE = SearchOptions(max_concurrent=1)


def arguments(options: dict[str, Any], **more: Any) -> list[str]:
    return [f"--{key}={json.dumps(value)}" for key, value in {**options, **more}.items()]


@pytest.mark.parametrize(("given", "expected"), [(1, (2020,)), (3, (2020, 2021, 2022)), ([1, 7], (1, 7)), ((5,), (5,))])
def test_seeds(given: Any, expected: tuple[int, ...]) -> None:
    assert seeds_of(given, 2020) == expected


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "3", [], [1, 1], [1.5], [True], None])
def test_refused_seeds(wrong: Any) -> None:
    with pytest.raises(UsageError, match="seeds"):
        seeds_of(wrong, 2020)


def test_models() -> None:
    assert models_of("MF, EASE") == models_of(["MF", "EASE"]) == ("MF", "EASE")


@pytest.mark.parametrize("wrong", ["", None, [], "MF,,EASE", "MF,MF", "MF,BPR", "MF,EAZE"])
def test_refused_models(wrong: Any) -> None:
    with pytest.raises(UsageError, match="model"):
        models_of(wrong)


def test_spread_against_the_library_and_at_its_edges() -> None:
    values = [0.1, 0.25, 0.4]
    found = Spread.of(values)
    assert (found.mean, found.sd, found.seeds) == (
        pytest.approx(statistics.mean(values)), pytest.approx(statistics.stdev(values)), 3,
    )  # fmt: skip
    assert Spread.of([0.1]) == Spread(0.1, None, 1)
    assert Spread.of([]) == Spread(None, None, 0)
    assert Spread.of([0.1, None]) == Spread(None, None, 2)  # the mean of what is left would be another quantity
    assert [str(Spread.of(row)) for row in ([0.1], [0.1, 0.1], [None])] == ["0.1000", "0.1000 +- 0.0000", "-"]


def test_a_comparison_in_this_process(
    toy_options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["compare", "--models=MF,EASE,ReweightEASE", "--dataset=toy", "--seeds=[1,7]", "--max_concurrent=1"]
    options = arguments(toy_options, run_dir="root", embedding_size=8)
    assert cli.main([*command, *options]) == 1  # one of the three cannot be
    shown = capsys.readouterr().out
    assert "failed: ReweightEASE, seed 1: " in shown
    assert "note: embedding_size: not used by EASE" in shown
    assert "all 4 runs share data" in shown
    assert "see them: recbole-fair report root --out=report" in shown
    told = json.loads(Path("root/compare.json").read_text())
    assert [run["status"] for run in told["runs"]] == ["ok", "ok", "failed"] * 2
    tests = [json.loads((Path(run["run_dir"]) / "result.json").read_text())["test"] for run in told["runs"][::3]]
    spread = told["figures"]["MF"]["ndcg@5"]
    assert spread["mean"] == pytest.approx(statistics.mean(test["ndcg@5"] for test in tests))
    assert spread["sd"] == pytest.approx(statistics.stdev(test["ndcg@5"] for test in tests))
    assert told["figures"]["ReweightEASE"] == {}
    with Path("root/compare.csv").open(newline="") as stream:
        rows = {(row["model"], row["metric"]): row for row in csv.DictReader(stream)}
    assert float(rows["MF", "ndcg@5"]["mean"]) == spread["mean"]

    # asked for again with one model more: what is finished is not touched
    before = {path: path.stat().st_mtime_ns for path in Path("root").glob("toy/*/*/result.json")}
    more = ["compare", "--models=MF,EASE,Pop", "--dataset=toy", "--seeds=[1,7]", "--max_concurrent=1", "--quiet"]
    assert cli.main([*more, *options, "--report=page"]) == 0
    assert "EASE" in Path("page/index.html").read_text()
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len(list(Path("root").glob("toy/Pop/*/result.json"))) == 2

    # figures that would be lost by another comparison in this folder are not replaced
    for fewer in (["--models=MF", "--seeds=[1,7]"], ["--models=MF,EASE,Pop", "--seeds=[1]"],
                  ["--models=MF,EASE,Pop", "--seeds=[1,7]", "--learning_rate=0.5"]):  # fmt: skip
        assert cli.main(["compare", "--dataset=toy", "--max_concurrent=1", "--quiet", *fewer, *options]) == 2
        assert "compare.json: is a comparison of MF, EASE, Pop with seeds [1, 7]" in capsys.readouterr().err

    # a run that saw another split is not set beside the others
    (changed, *_) = Path("root").glob("toy/Pop/*-s7/result.json")
    result = json.loads(changed.read_text())
    result["data"]["split"] = "another"
    changed.write_text(json.dumps(result))
    assert cli.main([*more, *options]) == 1
    assert "NOT COMPARABLE: split: Pop differ from MF" in capsys.readouterr().out


def test_what_ends_a_comparison_before_it_starts(toy_options: dict[str, Any], tmp_path: Path) -> None:
    def refusal(models: str, **more: Any) -> str:
        with pytest.raises(UsageError) as caught:
            running.compare(models, "toy", options=ALONE, run_dir=tmp_path, **{**toy_options, **more})
        return str(caught.value)

    assert "Did you mean 'EASE'" in refusal("MF,EASEE")
    assert "Did you mean 'epochs'" in refusal("MF,EASE", epoch=3)
    assert "ssl_tau: a key of other models" in refusal("MF,EASE", ssl_tau=0.1)
    assert "takes seeds" in refusal("MF", seed=3)
    assert "one run's weights" in refusal("MF", load="runs/x")
    assert "no folder" in refusal("MF,EASE", data_path=str(tmp_path / "nowhere"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["models", "dataset"])
def test_a_comparison_needs_models_and_data(missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"models": "MF", "dataset": "toy"}
    del given[missing]
    assert cli.main(["compare", *arguments(given)]) == 2
    assert f"give --{missing}=NAME" in capsys.readouterr().err


def test_options_of_a_search_need_a_search(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "--models=MF", "--dataset=toy", "--num_samples=3"]) == 2
    assert "give --searches=DIR" in capsys.readouterr().err


def test_search_files_give_every_model_the_same_budget(toy_options: dict[str, Any], tmp_path: Path) -> None:
    files = tmp_path / "searches"
    files.mkdir()
    (files / "MF.yaml").write_text("learning_rate: {choice: [0.1, 0.01]}\n")

    def refusal(options: SearchOptions) -> str:
        with pytest.raises(UsageError) as caught:
            running.compare(
                "MF,EASE", "toy", seeds=1, searches=files, options=options, run_dir=tmp_path / "root", **toy_options
            )
        return str(caught.value)

    assert "no EASE.yaml; write one, or an empty file" in refusal(ALONE)
    (files / "EASE.yaml").write_text("reg_weight: {grid_search: [1.0, 10.0, 100.0]}\n")
    assert "not the same number of trials for all ({'MF': 10, 'EASE': 3})" in refusal(SearchOptions())
    assert "EASE.yaml is a grid" in refusal(SearchOptions(num_samples=2))
    (files / "EASE.yaml").write_text("reg_weight: {choice: [-1.0, 10.0]}\n")
    assert "out of bounds" in refusal(SearchOptions(num_samples=2))
    assert not (tmp_path / "root").exists()


def test_a_tuned_comparison_is_replaced_by_the_same_search_alone(
    toy_options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "searches").mkdir()
    space = tmp_path / "searches" / "EASE.yaml"
    space.write_text("reg_weight: {grid_search: [1.0, 1000.0]}\n")

    def compared(run_dir: str | None, searches: str | None) -> Comparison:
        keys = {**toy_options, "run_dir": run_dir}
        return running.compare("EASE", "toy", seeds=1, searches=searches, options=ALONE, **keys)

    tuned, content = compared("root", "searches"), Path("root/compare.json").read_bytes()
    assert tuned.chosen
    with pytest.raises(UsageError, match=r"compare\.json: is a comparison of EASE with seeds \[2020\], under other"):
        compared("root", None)
    space.write_text("reg_weight: {grid_search: [1.0, 500.0]}\n")
    with pytest.raises(UsageError, match=r"compare\.json: is a comparison of EASE with seeds \[2020\], under other"):
        compared("root", "searches")
    assert Path("root/compare.json").read_bytes() == content
    assert compared(None, None).folder != compared(None, "searches").folder


@pytest.mark.newest
@pytest.mark.usefixtures("small_ray")
def test_tuned_models_through_ray(toy_options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tmp_path / "searches"
    files.mkdir()
    (files / "MF.yaml").write_text("learning_rate: {choice: [0.1, 0.01]}\n")
    (files / "Pop.yaml").write_text("# nothing to tune\n")
    root = tmp_path / "root"

    def compared() -> Comparison:
        options = SearchOptions(num_samples=2, search_algorithm="random")
        return running.compare("MF,Pop", "toy", seeds=2, searches=files, options=options, run_dir=root, **toy_options)

    found = compared()
    assert found.sound
    assert found.notes == ["Pop: its search file is empty, so it runs with its defaults"]
    told = json.loads((root / "search" / "MF" / "tune.json").read_text())
    assert found.chosen == {"MF": told["chosen"]["values"]}
    first, second = (entry for entry in found.entries if entry.model == "MF")
    assert first.run_dir == told["chosen"]["run_dir"]  # the chosen trial is the first seed's run
    assert Path(str(second.run_dir)).name == Path(str(first.run_dir)).name.replace("-s2020", "-s2021")
    assert all(row["seed"] == 2020 for row in [told])
    monkeypatch.setattr(cluster, "started", lambda address: pytest.fail("nothing was left to do"))
    assert compared().table() == found.table()
