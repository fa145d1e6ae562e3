"""Tiny models: folders like any other, the same bytes for the same inputs, and inputs that are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_fair.errors import StorageError, UsageError
from recbole_fair.language import tiny
from recbole_fair.language.answer_words import answer_tokens
from recbole_fair.language.checkpoints import find

TEXTS = ["The user likes Toy Story (1995). Answer: Yes", "The user dislikes Heat. Answer: No"] * 9
KINDS: list[tiny.TinyKind] = ["causal", "seq2seq"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_inputs_give_the_same_bytes(kind: tiny.TinyKind, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = tiny.write(tmp_path / "a", kind, TEXTS, seed=3, width=16, layers=1)
    torch.manual_seed(2)
    second = tiny.write(tmp_path / "b", kind, iter(TEXTS), seed=3, width=16, layers=1)
    other = tiny.write(tmp_path / "c", kind, TEXTS, seed=4, width=16, layers=1)
    assert contents(first.folder) == contents(second.folder)
    assert first.version == second.version != other.version
    differing = [name for name, content in contents(other.folder).items() if content != contents(first.folder)[name]]
    assert differing == ["model.safetensors"]


def test_the_callers_random_numbers_go_on_as_if_nothing_was_written(tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    tiny.write(tmp_path / "a", "causal", TEXTS, seed=3, width=16, layers=1)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_asked_for(kind: tiny.TinyKind, tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "a", kind, TEXTS, seed=0, width=24, layers=3, heads=4, vocabulary=280)
    model = folder.model(kind, device="cpu", dtype="auto")
    embeddings = model.get_input_embeddings().weight
    assert embeddings.shape == (280, 24)
    assert len(folder.tokenizer()) == model.config.vocab_size == 280
    assert model.get_output_embeddings().weight is embeddings
    assert (model.config.num_hidden_layers, model.config.num_attention_heads) == (3, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_loaded_is_the_tokenizer_that_was_trained(kind: tiny.TinyKind, tmp_path: Path) -> None:
    """Transformers takes Qwen2's own rules for a Qwen2, whatever its tokenizer.json says, so both must agree."""
    from tokenizers import Tokenizer

    folder = tiny.write(tmp_path / "a", kind, TEXTS, seed=0, width=16, layers=1)
    written = Tokenizer.from_file(str(folder.folder / "tokenizer.json"))
    tokenizer = folder.tokenizer()
    for text in [*TEXTS[:2], "Ame\u0301lie  1995, it's 12:30\n\nHEAT'S   ", "日本語 🎬", ""]:
        assert tokenizer(text)["input_ids"] == written.encode(text).ids
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) in (
            text, text.replace("e\u0301", "é"))  # fmt: skip


def test_words_of_the_texts_become_tokens_and_the_answers_too(tmp_path: Path) -> None:
    tokenizer = tiny.write(tmp_path / "a", "causal", TEXTS, seed=0, width=16, layers=1).tokenizer()
    yes, no = answer_tokens(tokenizer)
    prompt, answered = "The user likes Heat. Answer:", "The user likes Heat. Answer: Yes"
    assert tokenizer(answered)["input_ids"] == [*tokenizer(prompt)["input_ids"], yes]
    assert yes != no


def test_only_the_encoder_decoder_ends_its_texts(tmp_path: Path) -> None:
    causal = tiny.write(tmp_path / "a", "causal", TEXTS, seed=0, width=16, layers=1).tokenizer()
    seq2seq = tiny.write(tmp_path / "b", "seq2seq", TEXTS, seed=0, width=16, layers=1).tokenizer()
    assert seq2seq("Heat")["input_ids"][-1] == seq2seq.eos_token_id == 1
    assert causal.eos_token_id not in causal("Heat")["input_ids"]
    assert (causal.pad_token_id, seq2seq.pad_token_id) == (0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_extra_tokens_follow_the_markers_and_are_never_read_out_of_a_text(kind: tiny.TinyKind, tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "a", kind, TEXTS, seed=0, width=16, layers=1, extra_tokens=["<user_7>", "<item_1>"])
    tokenizer = folder.tokenizer()
    assert tokenizer.convert_tokens_to_ids(["<pad>", "<eos>", "<user_7>", "<item_1>"]) == [0, 1, 2, 3]
    title = tokenizer("Heat <user_7><eos>", add_special_tokens=False)["input_ids"]
    assert not {0, 1, 2, 3} & set(title)
    assert tokenizer.decode(title) == "Heat <user_7><eos>"
    parsing = folder.tokenizer(parse_special=True)
    assert parsing("Heat<user_7><eos>", add_special_tokens=False)["input_ids"][-2:] == [2, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns(kind: tiny.TinyKind, tmp_path: Path) -> None:
    """From the loss of guessing among all tokens to next to none, on two sentences."""
    folder = tiny.write(tmp_path / "a", kind, TEXTS, seed=0, width=32, layers=1)
    tokenizer, model = folder.tokenizer(), folder.model(kind, device="cpu", dtype="float32").train()
    batch = tokenizer(TEXTS[:2], return_tensors="pt", padding=True)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(60):
        loss = model(**batch, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.8 * math.log(len(tokenizer))
    assert losses[-1] < 1


def test_an_empty_folder_may_be_there_already(tmp_path: Path) -> None:
    assert tiny.write(tmp_path, "causal", TEXTS, seed=0, width=16, layers=1).folder == tmp_path
    assert find(str(tmp_path)).version


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kind": "encoder"}, "kind='encoder'"),
    "width": ({"width": 15}, "width=15, heads=2: the width must be a multiple"),
    "odd head": ({"width": 6}, "width=6, heads=2"),
    "vocabulary": ({"vocabulary": 257}, "vocabulary=257: must be at least 258"),
    "two extra tokens": ({"extra_tokens": ["<a>", "<a>"]}, "extra_tokens: must be distinct"),
    "taken": ({"extra_tokens": ["<eos>"]}, "neither '<pad>' nor '<eos>'"),
    "empty token": ({"extra_tokens": [""]}, "not empty"),
    "no texts": ({"texts": []}, "texts: hold no two characters in a row"),
    "empty texts": ({"texts": ["", ""]}, "texts: hold no two characters in a row"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_is_written(case: str, tmp_path: Path) -> None:
    change, reason = REFUSED[case]
    with pytest.raises(UsageError, match=reason):
        tiny.write(tmp_path / "a", **({"kind": "causal", "texts": TEXTS, "seed": 0} | change))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UsageError, match="exists already"):
            tiny.write(folder, "causal", TEXTS, seed=0)
    assert contents(tmp_path) == {"mine.txt": b"mine"}


def test_a_disk_that_fills_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Callable[..., None]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full)
    with pytest.raises(StorageError, match="No space left"):
        tiny.write(tmp_path / "a", "causal", TEXTS, seed=0, width=16, layers=1)
    assert list(tmp_path.iterdir()) == []
