"""Two processes on one training: the losses, weights and refusals of one."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ranks import trained_together
from toy import toy_keys

from recbole_fair import parallel, run, storage
from recbole_fair.errors import UsageError

ASKED: dict[str, Any] = {
    "likes": "[4,inf)", "valid_metric": "AUC", "bootstrap": 0, "tiny_width": 16, "tiny_layers": 1, "epochs": 2,
    "tiny_vocabulary": 400, "max_train_prompts": 65, "max_eval_prompts": 8, "train_batch_size": 16, "lora_dropout": 0,
    "group_bins": {"age": {"young": "[0,40)", "old": "[40,inf)"}}, "learner": "sgd", "learning_rate": 0.05,
}  # fmt: skip
BOTH = {"sensitive_attribute": ["gender", "age"]}
# 65 prompts in batches of 17, 16, 16, 16 (yesno) or 13 (mos); of 67 the last batch is of 3 (p5): uneven shares all.
ROWS: dict[str, dict[str, Any]] = {
    "YesNo-Base": {**ASKED, **BOTH},
    "CL-MoE": {**ASKED, **BOTH, "base": "YesNo-Base"},
    "MoS-Base": {**ASKED, "sf_z": 0.85, "backbone": "causal"},
    "MoS": {**ASKED, "sf_z": 0.85, "backbone": "causal", "base": "MoS-Base"},
    "P5": {
        "tiny_width": 16, "max_train_prompts": 67, "max_history": 6, "num_candidates": 8, "dropout_prob": 0,
        "train_batch_size": 16, "eval_args": {"split": {"LS": "valid_and_test"}}, "bootstrap": 0, "learner": "sgd",
    },
}  # fmt: skip

COMPARED = [name for name in ROWS if name != "MoS-Base"]  # which trains like YesNo-Base


def losses(folder: Path) -> list[float]:
    with (folder / "history.csv").open(newline="") as stream:
        return [float(row["value"]) for row in csv.DictReader(stream) if not row["metric"].startswith("valid")]


@pytest.fixture(scope="module")
def folders(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Where every row was trained by one process, and by two on the same bases."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))

    def keys(root: Path, name: str, **more: Any) -> dict[str, Any]:
        base = {"base": str(one / ROWS[name]["base"])} if "base" in ROWS[name] else {}
        return {**toy_keys(toy_root, root / name, name), **ROWS[name], **base, **more}

    for name in ROWS:
        run(**keys(one, name))
    noisy = [keys(two, "CL-MoE", run_dir=str(two / name), lora_dropout=0.5) for name in ("whole", "resumed")]
    resumed = [{**noisy[1], "stop_after": 0}, {**noisy[1], "resume": True}]
    trained_together([*(keys(two, name) for name in COMPARED), noisy[0], *resumed], two)
    return one, two


@pytest.mark.parametrize("name", COMPARED)
def test_two_processes_give_the_losses_and_weights_of_one(name: str, folders: tuple[Path, Path]) -> None:
    one, two = (folder / name for folder in folders)
    assert len(losses(one)) >= 2 and losses(one)[0] != losses(one)[-1]
    np.testing.assert_allclose(losses(two), losses(one), atol=1e-6)
    mine, theirs = (storage.read_tensors(folder / "model.safetensors")[0] for folder in (one, two))
    assert mine.keys() == theirs.keys()
    for part, weights in mine.items():
        torch.testing.assert_close(theirs[part], weights, atol=1e-6, rtol=1e-4, msg=part)


def test_two_processes_go_on_from_a_resume_point_as_if_nothing_had_stopped_them(folders: tuple[Path, Path]) -> None:
    whole, resumed = (folders[1] / name for name in ("whole", "resumed"))
    assert "resumed after epoch 1" in (resumed / "run.log").read_text()
    assert losses(resumed) == losses(whole)
    assert losses(whole) != losses(folders[1] / "CL-MoE"), "dropout changes nothing, so its draws are not tested"


def test_a_result_says_how_many_processes_trained_it(folders: tuple[Path, Path]) -> None:
    one, two = (storage.read_json(folder / "CL-MoE" / "result.json")["environment"] for folder in folders)
    assert two["processes"] == 2 and "processes" not in one


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("MF", {}),
        ("ReweightMF", {}),
        ("LLM-Rec", ASKED),
        ("UP5-Loss", ASKED),
        ("CFP", {"sensitive_attribute": "gender"}),
        ("Erase", {"sensitive_attribute": "gender"}),
    ],
)
def test_what_several_processes_cannot_train_is_refused(
    name: str, more: dict[str, Any], toy: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parallel, "ranks", lambda: 2)
    with pytest.raises(UsageError, match=r"2 processes train P5 .* start this one without torchrun"):
        run(**toy(name, **more))
    assert not (tmp_path / "run").exists()


def test_shares_are_even_and_a_batch_of_fewer_samples_than_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert parallel.share(5).tolist() == [0, 1, 2, 3, 4]
    monkeypatch.setattr(parallel, "ranks", lambda: 2)
    monkeypatch.setattr(parallel, "rank", lambda: 1)
    assert parallel.share(5).tolist() == [3, 4]
    with pytest.raises(UsageError, match="a batch of 1 cannot be shared by 2 processes"):
        parallel.share(1)
