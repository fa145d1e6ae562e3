"""`item_words: tokens`: a tiny model reads each item as one token, another where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_fair import run
from recbole_fair.errors import UsageError
from recbole_fair.groups.variants import NONE
from recbole_fair.language import tiny
from recbole_fair.runner import open_run

Toy = Callable[..., dict[str, Any]]
KINDS: tuple[tiny.TinyKind, ...] = ("causal", "seq2seq")
QUICK = {
    "likes": "[4,inf)", "valid_metric": "AUC", "item_words": "tokens", "user_groups": ["gender"],
    "max_train_prompts": 24, "history_length": 3, "max_eval_prompts": 20, "train_batch_size": 8, "epochs": 1,
    "tiny_width": 16,
    "tiny_vocabulary": 400, "tiny_layers": 1, "bootstrap": 0, "sensitive_attribute": "gender",
}  # fmt: skip


def quick(toy: Toy, name: str, **more: Any) -> dict[str, Any]:
    keys = toy(name, **{**QUICK, **more})
    for unread in ("topk", "genre_field", "item_groups", "MAX_ITEM_LIST_LENGTH"):
        keys.pop(unread, None)
    return keys


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_is_one_token_wherever_it_stands_and_no_name_is_part_of_another(
    kind: tiny.TinyKind, tmp_path: Path
) -> None:
    names = ["<item 1>", "<item 12>", "<target 1>"]
    folder = tiny.write(tmp_path / "a", kind, ["likes and target: Yes No"] * 9, seed=0, width=16, layers=1, names=names)
    tokenizer = folder.tokenizer()
    ones = tokenizer.convert_tokens_to_ids(names)
    assert len(set(ones)) == 3
    text = 'likes "<item 12>", "<item 1>" target: <target 1>'
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert [token for token in ids if token in ones] == [ones[1], ones[0], ones[2]]
    rows = folder.model(kind, device="cpu", dtype="float32").get_input_embeddings().weight.shape[0]
    assert rows == max(ones) + 1


@pytest.mark.parametrize(("row", "more"), [("YesNo-Base", {}), ("MoS-Base", {"backbone": "causal"})])
def test_a_prompt_names_its_history_and_its_target_by_tokens_of_their_own(
    row: str, more: dict[str, Any], toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(**quick(toy, row, run_dir=str(tmp_path / "run"), **more))
    assert result.status in ("ok", "collapsed")
    _, _, trainer = open_run(tmp_path / "run")
    model = trainer.model
    lines = model.inputs.timelines
    row_asked = int(lines.learnt()[-1])
    user, item = int(lines.users()[row_asked]), int(lines.items[row_asked])
    (tokens,) = model.prompts.training(user, row_asked, [model.prompts.words(user, NONE)])
    words = model.tokenizer.convert_ids_to_tokens(tokens)
    assert words.count(f"<target {item}>") == 1
    shown = [int(lines.items[place]) for place in model.prompts.shown(user, row_asked)]
    assert sorted(word for word in words if word.startswith("<item")) == sorted(f"<item {one}>" for one in shown)


def test_a_pretrained_model_has_no_tokens_for_items(toy: Toy, tmp_path: Path) -> None:
    keys = quick(toy, "LLM-Rec", base_llm=str(tmp_path / "llm"))
    with pytest.raises(UsageError, match=r"item_words=tokens: .* has no tokens for items; take titles"):
        run(**keys)
