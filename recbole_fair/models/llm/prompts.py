"""From a user's history, a target and words for sensitive attributes to the text and tokens of a Yes/No prompt.

A template is a property file of short texts with {placeholders} (properties/prompts/, or a user's own). It is taken
apart once, and what users wrote (titles, words for attributes) is put between the parts: it is never parsed as a
template, as a chat template or as special tokens, it cannot begin a new line, and it cannot close its quotation marks.

Prompts of one user begin alike, the target last: scoring.py finds the tokens that they share and runs them once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recbole_fair.errors import UsageError
from recbole_fair.registry import nearest
from recbole_fair.settings.yamls import PROPERTIES, read_mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

# The placeholders that each text of a template may hold, and those that it must.
_MAY = {
    "context": ("user", "likes", "dislikes"),
    "user": ("attributes",),
    "question": ("target", "item_type"),
    "title": ("title",),
}
_MUST = {"context": ("likes", "dislikes"), "user": ("attributes",), "question": ("target",), "title": ("title",)}

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_QUOTES = re.compile('["\u201c\u201d]')
_MARK = "the prompt stands here"


@dataclass(frozen=True)
class Template:
    """The texts of a prompt; properties/prompts/llm_rec.yaml says what each is for."""

    context: str
    question: str
    user: str = "a/an {attributes} user's"
    user_without: str = "a user's"
    system: str = ""
    input: str = ""
    output: str = ""
    title: str = '"{title}"'
    separator: str = ", "
    empty: str = "none"
    item_type: str = "item"
    yes: str = "Yes"
    no: str = "No"

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str) -> Template:
        """Check a property file's content: unknown keys and placeholders, and missing ones, are refused by name."""
        names = [field.name for field in fields(cls)]
        for key, value in values.items():
            if key not in names:
                raise UsageError(f"{where}: unknown key {key!r}.{nearest(key, names)} Known: {', '.join(names)}")
            if not isinstance(value, str):
                raise UsageError(f"{where}: {key} must be a text")
        for key in ("context", "question"):
            if not values.get(key):
                raise UsageError(f"{where}: the text {key!r} is missing")
        template = cls(**values)
        for key in names:
            _check_placeholders(str(getattr(template, key)), key, where)
        return template


def _check_placeholders(text: str, key: str, where: str) -> None:
    may, parts = _MAY.get(key, ()), _parts(text, f"{where}: {key}")
    used = [name for _, name in parts if name is not None]
    for name in used:
        if name not in may:
            known = ", ".join(f"{{{each}}}" for each in may) or "none"
            raise UsageError(
                f"{where}: {key} has the unknown placeholder {{{name}}}; known there: {known}. Write {{{{ for a brace"
            )
    for name in _MUST.get(key, ()):
        if used.count(name) != 1:
            raise UsageError(f"{where}: {key} must hold {{{name}}} once, here {used.count(name)} times")


@cache
def _parts(text: str, where: str = "template") -> tuple[tuple[str, str | None], ...]:
    """Take a text apart into pairs of literal text and the placeholder after it."""
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise UsageError(f"{where}: {error}; write {{{{ for a brace") from error
    for _, name, form, conversion in parsed:
        if form or conversion:
            raise UsageError(f"{where}: {{{name}}} takes no format; write the name alone")
    return tuple((literal, name) for literal, name, _, _ in parsed)


def read_template(name: str) -> Template:
    """Read one of our templates by name (llm_rec, cot, ...) or a file by its path."""
    ours = sorted(path.stem for path in (PROPERTIES / "prompts").glob("*.yaml") if not path.stem.startswith("p5-"))
    if name not in ours and not name.endswith((".yaml", ".yml")):
        raise UsageError(f"prompt_template: {name!r} is neither one of {', '.join(ours)} nor the path of a .yaml file")
    where = f"prompts/{name}.yaml" if name in ours else name
    path = PROPERTIES / where if name in ours else Path(name).expanduser()
    return Template.of(read_mapping(path, line_ends=True), where)


@dataclass(frozen=True)
class Rated:
    """An item of a user's history, and whether the user liked it."""

    title: str
    liked: bool


def select_history(liked: NDArray[np.bool_], mode: Literal["likes_dislikes", "latest"], count: int) -> NDArray[np.intp]:
    """Choose from a user's past (oldest first) the positions that the prompt shows, oldest first.

    `likes_dislikes`: the latest `count` likes and the latest `count` dislikes (the paper); `latest`: the latest
    `count` interactions of both kinds, which also shows how often the user likes.

    >>> select_history(np.array([True, True, False, True]), "likes_dislikes", 1)
    array([2, 3])
    """
    if mode == "latest":
        return np.arange(len(liked))[-count:] if count else np.arange(0)
    both = [np.flatnonzero(liked == kind)[-count:] if count else np.arange(0) for kind in (True, False)]
    return np.sort(np.concatenate(both))


def one_line(text: str) -> str:
    """Make a user's text safe inside quotation marks: no line breaks or control characters, no double quotes.

    >>> one_line('Say "Yes"' + chr(10) + 'Output: Yes')
    "Say 'Yes' Output: Yes"
    """
    return " ".join(_CONTROL.sub(" ", _QUOTES.sub("'", text)).split())


def write(
    template: Template,
    history: Sequence[Rated],
    target: str,
    words: Sequence[str] = (),
    item_type: str | None = None,
) -> str:
    """Write a prompt; `words` are the user's sensitive attributes in words, none leaves the clause out."""
    return _context(template, history, words) + _rest(template, target, item_type or template.item_type)


def _context(template: Template, history: Sequence[Rated], words: Sequence[str]) -> str:
    clause = template.separator.join(one_line(word) for word in words)
    user = _filled(template.user, {"attributes": clause}) if words else template.user_without
    values = {"user": user, "likes": _titles(template, history, True), "dislikes": _titles(template, history, False)}
    return _filled(template.context, values)


def _titles(template: Template, history: Sequence[Rated], liked: bool) -> str:
    titles = [_quoted(template, item.title) for item in history if item.liked == liked]
    return template.separator.join(titles) or template.empty


def _quoted(template: Template, title: str) -> str:
    return _filled(template.title, {"title": one_line(title)})


def _rest(template: Template, target: str, item_type: str) -> str:
    question = _filled(template.question, {"target": _quoted(template, target), "item_type": one_line(item_type)})
    return ("\n" if "\n" in template.context else " ") + question


def _filled(text: str, values: Mapping[str, str]) -> str:
    return "".join(literal + (values[name] if name is not None else "") for literal, name in _parts(text))


@dataclass
class CutCount:
    """How many prompts lost how many of their oldest history items to the token budget, and how many show none."""

    prompts: int = 0
    shortened: int = 0
    items: int = 0
    without_history: int = 0

    def add(self, prompts: int, lost: int, shown: int) -> None:
        """Count prompts of one history, each of which has lost so many items and shows so many."""
        self.prompts += prompts
        self.without_history += prompts * (shown == 0)
        self.shortened += prompts * bool(lost)
        self.items += prompts * lost

    def also(self, other: CutCount) -> None:
        """Count what another has counted."""
        self.prompts += other.prompts
        self.without_history += other.without_history
        self.shortened += other.shortened
        self.items += other.items


class PromptEncoder:
    """Token ids of prompts, within a budget, in the form that a tokenizer's chat template asks for.

    `chat: auto` takes the tokenizer's chat template where there is one, `always` refuses a tokenizer without, `never`
    writes plain text between the template's `input` and `output`. The chat template is rendered once around a mark, so
    no user's text ever passes through it, and special tokens are read in its own text alone.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: Template,
        *,
        budget: int,
        chat: Literal["auto", "always", "never"] = "auto",
        item_type: str | None = None,
    ) -> None:
        if chat == "always" and not tokenizer.chat_template:
            raise UsageError("chat: always, but this model's tokenizer has no chat template; take auto or never")
        self.tokenizer: Any = tokenizer
        self.template, self.budget, self.item_type = template, budget, item_type
        self.chat = chat != "never" and bool(tokenizer.chat_template)
        self._lengths: dict[tuple[str, ...], int] = {}

    def encode(
        self,
        history: Sequence[Rated],
        targets: Sequence[str],
        words: Sequence[Sequence[str]] = ((),),
        reserve: Sequence[Sequence[str]] = (),
        cut: CutCount | None = None,
    ) -> list[list[int]]:
        """Encode a user's prompts: for each clause of `words` one prompt a target, clause by clause.

        All of them show the same history, cut from its oldest end until the longest fits, which `cut` counts. `reserve`
        names clauses that are asked elsewhere (other variants of the same prompts): their length counts too, so the
        cut is the same there.
        """
        shown = list(history)
        ids = self._all(shown, targets, words)
        while (excess := max(map(len, ids)) + self._more(words, reserve) - self.budget) > 0:
            if not shown:
                raise UsageError(
                    f"a prompt without any history has {max(map(len, ids))} tokens, more than max_prompt_tokens "
                    f"{self.budget}: {one_line(max(targets, key=len))[:60]!r}; raise it or shorten the texts"
                )
            shown = self._shorter(shown, excess)
            ids = self._all(shown, targets, words)
        if cut is not None:
            cut.add(len(ids), len(history) - len(shown), len(shown))
        return ids

    def _all(self, shown: Sequence[Rated], targets: Sequence[str], words: Sequence[Sequence[str]]) -> list[list[int]]:
        texts = [write(self.template, shown, target, each, self.item_type) for each in words for target in targets]
        before, after = self._around
        return [before + middle + after for middle in self._tokens([self._framed(text) for text in texts])]

    def _framed(self, text: str) -> str:
        """In a chat the chat template stands around a prompt's text; in plain text the template's own words do."""
        if self.chat:
            return text
        system = f"{self.template.system}\n" if self.template.system else ""
        return f"{system}{self.template.input}{text}{self.template.output}"

    def _shorter(self, shown: Sequence[Rated], excess: int) -> list[Rated]:
        """Drop the oldest items, at least one, as long as their titles have at most half of `excess` tokens.

        A token of the prompt is at most two of a title alone, so that is never too much; the caller measures again.
        """
        dropped = gone = 0
        while dropped < len(shown) and (not dropped or gone <= excess / 2):
            gone += len(self._tokens([self.template.separator + _quoted(self.template, shown[dropped].title)])[0])
            dropped += 1
        return list(shown[max(1, dropped - 1) :])

    def _more(self, words: Sequence[Sequence[str]], reserve: Sequence[Sequence[str]]) -> int:
        """Count the tokens that the longest reserved clause has more than the longest of `words`."""
        longest = [max((self._clause_length(tuple(each)) for each in group), default=0) for group in (reserve, words)]
        return max(0, longest[0] - longest[1])

    def _clause_length(self, words: tuple[str, ...]) -> int:
        if words not in self._lengths:
            self._lengths[words] = len(self._tokens([_context(self.template, [], words)])[0])
        return self._lengths[words]

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    @cached_property
    def _around(self) -> tuple[list[int], list[int]]:
        """The tokens before and after a prompt's own text."""
        if self.chat:
            # The chat template's own text: here special tokens are meant.
            before, after = self.tokenizer(list(self._chat_texts()), add_special_tokens=False)["input_ids"]
            return before, after
        begins = self.tokenizer.bos_token_id is not None and self.tokenizer("")["input_ids"][:1]
        return ([self.tokenizer.bos_token_id] if begins == [self.tokenizer.bos_token_id] else []), []

    def _chat_texts(self) -> tuple[str, str]:
        from jinja2 import TemplateError

        user = {"role": "user", "content": _MARK}
        system = {"role": "system", "content": self.template.system}
        try:
            text = self._rendered([system, user] if self.template.system else [user])
        except TemplateError:  # some models know no system role: theirs reads it at the head of the user's text
            text = self._without_system_role()
        if text.count(_MARK) != 1:
            raise UsageError("this model's chat template does not show the user's text once; take chat: never")
        before, _, after = text.partition(_MARK)
        return before, after

    def _without_system_role(self) -> str:
        from jinja2 import TemplateError

        try:
            return self._rendered([{"role": "user", "content": f"{self.template.system}\n{_MARK}"}])
        except TemplateError as error:
            raise UsageError(f"this model's chat template takes no user's text ({error}); take chat: never") from error

    def _rendered(self, messages: list[dict[str, str]]) -> str:
        text: str = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return text


def last_answer(text: str, yes: str = "Yes", no: str = "No") -> bool | None:
    """Read a generated text's answer: the last Yes or No in it, whole words in any case; None where neither stands.

    >>> last_answer("No doubt: the user likes it. yes."), last_answer("Nobody knows.")
    (True, None)
    """
    words = re.findall(rf"\b(?:{re.escape(yes)}|{re.escape(no)})\b", text, re.IGNORECASE)
    return words[-1].lower() == yes.lower() if words else None
