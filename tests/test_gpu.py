"""On a CUDA card models train, are interrupted, resume and are judged as on the CPU; CPU runs test the comparison.

Dropout is off: its draws differ between devices. Then losses agree to 1 %, and figures of a few dozen judged users or
pairs to .05, which is one answer or one hit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import rows

from recbole_fair import run
from recbole_fair.rundir.result import Result

Toy = Callable[..., dict[str, Any]]

_TINY = {"tiny_width": 16, "tiny_layers": 1, "tiny_vocabulary": 400, "bootstrap": 0, "likes": "[4,inf)",
         "valid_metric": "AUC", "max_train_prompts": 24, "max_eval_prompts": 20, "lora_dropout": 0.0}  # fmt: skip
_YESNO = {**_TINY, "sensitive_attribute": "gender", "eval_args": {"split": {"US": [0.6, 0.2, 0.2]}, "order": "TO"},
          "targets_per_user": 3, "train_targets_per_user": 4, "history_length": 3, "train_batch_size": 8}  # fmt: skip
_MOS = {**_TINY, "sf_z": 0.85, "train_batch_size": 8}
_P5 = {"num_candidates": 9, "tiny_width": 32, "tiny_layers": 1, "tiny_heads": 2, "train_batch_size": 32,
       "max_history": 8, "dropout_prob": 0.0, "eval_args": {"split": {"LS": "valid_and_test"}}}  # fmt: skip
_CFP = {**_P5, "sensitive_attribute": "gender", "prefix_dropout": 0.0, "rounds": 2, "joint_steps": 1,
        "recommend_steps": 1, "discriminate_steps": 2}  # fmt: skip
KEYS: dict[str, dict[str, Any]] = {
    "AlphaRec": {},
    "BiFairAlphaRec": {"fair_group": "genre"},
    "LightGCN": {},
    "SASRec": {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0},
    "CF-Diff": _YESNO,
    "CL-MoE": _YESNO,
    "MoS": _MOS,
    "LoRA": _MOS,
    "P5": _P5,
    "CFP": _CFP,
}


class StopHereError(Exception):
    """Stands for a process that ends between two epochs."""


def interrupt(epoch: int, _: float) -> None:
    if epoch == 0:
        raise StopHereError


def losses(result: Result) -> list[float]:
    lines = rows(Path(result.run_dir) / "history.csv")
    return [float(line["value"]) for line in lines if line["metric"] == "loss"]


def compare(name: str, toy: Toy, folder: Path, device: str) -> None:
    """A run on the CPU, and one on the device that is interrupted after its first epoch and resumed."""
    keys = {**toy(name), **KEYS[name], "epochs": 2, "bootstrap": 0}
    expected = run(**{**keys, "run_dir": str(folder / "cpu")})
    there = {**keys, "use_gpu": device == "cuda", "gpu_id": "0", "run_dir": str(folder / "there")}
    with pytest.raises(StopHereError):
        run(**there, on_epoch=interrupt)
    actual = run(**there, resume=True)
    assert actual.environment["device"].startswith(device)
    assert losses(actual) == pytest.approx(losses(expected), rel=1e-2)
    assert actual.test.keys() == expected.test.keys()
    for figure, value in expected.test.items():
        assert actual.test[figure] == pytest.approx(value, abs=0.05), figure


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", KEYS)
def test_a_card_trains_resumes_and_judges_as_the_cpu_does(
    name: str, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # both stand on one base, made on the CPU
    compare(name, toy, tmp_path, "cuda")


@pytest.mark.parametrize("name", ["CL-MoE", "MoS"])
def test_the_comparison_holds_of_the_cpu_with_itself(
    name: str, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    compare(name, toy, tmp_path, "cpu")
