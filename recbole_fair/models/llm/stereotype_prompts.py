"""Prompts of the MoS family: which training interactions are asked, with which stereotype word, and their token ids.

The stereotypes are those of the first of `user_groups`, the grouping that SF is read over.

    implicit         titles alone
    explicit         the user's own value of the attribute
    counterfactual   another value: the next in the order of the groups
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recbole_fair.data.planted_bias import planted_stereotype
from recbole_fair.data.prompts import PHASES, Attribute, PromptInputs
from recbole_fair.data.subsets import training_prompts
from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.named import names_of
from recbole_fair.groups.variants import NONE, Variant
from recbole_fair.metrics.formulas import BoolArray, IntArray
from recbole_fair.metrics.stereotypes import Histories, histories
from recbole_fair.models.llm.prompts import PromptEncoder, Rated, Template, select_history, write
from recbole_fair.registry import nearest

KINDS = ("implicit", "explicit", "counterfactual")
_MOST_TEXTS = 5000  # a tiny tokenizer has learnt its 2,000 tokens long before


def kinds_of(config: Any) -> tuple[str, ...]:
    """The kinds of prompts that a run trains on."""
    names = names_of(config, "stereotype_prompt")
    if not names or any(name not in KINDS for name in names):
        wrong = next((name for name in names if name not in KINDS), "")
        raise UsageError(f"stereotype_prompt={wrong!r}: {', '.join(KINDS)}, or a list of these.{nearest(wrong, KINDS)}")
    return tuple(dict.fromkeys(names))


def attribute_of(config: Any, inputs: PromptInputs) -> Attribute:
    """The attribute whose stereotypes are meant."""
    name = next(iter(names_of(config, "user_groups")), "")
    if name not in inputs.attributes:
        raise UsageError(
            f"user_groups: its first grouping {name!r} is no single user field, and the stereotypes of "
            f"{config.name} are of that one; begin with one, as in user_groups=gender"
        )
    attribute = inputs.attributes[name]
    if len(attribute.values) < 2:
        raise UsageError(f"user_groups={name!r}: has the one value {list(attribute.values)}; stereotypes need two")
    return attribute


def stereotypes_of(config: Any, inputs: PromptInputs) -> Histories:
    """The stereotypes by training interactions, as SF reads them."""
    attribute, lines = attribute_of(config, inputs), inputs.timelines
    membership = attribute.of_user[:, None] == np.arange(len(attribute.values))
    groups = Groups("user", attribute.name, attribute.values, membership)
    rows = np.flatnonzero(lines.phases == PHASES.index("train"))
    return histories(config, groups, _users(inputs)[rows], lines.items[rows], len(inputs.titles))


def _users(inputs: PromptInputs) -> IntArray:
    """Whose each row of the timelines is."""
    starts = inputs.timelines.starts
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


@dataclass(frozen=True)
class Asked:
    """Training prompts: interactions, the kind of prompt each is asked with, the value it carries, and its answer."""

    users: IntArray  # [N]
    rows: IntArray  # [N], places in the timelines
    kinds: IntArray  # [N], places among the run's kinds
    values: IntArray  # [N], the value of the attribute that the prompt carries; -1: none
    labels: BoolArray  # [N]

    def __len__(self) -> int:
        return len(self.rows)

    def some(self, places: IntArray) -> Asked:
        """The prompts at these places."""
        return Asked(*(column[places] for column in vars(self).values()))

    def to(self, _: Any) -> Asked:
        """The trainer moves every batch to the device; prompts become tensors in the model."""
        return self


def asked(config: Any, inputs: PromptInputs) -> Asked:
    """Every training interaction once under each kind of prompt, with planted labels; `max_train_prompts` of these."""
    kinds, lines = kinds_of(config), inputs.timelines
    attribute = attribute_of(config, inputs)
    rows = np.repeat(np.flatnonzero(lines.phases == PHASES.index("train")), len(kinds))
    users, kind = _users(inputs)[rows], np.arange(len(rows)) % len(kinds)
    own = attribute.of_user[users]
    carried = np.stack([_carried(name, own, len(attribute.values)) for name in kinds])
    every = Asked(users, rows, kind, carried[kind, np.arange(len(rows))], lines.liked[rows])
    return _planted(config, inputs, every).some(training_prompts(config, len(rows)))


def _carried(kind: str, own: IntArray, count: int) -> IntArray:
    """Which value a prompt of this kind gives a user whose own value is `own`; -1 where it gives none.

    >>> [_carried(kind, np.array([0, 1, -1]), 2).tolist() for kind in KINDS]
    [[-1, -1, -1], [0, 1, -1], [1, 0, -1]]
    """
    if kind == "implicit":
        return np.full_like(own, -1)
    return own if kind == "explicit" else np.where(own < 0, -1, (own + 1) % count)


def _planted(config: Any, inputs: PromptInputs, prompts: Asked) -> Asked:
    """A stereotype planted in the labels by share `planted_stereotype`, the same for a base and its rows."""
    share = float(config["planted_stereotype"])
    if not share:
        return prompts
    if kinds_of(config) == ("implicit",):
        raise UsageError(
            f"planted_stereotype={share:g}: stands between a word and an item, and implicit prompts carry no word; "
            "give stereotype_prompt=explicit or counterfactual"
        )
    items, names = inputs.timelines.items[prompts.rows], attribute_of(config, inputs).values
    member = stereotypes_of(config, inputs).member
    planted = planted_stereotype(
        prompts.labels, prompts.users, items, prompts.values, member, share, int(config["split_seed"]), names
    )
    return Asked(prompts.users, prompts.rows, prompts.kinds, prompts.values, planted.labels)


class AskedBatches:
    """A training loader: batches of prompts in an order of its own generator, which a resume point keeps."""

    shuffle = True

    def __init__(self, dataset: Any, prompts: Asked, size: int, seed: int) -> None:
        self.dataset, self.prompts, self.size = dataset, prompts, size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return math.ceil(len(self.prompts) / self.size)

    def __iter__(self) -> Iterator[Asked]:
        order = torch.randperm(len(self.prompts), generator=self.generator).numpy()
        yield from (self.prompts.some(places) for places in np.array_split(order, len(self)))


class PairPrompts:
    """Token ids of prompts about (user, item) pairs."""

    def __init__(self, config: Any, inputs: PromptInputs, encoder: PromptEncoder) -> None:
        self.inputs, self.encoder, self.attribute = inputs, encoder, attribute_of(config, inputs)
        self.mode, self.count = config["history"], int(config["history_length"])
        self.until, self.wording = config["history_until"], int(config["wording"])
        self._every = [NONE, *(Variant(one.name, value) for one in inputs.attributes.values() for value in one.values)]

    def variant(self, value: int) -> Variant:
        """The variant of a prompt that carries a value of the attribute."""
        return NONE if value < 0 else Variant(self.attribute.name, self.attribute.values[value])

    def training(self, user: int, row: int, variant: Variant) -> list[int]:
        """The prompt about the interaction `row`, which shows what came strictly before it."""
        lines = self.inputs.timelines
        before = np.arange(*lines.before(user, row).indices(len(lines.items)))
        return self._encoded(user, before, [int(lines.items[row])], variant)[0]

    def shown(self, user: int, row: int) -> IntArray:
        """The rows whose titles the training prompt about the interaction `row` shows, before any cut to the budget."""
        lines = self.inputs.timelines
        before = np.arange(*lines.before(user, row).indices(len(lines.items)))
        return self._chosen(before)

    def judged(self, users: IntArray, items: IntArray, variant: Variant) -> list[list[int]]:
        """One prompt a pair, in the order of the pairs; pairs of one user and history are written together."""
        together: dict[tuple[int, bytes], list[int]] = {}
        shown: dict[tuple[int, bytes], IntArray] = {}
        for place, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
            rows = self._before(user, item)
            key = user, rows.tobytes()
            shown[key] = rows
            together.setdefault(key, []).append(place)
        prompts: list[list[int]] = [[]] * len(users)
        for key, places in together.items():
            tokens = self._encoded(key[0], shown[key], items[places].tolist(), variant)
            for place, prompt in zip(places, tokens, strict=True):
                prompts[place] = prompt
        return prompts

    def _before(self, user: int, item: int) -> IntArray:
        """The rows that a judged pair's prompt may show: those before its part (`judged`), or before it (`target`)."""
        lines = self.inputs.timelines
        row, mine = lines.row_of(user, item), lines.rows(user)
        if self.until == "target":
            return np.arange(*lines.before(user, row).indices(len(lines.items)))
        phase = int(lines.phases[row]) if row < mine.stop else len(PHASES) - 1
        judged = np.flatnonzero(lines.phases[mine] == phase)
        return lines.known_before(user, PHASES[phase], mine.start + int(judged[0]) if len(judged) else mine.stop)

    def _encoded(self, user: int, rows: IntArray, items: Sequence[int], variant: Variant) -> list[list[int]]:
        """Under every variant the same history is shown, cut so that the longest clause fits."""
        reserve = [self._words(user, each) for each in self._every]
        titles = [self.inputs.titles[item] for item in items]
        return self.encoder.encode(self._rated(rows), titles, [self._words(user, variant)], reserve)

    def _words(self, user: int, variant: Variant) -> tuple[str, ...]:
        return tuple(word for _, word in self.inputs.clause(user, variant, self.wording))

    def _chosen(self, rows: IntArray) -> IntArray:
        return rows[select_history(self.inputs.timelines.liked[rows], self.mode, self.count)]

    def _rated(self, rows: IntArray) -> list[Rated]:
        lines, titles, chosen = self.inputs.timelines, self.inputs.titles, self._chosen(rows)
        return [
            Rated(titles[item], bool(liked))
            for item, liked in zip(lines.items[chosen], lines.liked[chosen], strict=True)
        ]


def tokenizer_texts(inputs: PromptInputs, template: Template, attributes: Mapping[str, Attribute]) -> list[str]:
    """What a tiny tokenizer is trained on: for each item of the training part a short prompt with either answer."""
    lines = inputs.timelines
    items = np.unique(lines.items[lines.phases == PHASES.index("train")])
    words = [word for one in attributes.values() for wording in one.wordings for word in wording]
    texts = []
    for place, item in enumerate(items[:: math.ceil(len(items) / _MOST_TEXTS)].tolist()):
        title, liked = inputs.titles[item], place % 2 == 0
        clause = [words[place % len(words)]] if words else []
        text = write(template, [Rated(title, liked)], title, clause).text
        texts.append(f"{template.input}{text}{template.output} {template.yes if liked else template.no}")
    return texts
