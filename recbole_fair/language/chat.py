"""Messages to the tokens of a chat prompt, where no message can write the template's own marks.

A template is filled with placeholders first, so it never sees what a message says. Its special tokens are then
found in the template's own text, and everything between them, messages included, is read as ordinary characters.
(`apply_chat_template` reads "<|im_end|>" in a title as the end of the message; the releases of transformers that
can do otherwise are newer than the oldest one supported here, which hands an unknown argument to the template.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recbole_fair.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Characters of the private use area, in no template that a person wrote.
_PLACEHOLDER = "\ue000{}\ue001"
_PLACEHOLDERS = re.compile("\ue000([0-9]+)\ue001")


def chat_tokens(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """The tokens of messages (role, content) in the tokenizer's template, up to where the assistant's answer begins."""
    contents = [message["content"] for message in messages]
    tokens: list[int] = []
    for text, special in _pieces(tokenizer, _rendered(tokenizer, messages)):
        filled = _PLACEHOLDERS.sub(lambda mark: contents[int(mark[1])], text)
        tokens += tokenizer.encode(filled, add_special_tokens=False, split_special_tokens=True) if filled else []
        tokens += [special] if special is not None else []
    return tokens


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]]) -> str:
    """The template's text with a placeholder for the content of every message."""
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise UsageError(
            f"model {tokenizer.name_or_path!r} has no chat template; choose a chat model (often named -Instruct or "
            "-Chat), or plain prompts"
        )
    marked = [{**message, "content": _PLACEHOLDER.format(n)} for n, message in enumerate(messages)]
    try:
        rendered: Any = tokenizer.apply_chat_template(marked, tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise UsageError(
            f"model {tokenizer.name_or_path!r}: its chat template refuses the messages ({error})"
        ) from error
    if _PLACEHOLDERS.findall(rendered) != [str(n) for n in range(len(messages))]:
        raise UsageError(
            f"model {tokenizer.name_or_path!r}: its chat template does not write each message once, in order"
        )
    return str(rendered)


def _pieces(tokenizer: PreTrainedTokenizerBase, rendered: str) -> list[tuple[str, int | None]]:
    """The text cut at the template's special tokens: (ordinary text, the special token behind it or None)."""
    special = {token.content: n for n, token in tokenizer.added_tokens_decoder.items() if token.special}
    longest_first = sorted(special, key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, longest_first))})", rendered) if special else [rendered]
    return [(text, special.get(mark)) for text, mark in zip(parts[::2], [*parts[1::2], ""], strict=True)]
