"""The life of a run: files, resuming, refusing, and leaving the process as it was."""

from __future__ import annotations

import csv
import json
import logging
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kills import Scenario, interrupted

from recbole_fair import cli, storage
from recbole_fair.commands import table
from recbole_fair.errors import StorageError, TrainingError, UsageError
from recbole_fair.rundir import folder as rundir
from recbole_fair.rundir.result import Result
from recbole_fair.runner import open_run, run
from recbole_fair.training.trainer import FairTrainer

Toy = Callable[..., dict[str, Any]]


def read(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter=delimiter))


@pytest.mark.newest
def test_the_run_directory_is_as_fixed(run_toy: Callable[..., Any]) -> None:
    result = run_toy("MF", save_recommendations=True)
    folder = Path(result.run_dir)
    present = {path.name for path in folder.iterdir()} - {".lock", "run.json"}
    assert present == {
        "config.yaml", "run.log", "result.json", "groups.csv", "users.csv", "history.csv", "model.safetensors",
        "model.json", "recommendations.tsv", "interactions.tsv",
    }  # fmt: skip
    stored = json.loads((folder / "result.json").read_text())
    fixed = "model strategy dataset seed config_hash valid test interval groups parameters seconds versions environment"
    assert set(fixed.split()) | {"data", "status", "error", "warnings"} <= set(stored)
    assert set(stored["seconds"]) == {"data", "encode", "train", "evaluate"}
    told = {"fingerprint", "split", "candidates", "users", "items", "interactions", "ties", "unseen"}
    assert set(stored["data"]) == told
    assert stored["data"]["users"] == 42 and stored["data"]["items"] == 24
    assert stored["status"] == "ok"
    assert "epoch 0 training [" in (folder / "run.log").read_text()
    assert "\x1b" not in (folder / "run.log").read_text()
    assert {row["metric"] for row in read(folder / "history.csv")} >= {"loss", "valid ndcg@5"}


@pytest.mark.newest
def test_figures_follow_from_the_saved_lists_by_a_double_loop(run_toy: Callable[..., Any]) -> None:
    """Recall, NDCG, HR, MRR and group utilities by code that shares nothing with the package."""
    result = run_toy("LightGCN", save_recommendations=True)
    folder = Path(result.run_dir)
    lists: dict[str, list[str]] = {}
    for row in read(folder / "recommendations.tsv", "\t"):
        lists.setdefault(row["user_id"], []).append(row["item_id"])
        assert int(row["rank"]) == len(lists[row["user_id"]])
    truth: dict[str, set[str]] = {}
    known: dict[str, set[str]] = {}
    for row in read(folder / "interactions.tsv", "\t"):
        (truth if row["split"] == "test" else known).setdefault(row["user_id"], set()).add(row["item_id"])
    for k in (3, 5):
        sums = {"recall": 0.0, "ndcg": 0.0, "hit": 0.0, "mrr": 0.0}
        for user, relevant in truth.items():
            assert not known[user] & set(lists[user]), "training and validation items are masked"
            gain, first, hits = 0.0, 0.0, 0
            for rank, item in enumerate(lists[user][:k], start=1):
                if item in relevant:
                    hits += 1
                    gain += 1 / np.log2(rank + 1)
                    first = first or 1 / rank
            ideal = sum(1 / np.log2(rank + 1) for rank in range(1, min(k, len(relevant)) + 1))
            sums["recall"] += hits / len(relevant)
            sums["ndcg"] += gain / ideal
            sums["hit"] += hits > 0
            sums["mrr"] += first
        for name, value in sums.items():
            assert result.test[f"{name}@{k}"] == pytest.approx(value / len(truth), abs=1e-9)
    comic = [user for user, items in truth.items() if any(item.startswith("c") for item in items)]
    utility = np.mean([len(set(lists[u][:5]) & {i for i in truth[u] if i[0] == "c"}) / len(truth[u]) for u in comic])
    row = next(row for row in read(folder / "groups.csv") if row["group"] == "comic")
    assert float(row["recall@5"]) == pytest.approx(utility, abs=1e-9)
    assert int(row["users"]) == len(comic)


def test_users_csv_adds_up_to_the_result(run_toy: Callable[..., Any]) -> None:
    result = run_toy("MF")
    rows = read(Path(result.run_dir) / "users.csv")
    for name in rows[0].keys() & result.test.keys():
        value = result.test[name]
        assert np.mean([float(row[name]) for row in rows]) == pytest.approx(value, abs=1e-12)
    assert {row["gender"] for row in rows} == {"F", "M", ""}  # one user's gender is unknown


def test_a_finished_run_is_shown_not_repeated(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(**toy("MF"))
    before = (Path(first.run_dir) / "result.json").stat().st_mtime_ns
    second = run(**toy("MF"))
    assert second.test == first.test
    assert (Path(first.run_dir) / "result.json").stat().st_mtime_ns == before
    assert "ndcg@5" in second.table()


def test_another_hash_or_seed_is_refused(toy: Toy) -> None:
    run(**toy("MF"))
    with pytest.raises(UsageError, match="another seed"):
        run(**toy("MF", seed=1))
    with pytest.raises(UsageError, match="another config_hash"):
        run(**toy("MF", learning_rate=0.5))


def test_a_foreign_folder_is_not_touched(toy: Toy, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="not empty"):
        run(**toy("MF", run_dir=str(folder)))
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_two_processes_cannot_share_a_folder(toy: Toy) -> None:
    keys = toy("MF")
    with rundir.locked(Path(keys["run_dir"])), pytest.raises(UsageError, match="another process"):
        run(**keys)


def test_an_unwritable_place_is_refused(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        run(**toy("MF", run_dir=str(tmp_path / "file" / "run")))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "value.json"
    storage.write_json(path, {"kept": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"value\.json: cannot be written \(No space left"):
        storage.write_json(path, {"lost": 2})
    assert storage.read_json(path) == {"kept": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]


def test_two_runs_in_one_process_equal_two_processes(toy: Toy, tmp_path: Path) -> None:
    """No global state: neither the first run nor what the caller does changes the second's figures."""
    alone = run(**toy("MultVAE"))
    torch.rand(5), np.random.rand(5), random.random()
    run(**toy("SASRec", run_dir=str(tmp_path / "other"), epochs=1))
    again = run(**toy("MultVAE", run_dir=str(tmp_path / "again")))
    assert again.test == alone.test


def test_a_run_leaves_the_process_as_it_was(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    handlers, level, environment = list(logging.getLogger().handlers), logging.getLogger().level, dict(os.environ)
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    expected = (torch.rand(1).item(), np.random.rand(), random.random())
    switches = (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    run(**toy("LightGCN"))
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected
    assert (list(logging.getLogger().handlers), logging.getLogger().level) == (handlers, level)
    assert dict(os.environ) == environment
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == switches
    assert {path.name for path in tmp_path.iterdir()} == {"run"}, "nothing but the run's folder: no ./log, ./saved"


def test_all_seeds_share_one_split(toy: Toy, tmp_path: Path) -> None:
    """Traps 13 and 18: and so do all kinds of models, whatever they draw before."""
    kinds = {"MF": 1, "SASRec": 2, "MultVAE": 3, "AlphaRec": 4, "EASE": 5}
    results = [run(**toy(model, seed=seed, epochs=1, run_dir=str(tmp_path / model))) for model, seed in kinds.items()]
    assert len({result.data["split"] for result in results}) == 1
    other = run(**toy("MF", split_seed=1, epochs=1, eval_args={"order": "RO"}, run_dir=str(tmp_path / "ro")))
    assert other.data["split"] != results[0].data["split"]


def test_evaluate_only_from_a_saved_run(toy: Toy, tmp_path: Path) -> None:
    trained = run(**toy("MF"))
    loaded = run(load=trained.run_dir, topk=[2, 5], run_dir=str(tmp_path / "loaded"))
    assert loaded.test["recall@5"] == trained.test["recall@5"]
    assert "recall@2" in loaded.test
    assert loaded.parameters == trained.parameters
    with pytest.raises(UsageError, match="no run is there"):
        run(load=str(tmp_path / "nowhere"))


def test_a_failed_run_says_why_and_can_be_resumed(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole.model.general_recommender import BPR

    good = BPR.calculate_loss
    monkeypatch.setattr(BPR, "calculate_loss", lambda self, batch: good(self, batch) * float("nan"))
    with pytest.raises(TrainingError, match="epoch 0"):
        run(**toy("MF"))
    stored = Result.read(Path(toy("MF")["run_dir"]))
    assert (stored.status, stored.error[:13]) == ("failed", "TrainingError")
    monkeypatch.undo()
    with pytest.raises(UsageError, match="--resume=True"):
        run(**toy("MF"))
    assert run(**toy("MF", resume=True)).status == "ok"


SCENARIOS = [
    Scenario("AlphaRec", kill_at="epoch"),
    Scenario("SASRec", kill_at="checkpoint", when=5),
    Scenario("SGL", kill_at="epoch"),
]


@pytest.mark.newest
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario.model}-{scenario.kill_at}")
def test_a_killed_run_resumes_to_the_same_figures(scenario: Scenario, toy: Toy, tmp_path: Path) -> None:
    """A real SIGKILL in a process of its own; 30 of them over a whole run: benchmarks/kill_and_resume.py."""
    whole = run(**toy(scenario.model, epochs=6, run_dir=str(tmp_path / "whole")))
    keys = toy(scenario.model, epochs=6)
    assert interrupted(scenario, keys) == -9
    with pytest.raises(UsageError, match="--resume=True"):
        run(**keys)
    resumed = run(**{**keys, "resume": True})
    assert resumed.test == whole.test
    assert resumed.valid == whole.valid
    assert read(Path(resumed.run_dir) / "history.csv") == read(Path(whole.run_dir) / "history.csv")


def test_the_seconds_of_a_killed_process_are_counted(toy: Toy) -> None:
    keys = toy("MF", epochs=6)
    interrupted(Scenario("MF", kill_at="epoch"), keys)
    point = Path(keys["run_dir"]) / "resume.safetensors"
    tensors, about = storage.read_sealed(point)
    assert 0 < about["seconds"] < 60
    storage.write_sealed(point, tensors, {**about, "seconds": 1000.0})
    assert run(**{**keys, "resume": True}).seconds["train"] > 1000


def test_early_stopping_survives_a_kill(toy: Toy, tmp_path: Path) -> None:
    keys = {"epochs": 40, "stopping_step": 1, "learning_rate": 0.2}
    whole = run(**toy("MF", **keys, run_dir=str(tmp_path / "whole")))
    assert interrupted(Scenario("MF", kill_at="epoch", when=3), toy("MF", **keys)) == -9
    resumed = run(**{**toy("MF", **keys), "resume": True})
    assert resumed.test == whole.test


def test_a_resume_point_of_another_run_is_refused(toy: Toy, tmp_path: Path) -> None:
    interrupted(Scenario("MF", kill_at="epoch"), toy("MF", epochs=6))
    interrupted(Scenario("MF", kill_at="epoch"), toy("MF", epochs=6, seed=5, run_dir=str(tmp_path / "b")))
    (tmp_path / "run" / "resume.safetensors").write_bytes((tmp_path / "b" / "resume.safetensors").read_bytes())
    with pytest.raises(UsageError, match="of another run"):
        run(**toy("MF", epochs=6, resume=True))


def test_epochs_zero_judges_an_untrained_model(run_toy: Callable[..., Any]) -> None:
    """Trap 28."""
    assert 0 <= run_toy("MF", epochs=0).test["recall@5"] <= 1


def test_the_command_line_end_to_end(toy_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "r"
    words = (
        f"--model Pop --dataset=toy --data_path={toy_root} --topk=[3] --valid_metric=NDCG@3 --run_dir={folder} --quiet"
    )
    assert cli.main(words.split()) == 0
    out = capsys.readouterr().out
    assert "ndcg@3" in out and str(folder) in out
    assert cli.main(["recommend", str(folder), "--users=uF1,uM3", "--k=2"]) == 0
    out = capsys.readouterr().out
    assert out.count("user u") == 2 and len(out.splitlines()) == 6
    assert cli.main(["recommend", str(folder), "--users=nobody"]) == 2
    assert "no such user" in capsys.readouterr().err
    assert cli.main(["cache", f"--cache_dir={tmp_path / 'c'}"]) == 0
    assert cli.main(["models", "--cite", "AlphaRec"]) == 0
    assert "howpublished = {ICLR},\n  year = {2025}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--model=NoSuchModel --dataset=toy", "no such model"),
        ("--model=MF", "give --dataset=NAME"),
        ("--dataset=toy", "give --model=NAME"),
        ("--model=MF --dataset=nowhere", "convert"),
        ("mdoels", "Did you mean 'models'"),
        ("run stray", "expected --key=value"),
        ("--model", "needs a value"),
        ("--seed=1 --seed=2", "given twice"),
        ("recommend", "give one run directory"),
        ("recommend nowhere --users=1", "no finished run"),
    ],
)
def test_refusals_exit_with_2_and_no_traceback(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words.split()) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert len(error.strip().splitlines()) <= 2


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(UsageError):
        cli.main(["--model=NoSuchModel", "--dataset=toy", "--debug"])


def test_open_run_scores_without_changing_anything(run_toy: Callable[..., Any]) -> None:
    result = run_toy("LightGCN")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in Path(result.run_dir).iterdir())
    open_run(Path(result.run_dir))
    assert sorted((path.name, path.stat().st_mtime_ns) for path in Path(result.run_dir).iterdir()) == before


def test_a_run_refused_before_training_leaves_nothing(toy: Toy) -> None:
    keys = toy("MF", user_groups=["nothing"])
    with pytest.raises(UsageError):
        run(**keys)
    assert not Path(keys["run_dir"]).exists()
    assert run(**toy("MF")).status == "ok"


def test_the_loaded_weights_are_part_of_the_hash(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [run(**toy("MF", epochs=epochs, run_dir=str(tmp_path / f"m{epochs}"))) for epochs in (1, 8)]
    judged = [run(load=trained.run_dir, epochs=0) for trained in runs]
    assert [result.test for result in judged] == [trained.test for trained in runs]
    assert judged[0].config_hash != judged[1].config_hash
    assert run(load=runs[0].run_dir, topk=[2, 5]).run_dir != runs[0].run_dir, "never the trained run's own folder"


def test_lists_can_be_asked_for_afterwards(toy: Toy, tmp_path: Path) -> None:
    run(**toy("LightGCN", save_recommendations=True, run_dir=str(tmp_path / "at once")))
    run(**toy("LightGCN"))
    run(**toy("LightGCN", save_recommendations=True))
    for name in ("recommendations.tsv", "interactions.tsv"):
        assert (tmp_path / "run" / name).read_text() == (tmp_path / "at once" / name).read_text()


@pytest.mark.parametrize("written", [0, 3], ids=["at once", "during training"])
def test_a_disk_that_fills_keeps_the_run_resumable(toy: Toy, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    whole = run(**toy("MF", epochs=4, run_dir=str(Path(toy("MF")["run_dir"]).parent / "whole")))
    real, weights = storage._write_tensors, []

    def filling(path: Path, tensors: dict[str, torch.Tensor], notes: dict[str, str]) -> str:
        weights.append(path)
        if len(weights) > written:
            raise StorageError(f"{path}: cannot be written (No space left on device)")
        return real(path, tensors, notes)

    monkeypatch.setattr(storage, "_write_tensors", filling)
    with pytest.raises(StorageError):
        run(**toy("MF", epochs=4))
    monkeypatch.undo()
    assert run(**toy("MF", epochs=4, resume=True)).test == whole.test


def test_losses_of_unjudged_epochs_are_in_the_history(run_toy: Callable[..., Any]) -> None:
    result = run_toy("MF", eval_step=2, epochs=5)
    rows = read(Path(result.run_dir) / "history.csv")
    assert [row["epoch"] for row in rows if row["metric"] == "loss"] == ["0", "1", "2", "3", "4"]
    assert {row["epoch"] for row in rows if row["metric"] == "valid ndcg@5"} == {"1", "3"}


@pytest.mark.parametrize("model", ["LINE", "ReweightMF"])
def test_arrays_that_a_model_shuffles_and_strategies_are_resumed(model: str, toy: Toy, tmp_path: Path) -> None:
    whole = run(**toy(model, epochs=6, run_dir=str(tmp_path / "whole")))

    def stop(epoch: int, score: float) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(**toy(model, epochs=6), on_epoch=stop)
    resumed = run(**toy(model, epochs=6, resume=True))
    assert (resumed.test, resumed.valid) == (whole.test, whole.valid)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--eval_args.order=RO", "--eval_args={mode: full}"], "given twice"),
        (["cache", "--foo=1"], "does not take --foo"),
        (["cache", "bar"], "does not take bar"),
        (["models", "--foo=1"], "does not take --foo"),
        (["recommend", "x", "--users=1", "--foo=1"], "does not take --foo"),
    ],
)
def test_nothing_that_is_typed_is_ignored(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert says in capsys.readouterr().err


def test_a_switch_of_another_sub_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words, reader in ((["run", "--clear"], "cache"), (["models", "--download"], "convert")):
        assert cli.main(words) == 2
        assert f"does not take {words[1]}; it is a switch of {reader}" in capsys.readouterr().err


def test_help_never_does_anything(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("")
    for command in table.COMMANDS:
        assert cli.main([command, "--help", "--clear", f"--cache_dir={tmp_path}"]) == 0
    assert (tmp_path / "kept").exists()
    assert "recbole-fair" in capsys.readouterr().out


def test_a_run_that_died_after_its_training_is_finished_by_resume(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogue metrics read the training part, which the host collects while it trains."""
    keys = {"metrics": ["NDCG", "ItemCoverage"], "epochs": 3}
    whole = run(**toy("MF", **keys, run_dir=str(Path(toy("MF")["run_dir"]).parent / "whole")))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FairTrainer, "load_best", killed)  # what comes after the last epoch
    with pytest.raises(KeyboardInterrupt):
        run(**toy("MF", **keys))
    monkeypatch.undo()
    assert run(**toy("MF", **keys, resume=True)).test == whole.test
