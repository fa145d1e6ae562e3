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
    ids = _encoded(tokenizer, word)
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise UsageError(
            f"answer word {word!r} becomes {_count(len(ids))} {_spelt(tokenizer, word)}, and must be one known token; "
            + _remedy(tokenizer, word)
        )
    return ids[0]


def _remedy(tokenizer: PreTrainedTokenizerBase, word: str) -> str:
    """Name those ways of writing the word that would do."""
    stem = word.strip()
    ways = {stem, f" {stem}", stem.lower(), f" {stem.lower()}"} - {word, "", " "}
    usable = [repr(way) for way in sorted(ways) if len(_encoded(tokenizer, way)) == 1]
    usable = [way for way in usable if _encoded(tokenizer, way[1:-1])[0] != tokenizer.unk_token_id]
    return f"this tokenizer has {', '.join(usable)}" if usable else "choose a shorter word, or train the tokenizer on it"


def _encoded(tokenizer: PreTrainedTokenizerBase, word: str) -> list[int]:
    ids: list[int] = tokenizer.encode(word, add_special_tokens=False)
    return ids


def _spelt(tokenizer: PreTrainedTokenizerBase, word: str) -> list[str]:
    tokens: list[str] = tokenizer.convert_ids_to_tokens(_encoded(tokenizer, word))  # type: ignore[assignment]
    return tokens


def _count(tokens: int) -> str:
    return "1 token" if tokens == 1 else f"{tokens} tokens"
