"""The two tokens between which a language model answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recbole_fair.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def answer_tokens(tokenizer: PreTrainedTokenizerBase, yes: str = " Yes", no: str = " No") -> tuple[int, int]:
    """The ids of two answer words, each of which must be one token of its own, so that one position decides.

    " Yes" and "Yes" are two words: which of them follows depends on whether the prompt ends in a blank.
    """
    ids = _only_token(tokenizer, yes), _only_token(tokenizer, no)
    if ids[0] == ids[1]:
        raise UsageError(
            f"answer words {yes!r} and {no!r} are the same token {_spelt(tokenizer, yes)[0]!r}; choose two words that "
            "the tokenizer tells apart"
        )
    return ids


def _only_token(tokenizer: PreTrainedTokenizerBase, word: str) -> int:
    if not _is_one_token(tokenizer, word):
        tokens = _spelt(tokenizer, word)
        raise UsageError(
            f"answer word {word!r} becomes {len(tokens)} token{'s' * (len(tokens) != 1)} {tokens}, and must be one "
            f"known token; {_remedy(tokenizer, word)}"
        )
    return _encoded(tokenizer, word)[0]


def _is_one_token(tokenizer: PreTrainedTokenizerBase, word: str) -> bool:
    ids = _encoded(tokenizer, word)
    return len(ids) == 1 and ids[0] != tokenizer.unk_token_id


def _remedy(tokenizer: PreTrainedTokenizerBase, word: str) -> str:
    """Name those ways of writing the word that would do."""
    stem = word.strip()
    ways = (stem, f" {stem}", stem.lower(), f" {stem.lower()}") if stem else ()
    usable = [repr(way) for way in dict.fromkeys(ways) if _is_one_token(tokenizer, way)]
    return (
        f"this tokenizer has {', '.join(usable)}" if usable else "choose a shorter word, or train the tokenizer on it"
    )


def _encoded(tokenizer: PreTrainedTokenizerBase, word: str) -> list[int]:
    ids: list[int] = tokenizer.encode(word, add_special_tokens=False)
    return ids


def _spelt(tokenizer: PreTrainedTokenizerBase, word: str) -> list[str]:
    tokens: list[str] = tokenizer.convert_ids_to_tokens(_encoded(tokenizer, word))  # type: ignore[assignment]
    return tokens
