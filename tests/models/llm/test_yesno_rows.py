"""The rows of CL-MoE's tables as runs: each trains or is asked, on a base that stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_fair import registry, run, storage
from recbole_fair.errors import UsageError
from recbole_fair.groups.variants import NONE, OWN, Variant
from recbole_fair.rundir.result import Result
from recbole_fair.runner import open_run

Toy = Callable[..., dict[str, Any]]
ROWS = [row.name for row in registry.MODELS.values() if row.family == "yesno"]
# They differ from MoE, MoE-GA and CL-MoE in which single attributes they add samples of.
SELDOM = ("MoE-A", "MoE-G", "CL-MoE-A", "CL-MoE-G", "CL-MoE-GA")
QUICK = {
    "likes": "[4,inf)", "valid_metric": "AUC", "eval_args": {"split": {"US": [0.6, 0.2, 0.2]}, "order": "TO"},
    "targets_per_user": 3, "train_targets_per_user": 4, "history_length": 3, "max_train_prompts": 24,
    "max_eval_prompts": 20, "train_batch_size": 8, "epochs": 1, "tiny_width": 16, "tiny_vocabulary": 400,
    "tiny_layers": 1, "bootstrap": 0, "group_bins": {"age": {"young": "[0,40)", "old": "[40,inf)"}},
}  # fmt: skip


def quick(toy: Toy, name: str, **more: Any) -> dict[str, Any]:
    keys = toy(name, **{**QUICK, "sensitive_attribute": ["gender", "age"], "user_groups": ["gender"], **more})
    for unread in ("topk", "genre_field", "item_groups", "MAX_ITEM_LIST_LENGTH"):
        keys.pop(unread, None)
    return keys


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the module, so that all rows stand on one base."""
    return tmp_path_factory.mktemp("yesno")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SELDOM else []) for name in ROWS]
)
def test_every_row_runs_and_says_how_fair_it_is(
    name: str, toy: Toy, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    result = run(**quick(toy, name, **({"cot_tokens": 4} if name == "CoT" else {})))
    assert result.status in ("ok", "collapsed")
    for figure in ("f1", "auc", "yes_share", "gd[gender]", "rate[gender]", "flip[gender]", "flip_null"):
        assert figure in result.test
    assert result.test["flip_null"] == 0, "in float32 no answer depends on the batch"
    if name == "Blind":
        assert result.test["flip[gender]"] == result.test["gd[gender]"] == 0


def test_all_rows_stood_on_one_base(here: Path) -> None:
    assert len(list((here / "runs" / "toy" / "YesNo-Base").iterdir())) == 1


def test_a_base_stays_as_it_is_and_only_the_adapter_is_stored(
    toy: Toy, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    result = run(**quick(toy, "CL-MoE"))
    stored, _ = storage.read_tensors(Path(result.run_dir) / "model.safetensors")
    assert stored and all("lora_" in name or name.startswith("curriculum") for name in stored)
    base, _ = storage.read_tensors(here / str(result.base) / "model.safetensors")
    _, loaded, trainer = open_run(Path(result.run_dir))
    parameters = {name.replace(".base_layer", ""): value for name, value in trainer.model.named_parameters()}
    for name, value in base.items():
        held = parameters[name.replace("language_model.", "language_model.base_model.model.")]
        assert torch.equal(held, value), name
    figures = trainer.evaluate(loaded.test, load_best_model=False)
    assert figures["auc"] != figures["auc"] or figures["auc"] == pytest.approx(result.test["auc"], abs=1e-6)


def test_answers_are_the_same_one_at_a_time_and_together(toy: Toy, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    result = run(**quick(toy, "CF-Diff"))
    _, loaded, trainer = open_run(Path(result.run_dir))
    users, items = (torch.tensor(ids) for ids in zip(*loaded.test.labels, strict=True))
    for variant in (NONE, OWN, Variant("gender", "F")):
        together = trainer.model.answer(users, items, variant)
        alone = torch.cat([trainer.model.answer(users[[n]], items[[n]], variant) for n in range(len(users))])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_a_planted_bias_is_in_the_labels_of_base_and_row_alike(
    toy: Toy, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    result = run(**quick(toy, "Ins-Tuning", planted_bias={"gender": 0.5}, max_train_prompts=None))
    labels = {}
    for folder in (Path(result.run_dir), here / str(result.base)):
        _, loaded, _ = open_run(folder)
        labels[folder] = loaded.train.pairs
    row, base = labels.values()
    assert row.flipped.sum() == base.flipped.sum() > 0
    assert (row.labels == base.labels).all() and (row.rows == base.rows).all()
    assert Result.read(here / str(result.base)).config_hash != Result.read(Path(result.run_dir)).config_hash


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"sensitive_attribute": None}, "sensitive_attribute"),
        ({"planted_bias": {"gendr": 0.1}}, "Did you mean 'gender'"),
        ({"attribute_words": {"gender": {"X": "x"}}}, "no such value"),
        ({"prompt_template": "nosuch"}, "neither one of"),
        ({"max_prompt_tokens": 16}, "max_prompt_tokens"),
        ({"auxiliary": ["job"]}, "auxiliary: job is none of sensitive_attribute"),
        ({"adapter": "experts", "lora_targets": ["query"]}, "the model has no linear layer"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    more: dict[str, Any], says: str, toy: Toy, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    with pytest.raises(UsageError, match=says):
        run(**quick(toy, "CF-Diff", **more))
