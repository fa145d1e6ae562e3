"""Whole searches through Ray: what they choose, what they never see, and what an interruption costs."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from searching import RATES, planted

from recbole_fair import cli
from recbole_fair.errors import BusyError, UsageError
from recbole_fair.jobs import cluster, prerequisites
from recbole_fair.jobs.job import Job
from recbole_fair.rundir import folder
from recbole_fair.tune import planning, searches, through_ray
from recbole_fair.tune.planning import SearchOptions
from recbole_fair.tune.record import Record

pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("small_ray")]

BOTH = {"ndcg@5": "max", "cv@5[pop]": "min"}


def arguments(options: dict[str, Any], **more: Any) -> list[str]:
    return [f"--{key}={json.dumps(value)}" for key, value in {**options, **more}.items()]


def test_nothing_of_the_test_reaches_ray_and_the_choice_ignores_it(
    toy_options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class Eavesdropper(through_ray.Watcher):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any) -> None:
            seen.append(repr(result))

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **more: Any) -> None:
            seen.append(repr(trial.last_result))
            super().on_trial_complete(iteration, trials, trial, **more)

    monkeypatch.setattr(through_ray, "Watcher", Eavesdropper)
    kept_notes = SimpleNamespace(rmtree=lambda *_, **__: None)  # Ray's own notes are read below
    monkeypatch.setattr(through_ray, "shutil", kept_notes)
    options = SearchOptions(objectives=BOTH, constraint="ndcg@5 >= 0.4 * best", scheduler="asha", grace_epochs=20)
    plan = planted("StepwiseJob", {**toy_options, "epochs": 20}, tmp_path, options)
    found = searches.carried_out(plan, tmp_path)
    # On test .2 would be best in ndcg, and .9 worst in both figures.
    assert found.values == {"learning_rate": 0.4}
    assert found.front == (0, 1, 2)
    results = [json.loads(path.read_text()) for path in tmp_path.glob("planted-*/result.json")]
    secrets = [value for result in results for value in result["test"].values()]
    kept = [path.read_bytes() for path in (tmp_path / ".ray").rglob("*") if path.is_file()]
    assert (len(secrets), len(seen) >= 3 * 11, len(kept) >= 2) == (6, True, True)
    for secret in secrets:
        packed = struct.pack(">d", secret), struct.pack("<d", secret)
        forms = [repr(secret).encode(), *packed, *(form.hex().encode() for form in packed)]
        for text in [*(line.encode() for line in seen), *kept, (tmp_path / "tune.json").read_bytes()]:
            assert not any(form in text for form in forms)
    shown = 0.9  # a validation figure is found in the same way, so the search above would find a test figure
    assert any(repr(shown).encode() in line.encode() for line in seen)
    assert any(struct.pack(">d", shown).hex().encode() in text or repr(shown).encode() in text for text in kept)


def test_an_algorithm_that_learns_goes_on_with_what_it_knows(toy_options: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space = {"learning_rate": {"uniform": [0.1, 1.0]}, "embedding_size": {"choice": [4, 8]}}

    def search(samples: int) -> list[dict[str, Any]]:
        options = SearchOptions(num_samples=samples, search_algorithm="optuna", objectives=BOTH)
        found = searches.carried_out(planted("FailingJob", toy_options, tmp_path, options, space), tmp_path)
        assert {row.status for row in found.trials} <= {"ok", "failed"}
        return [row.values for row in found.trials]

    first, second = search(2), search(3)
    assert second[:2] == first
    assert len({row["learning_rate"] for row in second}) == 3


def test_one_trial_that_fails_is_a_row_and_stops_nobody(toy_options: dict[str, Any], tmp_path: Path) -> None:
    space = {"learning_rate": {"grid_search": [0.9, 0.4]}}
    found = searches.carried_out(planted("FailingJob", toy_options, tmp_path, SearchOptions(), space), tmp_path)
    assert [row.status for row in found.trials] == ["failed", "ok"]
    assert found.trials[0].error == "epoch 3: the training loss is nan at 0.9"
    assert found.values == {"learning_rate": 0.4}
    assert "failed: epoch 3" in found.table()


def test_a_worker_that_is_lost_is_replaced(toy_options: dict[str, Any], tmp_path: Path) -> None:
    space = {"learning_rate": {"grid_search": [0.3, 0.1]}}
    found = searches.carried_out(planted("DyingJob", toy_options, tmp_path, SearchOptions(), space), tmp_path)
    assert found.values == {"learning_rate": 0.3}
    assert [row.status for row in found.trials] == ["ok", "ok"]
    assert (tmp_path / "planted-0.3" / "been-here").exists()


def test_rows_keep_their_number_when_ray_reorders_its_trials(tmp_path: Path) -> None:
    def of(name: str, rate: float) -> Any:
        last = {"status": "ok", "valid": {"ndcg@5": rate}}
        return SimpleNamespace(trial_id=name, config={"learning_rate": rate}, last_result=last)

    record = Record(tmp_path, {}, {"ndcg@5": "max"})
    watcher = through_ray.Watcher(record, "ndcg@5")
    first, second, third = of("a", 0.1), of("b", 0.2), of("c", 0.3)
    watcher.on_trial_start(0, [first, second], first)
    watcher.on_trial_start(0, [first, second], second)
    watcher.on_trial_start(0, [second, first, third], first)
    for ended in (second, first):
        watcher.on_trial_complete(0, [second, first, third], ended)
    assert [(row.number, row.values["learning_rate"], row.valid["ndcg@5"]) for row in record.rows] == [
        (0, 0.1, 0.1), (1, 0.2, 0.2),
    ]  # fmt: skip


def test_a_worker_that_is_lost_again_and_again_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "error.txt").write_text("Failure # 4\nTraceback\nray.exceptions.OutOfMemoryError: too much\n\n")
    record = Record(tmp_path, {}, {"ndcg@5": "max"})
    watcher = through_ray.Watcher(record, "ndcg@5")
    for name, file in (("a", tmp_path / "error.txt"), ("b", None)):
        lost = SimpleNamespace(trial_id=name, config={}, last_result={}, error_file=file)
        watcher.on_trial_start(0, [lost], lost)
        watcher.on_trial_error(0, [lost], lost)
    assert [row.status_text for row in record.rows] == [
        "failed: its worker was lost 4 times: ray.exceptions.OutOfMemoryError: too much",
        "failed: its worker was lost 4 times: Ray says no more",
    ]


def test_a_folder_is_searched_in_by_one_process_and_damage_is_named(
    toy_options: dict[str, Any], tmp_path: Path
) -> None:
    plan = planted("PlantedJob", toy_options, tmp_path, SearchOptions())
    with folder.held(tmp_path / ".search.lock", "mine"), pytest.raises(BusyError, match="another process is searching"):
        searches.carried_out(plan, tmp_path)
    for trials in (None, [{"number": 0, "value": 3}], [3]):
        (tmp_path / "tune.json").write_text(json.dumps({"search": plan.digest, "trials": trials}))
        with pytest.raises(UsageError, match="damaged"):
            searches.carried_out(plan, tmp_path)


def test_asha_stops_what_falls_behind(toy_options: dict[str, Any], tmp_path: Path) -> None:
    keys = {**toy_options, "epochs": 10}
    space = {"learning_rate": {"grid_search": [0.9, 0.1]}}
    options = SearchOptions(scheduler="asha", grace_epochs=2, max_concurrent=1)
    found = searches.carried_out(planted("StepwiseJob", keys, tmp_path, options, space), tmp_path)
    assert [row.status for row in found.trials] == ["ok", "stopped"]
    assert found.trials[1].valid == {"ndcg@5": pytest.approx(0.02)}
    assert (found.trials[1].epochs, found.trials[1].run_dir) == (2, str(tmp_path / "planted-0.1"))
    assert found.values == {"learning_rate": 0.9}


def test_a_small_real_search(
    toy_options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text("learning_rate: {loguniform: [1.0e-4, 1.0e-1]}\n")
    command = ["tune", "--model=BPR", "--dataset=toy", "--search=space.yaml", "--num_samples=2", "--run_dir=root"]
    assert cli.main([*command, *arguments(toy_options)]) == 0
    first = capsys.readouterr()
    assert "trial 0: ndcg@5" in first.err
    told = json.loads(Path("root/tune.json").read_text())
    best = max(told["trials"], key=lambda row: row["valid"]["ndcg@5"])
    assert told["chosen"]["number"] == best["number"]
    assert {row["status"] for row in told["trials"]} == {"ok"}
    for row in told["trials"]:
        result = json.loads((Path(row["run_dir"]) / "result.json").read_text())
        assert (result["valid"], result["environment"]["threads"]) == (row["valid"], 1)
    assert not Path("root/.ray").exists()

    # asked for again, with another rule: nothing is run, Ray is not even started
    monkeypatch.setattr(cluster, "started", lambda address: pytest.fail("nothing was left to do"))
    rule = ["--objectives={ndcg@5: max, recall@5: max}", "--constraint=recall@5 >= 0.1 * best"]
    assert cli.main([*command, *rule, "--quiet", *arguments(toy_options)]) == 0
    assert "within" not in capsys.readouterr().err
    # the choice as a property file is the chosen run
    assert cli.main(["run", "--config_files=root/best.yaml", f"--run_dir={told['chosen']['run_dir']}", "--quiet"]) == 0
    # and another space does not mix with this one
    Path("space.yaml").write_text("learning_rate: {choice: [0.1]}\n")
    assert cli.main([*command, *arguments(toy_options)]) == 2
    assert "another run_dir" in capsys.readouterr().err


def test_a_space_whose_every_trial_fails_ends_with_the_reasons(
    toy_options: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("learning_rate: {choice: [0.01]}\n")
    command = ["tune", "--model=ReweightMF", "--dataset=toy", f"--search={space}", "--num_samples=1"]
    assert cli.main([*command, f"--run_dir={tmp_path}", *arguments(toy_options, fair_group="colour")]) == 1
    shown = capsys.readouterr().out
    assert "fair_group='colour': the data has no" in shown
    assert "nothing chosen: no trial ended well" in shown
    assert json.loads((tmp_path / "tune.json").read_text())["chosen"] is None


@pytest.mark.parametrize("missing", ["model", "dataset"])
def test_a_search_needs_a_model_and_data(missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"model": "MF", "dataset": "toy"}
    del given[missing]
    assert cli.main(["tune", *arguments(given)]) == 2
    assert f"give --{missing}=NAME" in capsys.readouterr().err


def test_a_model_without_a_ready_search_file_asks_for_one(toy_options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no ready search file for NeuMF"):
        searches.search("NeuMF", "toy", **toy_options)


def test_items_are_encoded_before_the_trials_start(toy_options: dict[str, Any], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options = {**toy_options, "cache_dir": str(cache), "negatives": 8}
    space = {"item_encoder": {"choice": ["tfidf-svd", "random"]}, "learning_rate": {"uniform": [0.01, 0.1]}}
    plan = planning.planned(Job("AlphaRec", "toy", (), options, str(tmp_path)), space, SearchOptions(num_samples=1))
    assert prerequisites.encode(plan.encoders(), cluster.Share(1, 0, 1)) == {}
    assert len(list(cache.glob("item-vectors-*.safetensors"))) == 2
    wrong = planning.planned(Job("AlphaRec", "toy", (), {**options, "item_text": "titel"}), RATES, SearchOptions())
    (refusal,) = prerequisites.encode([*wrong.encoders(), *plan.encoders()], cluster.Share(1, 0, 1)).values()
    assert "Did you mean 'title'" in refusal


def test_a_model_whose_items_cannot_be_read_fails_in_its_rows(toy_options: dict[str, Any], tmp_path: Path) -> None:
    keys = {**toy_options, "item_encoder": "random", "item_text": "titel", "negatives": 8}
    found = searches.search("AlphaRec", "toy", RATES, run_dir=tmp_path, **keys)
    assert [row.status for row in found.trials] == ["failed"] * 3
    assert all("Did you mean 'title'" in str(row.error) for row in found.trials)


def test_a_search_that_goes_on_reads_what_is_finished_and_asks_for_the_rest(
    toy_options: dict[str, Any], tmp_path: Path
) -> None:
    space = {"learning_rate": {"uniform": [0.1, 0.4]}}

    def search(samples: int) -> searches.Search:
        options = SearchOptions(num_samples=samples, max_concurrent=1)
        return searches.carried_out(planted("PlantedJob", toy_options, tmp_path, options, space), tmp_path)

    first = search(2)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("planted-*/result.json")}
    second = search(4)
    assert second.trials[:2] == first.trials
    assert len(list(tmp_path.glob("planted-*/result.json"))) == 4
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_a_trial_without_the_figure_that_is_wanted_is_a_row_that_says_so(
    toy_options: dict[str, Any], tmp_path: Path
) -> None:
    options = SearchOptions(objectives={"recall@5": "max"}, max_concurrent=1)
    found = searches.carried_out(planted("PlantedJob", toy_options, tmp_path, options), tmp_path)
    assert found.chosen is None
    assert all("recall@5: no validation figure of that name" in str(row.error) for row in found.trials)


_KILLED = """
import json, sys
from recbole_fair import tune
options, root = json.loads(sys.argv[1]), sys.argv[2]
space = {"learning_rate": {"loguniform": [1e-4, 1e-1]}}
tune.search("MF", "toy", space, options=tune.SearchOptions(num_samples=4, max_concurrent=1), run_dir=root, **options)
"""


@pytest.mark.slow
def test_a_killed_search_loses_no_finished_trial(toy_options: dict[str, Any], tmp_path: Path) -> None:
    given = [sys.executable, "-W", "ignore", "-c", _KILLED, json.dumps(toy_options), str(tmp_path)]
    with subprocess.Popen(given, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 180
        while process.poll() is None and time.monotonic() < until and len(_ended(tmp_path)) < 2:
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("toy/MF/*/result.json")}
    kept = _ended(tmp_path)
    assert 2 <= len(kept) < 4
    space = {"learning_rate": {"loguniform": [1e-4, 1e-1]}}
    found = searches.search("MF", "toy", space, options=SearchOptions(num_samples=4), run_dir=tmp_path, **toy_options)
    assert [row.status for row in found.trials] == ["ok"] * 4
    assert {row["number"]: row["values"] for row in kept}.items() <= {
        row.number: row.values for row in found.trials
    }.items()
    assert all(path.stat().st_mtime_ns == time_ for path, time_ in before.items())


def _ended(root: Path) -> list[dict[str, Any]]:
    if not (root / "tune.json").exists():
        return []
    return [row for row in json.loads((root / "tune.json").read_text())["trials"] if row["status"] == "ok"]
