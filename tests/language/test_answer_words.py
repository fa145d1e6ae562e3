"""The two answer tokens: looked up, and refused where one position could not decide between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recbole_fair.errors import UsageError
from recbole_fair.language import tiny
from recbole_fair.language.answer_words import answer_tokens

TEXTS = ["Heat? Answer: Yes", "Heat? Answer: No", "Yes", "No", " yes", "Yesterday"] * 9


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("tiny") / "causal"
    return tiny.write(folder, "causal", TEXTS, seed=0, width=16, layers=1).tokenizer()


def word_tokenizer(words: list[str]) -> Any:
    """Whole words, all others unknown; what stands around a word is dropped."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    table = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    table.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=table, unk_token="<unk>")


def test_the_ids_are_those_that_the_answers_have_in_a_prompt(tokenizer: Any) -> None:
    yes, no = answer_tokens(tokenizer)
    assert (tokenizer("Heat? Answer: Yes")["input_ids"][-1], tokenizer("Heat? Answer: No")["input_ids"][-1]) == (
        yes,
        no,
    )


def test_with_and_without_a_blank_are_different_words(tokenizer: Any) -> None:
    assert not set(answer_tokens(tokenizer)) & set(answer_tokens(tokenizer, "Yes", "No"))


def test_markers_that_a_tokenizer_adds_are_not_counted(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "a", "seq2seq", TEXTS, seed=0, width=16, layers=1)
    yes, no = answer_tokens(folder.tokenizer())
    assert folder.tokenizer().convert_ids_to_tokens([yes, no]) == ["ĠYes", "ĠNo"]


def test_a_word_of_several_tokens_is_spelt_out_and_others_are_named(tokenizer: Any) -> None:
    with pytest.raises(UsageError) as refusal:
        answer_tokens(tokenizer, " YES")
    assert "answer word ' YES' becomes 4 tokens ['Ġ', 'Y', 'E', 'S']" in str(refusal.value)
    with pytest.raises(UsageError, match=r"this tokenizer has 'Yes', ' Yes', 'yes', ' yes'"):
        answer_tokens(tokenizer, "Yes ")


def test_a_word_without_any_usable_spelling(tokenizer: Any) -> None:
    with pytest.raises(UsageError, match=r"' Definitely' becomes .* tokens .*; choose a shorter word, or train"):
        answer_tokens(tokenizer, " Definitely")
    with pytest.raises(UsageError, match="'' becomes 0 tokens"):
        answer_tokens(tokenizer, "")


def test_the_same_word_twice(tokenizer: Any) -> None:
    with pytest.raises(UsageError, match="' No' and ' No' are the same token 'ĠNo'"):
        answer_tokens(tokenizer, " No", " No")


def test_two_spellings_of_one_token() -> None:
    with pytest.raises(UsageError, match="' Yes' and 'Yes' are the same token 'Yes'"):
        answer_tokens(word_tokenizer(["<unk>", "Yes"]), " Yes", "Yes")


def test_unknown_words() -> None:
    assert answer_tokens(word_tokenizer(["<unk>", "Yes", "No"])) == (1, 2)
    with pytest.raises(UsageError, match=r"' No' becomes 1 token \['<unk>'\], and must be one known token"):
        answer_tokens(word_tokenizer(["<unk>", "Yes"]))
    with pytest.raises(UsageError, match="this tokenizer has 'no', ' no'"):
        answer_tokens(word_tokenizer(["<unk>", "Yes", "no"]), " Yes", "No")
