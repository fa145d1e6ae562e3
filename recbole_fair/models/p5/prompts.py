"""P5's prompts: templates from property files, filled with users, histories and candidates.

A template is an `input` and a `target` of words. `{user}`, `{history}`, `{candidates}` and `{item}` are words by
themselves, between spaces, so that it is known which tokens are the user's: the user state is their mean (UP5, Eq. 3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_fair.errors import UsageError
from recbole_fair.models.p5.indexing import MOST_WORDS, Names, Words
from recbole_fair.settings.yamls import PROPERTIES, read_mapping

_AT_ONCE = 64
SEPARATOR = ","  # between the items of a list
# What each kind of template must say, and may.
_FIELDS: Mapping[str, tuple[set[str], set[str]]] = {
    "direct": ({"user", "candidates"}, {"user", "candidates"}),
    "sequential": ({"user", "history"}, {"user", "history"}),
    "question": ({"attribute", "user"}, {"attribute", "user"}),
    "question_history": ({"attribute", "user", "history"}, {"attribute", "user", "history"}),
}
_FIELD = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True)
class Template:
    """The words of a prompt; those in braces are filled in."""

    kind: str  # direct | sequential | question | question_history
    words: tuple[str, ...]


def read_templates(name: str) -> dict[str, tuple[Template, ...]]:
    """Templates by kind from `properties/prompts/<name>.yaml`, or from the file whose path `name` is."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else PROPERTIES / "prompts" / f"{name}.yaml"
    content: dict[str, Any] = read_mapping(path, line_ends=True)
    if not content or (unknown := sorted(content.keys() - _FIELDS.keys())):
        raise UsageError(f"{path}: holds {unknown if content else 'nothing'}; it needs lists of {' or '.join(_FIELDS)}")
    return {kind: tuple(_template(path, kind, text) for text in _list(path, kind, content[kind])) for kind in content}


def _list(path: Path, kind: str, texts: Any) -> list[Any]:
    if not isinstance(texts, list) or not texts:
        raise UsageError(f"{path}: {kind} must be a list of templates")
    return texts


def _template(path: Path, kind: str, text: Any) -> Template:
    words = tuple(str(text).split())
    glued = [word for word in words if _FIELD.search(word) and not _FIELD.fullmatch(word)]
    if glued:
        raise UsageError(f"{path}: {glued[0]!r}: a field stands between spaces, as in `{{user}} ,`")
    required, allowed = _FIELDS[kind]
    fields = {word[1:-1] for word in words if _FIELD.fullmatch(word)}
    if not required <= fields <= allowed:
        raise UsageError(
            f"{path}: a {kind} template has the fields {', '.join(sorted(fields)) or 'none'}; it needs"
            f" {', '.join(sorted(required))}: {text}"
        )
    return Template(kind, words)


@dataclass(frozen=True)
class Prompt:
    """One prompt as tokens; `words` counts its words from 0, `user` marks the tokens of the user's name."""

    tokens: tuple[int, ...]
    words: tuple[int, ...]
    user: tuple[bool, ...]


@dataclass(frozen=True)
class Example:
    """A user in a question, with the answer if it is an example."""

    user: int
    history: Sequence[int] = ()
    answer: str = ""


@dataclass(frozen=True)
class PromptBatch:
    """Prompts of one length, padded on the right."""

    tokens: Tensor  # [B, S]
    words: Tensor  # [B, S]
    mask: Tensor  # [B, S]; 1 where there is a token
    user: Tensor  # [B, S]; true at the tokens of the user's name

    def __getitem__(self, rows: Tensor) -> PromptBatch:
        return PromptBatch(self.tokens[rows], self.words[rows], self.mask[rows], self.user[rows])

    def __len__(self) -> int:
        return len(self.tokens)

    def to(self, device: torch.device | str) -> PromptBatch:
        """The same on another device."""
        return PromptBatch(*(part.to(device) for part in (self.tokens, self.words, self.mask, self.user)))


class Prompter:
    """Fills templates; `end` is put behind a prompt (T5's end token), `longest` bounds its tokens."""

    def __init__(
        self, words: Words, names: Names, *, longest: int, most_history: int = 20, end: Sequence[int] = ()
    ) -> None:
        self.words, self.names, self.end = words, names, tuple(end)
        self.longest, self.most_history = longest, most_history

    def sequential(self, template: Template, user: int, history: Sequence[int]) -> Prompt:
        """The user's latest items, oldest first; as many of the `most_history` latest as fit."""
        items = list(history)[-self.most_history :] if self.most_history else []
        while True:
            prompt = self._fill(template, user, history=items)
            if self._fits(prompt):
                return prompt
            if not items:
                raise UsageError(f"a prompt without any history has more than {self.longest} tokens: raise max_length")
            items = items[1:]

    def direct(self, template: Template, user: int, candidates: Sequence[int], *, seed: int) -> Prompt:
        """The candidates in an order that seed and user decide."""
        shuffled = np.random.default_rng([seed, user]).permutation(np.asarray(candidates)).tolist()
        prompt = self._fill(template, user, candidates=shuffled)
        if not self._fits(prompt):
            raise UsageError(
                f"{len(candidates)} candidates make a prompt of {len(prompt.tokens)} tokens; {self.longest} tokens hold"
                f" {self._fitting(template, user, shuffled)} of them: raise max_length or lower num_candidates"
            )
        return prompt

    def question(self, template: Template, attribute: str, examples: Sequence[Example], asked: Example) -> Prompt:
        """Who the asked user is, behind as many of the examples with their answers as fit."""
        while True:
            words = [
                word for one in (*examples, asked)
                for word in self._words(template, one.user, {"history": one.history[-self.most_history :]}, attribute)
                + [(word, False) for word in one.answer.split()]
            ]  # fmt: skip
            prompt = self._prompt(words)
            if self._fits(prompt):
                return prompt
            if not examples:
                raise UsageError(f"a question without an example has more than {self.longest} tokens: raise max_length")
            examples = examples[1:]

    def answer(self, text: str) -> tuple[int, ...]:
        """The tokens of an answer, which the end token closes."""
        return (*chain.from_iterable(map(self.words.tokens, text.split())), *self.end)

    def target(self, item: int) -> tuple[int, ...]:
        """What is to be written."""
        return self.words.item(self.names, item)

    def _fits(self, prompt: Prompt) -> bool:
        return len(prompt.tokens) <= self.longest and prompt.words[-1] < MOST_WORDS

    def _fitting(self, template: Template, user: int, candidates: list[int]) -> int:
        low, high = 0, len(candidates)  # so many fit, so many do not
        while high - low > 1:
            middle = (low + high) // 2
            fits = self._fits(self._fill(template, user, candidates=candidates[:middle]))
            low, high = (middle, high) if fits else (low, middle)
        return low

    def _fill(self, template: Template, user: int, **lists: Sequence[int]) -> Prompt:
        return self._prompt(self._words(template, user, lists))

    def _words(
        self, template: Template, user: int, lists: Mapping[str, Sequence[int]], attribute: str = ""
    ) -> list[tuple[str, bool]]:
        """All words of a filled template, and whether they are the user's name."""
        words = [attribute if word == "{attribute}" else word for word in template.words]
        return list(chain.from_iterable(self._written(word, user, lists) for word in words))

    def _prompt(self, words: Sequence[tuple[str, bool]]) -> Prompt:
        pieces = [self.words.tokens(word) for word, _ in words] + ([self.end] if self.end else [])
        is_user = [is_user for _, is_user in words] + ([False] if self.end else [])
        return Prompt(
            tuple(chain.from_iterable(pieces)),
            tuple(place for place, piece in enumerate(pieces) for _ in piece),
            tuple(marked for piece, marked in zip(pieces, is_user, strict=True) for _ in piece),
        )

    def _written(self, word: str, user: int, lists: Mapping[str, Sequence[int]]) -> list[tuple[str, bool]]:
        """The words that stand for a template's word, and whether they are the user's name."""
        if word == "{user}":
            return [(self.names.user(user), True)]
        if not _FIELD.fullmatch(word):
            return [(word, False)]
        named = [self.names.item(item) for item in lists[word[1:-1]]]
        separated = chain.from_iterable((SEPARATOR, name) for name in named)
        return [(one, False) for one in list(separated)[1:]]


def slices(count: int) -> Iterator[slice]:
    """Places below `count`, so many at a time as are encoded and ranked together."""
    for start in range(0, count, _AT_ONCE):
        yield slice(start, start + _AT_ONCE)


def collate(prompts: Sequence[Prompt], pad: int) -> PromptBatch:
    """One batch of prompts; padding has the word 0."""
    longest = max(len(prompt.tokens) for prompt in prompts)

    def table(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])

    return PromptBatch(
        table([prompt.tokens for prompt in prompts], pad),
        table([prompt.words for prompt in prompts], 0),
        table([[1] * len(prompt.tokens) for prompt in prompts], 0),
        table([prompt.user for prompt in prompts], 0).bool(),
    )


def user_mean(states: Tensor, user: Tensor) -> Tensor:
    """Mean [B, D] of states [B, S, D] over the user's tokens [B, S]: mean(E_u) of Eq. 3; with a mask: over all."""
    weights = user.to(states.dtype).unsqueeze(2)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)
