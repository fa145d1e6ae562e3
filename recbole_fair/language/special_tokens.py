"""No text is read as a special token: "</s>" in a title is four characters, not the end of the prompt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recbole_fair.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def keep_out_of_text(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Make a tokenizer that was loaded with `split_special_tokens=True` keep that promise, or refuse it."""
    _rename_pieces(tokenizer)
    special = {token.content: n for n, token in tokenizer.added_tokens_decoder.items() if token.special}
    texts = [text for text, token in special.items() if token != tokenizer.unk_token_id]
    for text, tokens in zip(texts, _encoded(tokenizer, texts), strict=True):
        if special[text] in tokens:
            raise UsageError(
                f"model {name!r}: its tokenizer reads {text!r} in a title as the special token; use another model"
            )


def _rename_pieces(tokenizer: PreTrainedTokenizerBase) -> None:
    """Take the special tokens' spellings out of a unigram vocabulary (T5's), where the best cut of "</s>" is itself.

    Their ids stay, and stay spelt so among the added tokens. Only len(tokenizer) grows; a model's number of
    embeddings is what its configuration says.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or type(backend.model).__name__ != "Unigram":
        return
    from tokenizers.models import Unigram

    unigram = json.loads(backend.to_str())["model"]
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    # A character of the private use area in front: no normalised text contains the piece.
    pieces = [(f"\ue000{piece}" if piece in special else piece, score) for piece, score in unigram["vocab"]]
    backend.model = Unigram(pieces, unk_id=unigram["unk_id"], byte_fallback=unigram.get("byte_fallback", False))


def _encoded(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    rows: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return rows
