"""Prompts of (user, item) pairs: whose history they show, which attributes they name, and their token ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from recbole_fair.data.planted_bias import label_of_value, planted_bias
from recbole_fair.data.prompts import PHASES, Attribute, PromptInputs
from recbole_fair.data.subsets import training_prompts
from recbole_fair.errors import UsageError
from recbole_fair.groups.variants import NONE, OWN, Variant
from recbole_fair.metrics.formulas import BoolArray, IntArray
from recbole_fair.models.llm.prompts import PromptEncoder, Rated, select_history
from recbole_fair.registry import nearest

Until = Literal["judged", "target"]


@dataclass(frozen=True)
class TrainingPairs:
    """Rows of the timelines that a language model learns to answer, and the answers."""

    users: IntArray  # [N]
    rows: IntArray  # [N], places in the timelines
    labels: BoolArray  # [N]
    planted: int  # how many labels a planted bias has flipped

    def __len__(self) -> int:
        return len(self.users)

    def some(self, places: IntArray) -> TrainingPairs:
        """The pairs at these places."""
        return TrainingPairs(self.users[places], self.rows[places], self.labels[places], self.planted)

    def to(self, _: Any) -> TrainingPairs:
        """The trainer moves every batch to the device; pairs become tensors in the model."""
        return self


def training_pairs(config: Any, inputs: PromptInputs) -> TrainingPairs:
    """The latest `train_targets_per_user` training interactions of each user, their labels biased where one is planted.

    A bias is planted before the subset is drawn, so that a base and its rows get the same flips.
    """
    lines = inputs.timelines
    users = np.repeat(np.arange(len(lines.starts) - 1), np.diff(lines.starts))
    rows = np.flatnonzero(lines.phases == PHASES.index("train"))
    if (count := config["train_targets_per_user"]) is not None:
        last = np.searchsorted(users[rows], users[rows], side="right")
        rows = rows[last - np.arange(len(rows)) <= count]
    labels, shares = lines.liked[rows], config["planted_bias"] or {}
    flips = 0
    if shares:
        asked = {name: _asked(inputs.attributes, name)[users[rows]] for name in shares}
        planted = planted_bias(labels, users[rows], lines.items[rows], asked, shares, int(config["split_seed"]))
        labels, flips = planted.labels, planted.flipped(labels)
    return TrainingPairs(users[rows], rows, labels, flips).some(training_prompts(config, len(rows)))


def _asked(attributes: Mapping[str, Attribute], name: str) -> IntArray:
    if name not in attributes:
        raise UsageError(f"planted_bias.{name}: no such attribute.{nearest(name, attributes)} Known: {[*attributes]}")
    return label_of_value(attributes[name].of_user, len(attributes[name].values))


class PairBatches:
    """A training loader: batches of pairs in an order of its own generator, which a resume point keeps."""

    shuffle = True

    def __init__(self, dataset: Any, pairs: TrainingPairs, size: int, seed: int) -> None:
        self.dataset, self.pairs, self.size = dataset, pairs, size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return max(1, len(self.pairs) // self.size)

    def __iter__(self) -> Iterator[TrainingPairs]:
        order = torch.randperm(len(self.pairs), generator=self.generator).numpy()
        # As even as can be: a last batch of one sample has no spread that a distance could be measured by.
        yield from (self.pairs.some(places) for places in np.array_split(order, len(self)))


class PairPrompts:
    """Token ids of prompts about pairs."""

    def __init__(self, config: Any, inputs: PromptInputs, encoder: PromptEncoder) -> None:
        self.inputs, self.encoder = inputs, encoder
        self.mode, self.count = config["history"], int(config["history_length"])
        self.until: Until = config["history_until"]
        self.targets, self.wording = config["targets_per_user"], int(config["wording"])

    def words(self, user: int, names: Sequence[str], variant: Variant) -> tuple[str, ...]:
        """The words for these attributes of a user: as a variant gives them, else the user's own; unknown ones not."""
        attributes, given = self.inputs.attributes, variant.sets()
        values = {name: given.get(name) or self.inputs.own(user, name) for name in names}
        return tuple(attributes[name].worded(value, self.wording) for name, value in values.items() if value)

    def names(self, variant: Variant) -> tuple[str, ...]:
        """The attributes that a prompt names under a variant."""
        return () if variant == NONE else tuple(dict.fromkeys([*self.inputs.sensitive, *variant.sets()]))

    def training(self, user: int, row: int, words: Sequence[Sequence[str]]) -> list[list[int]]:
        """One prompt for each clause of `words`, about the interaction `row` and what came strictly before it."""
        lines = self.inputs.timelines
        before = np.arange(*lines.before(user, row).indices(len(lines.items)))
        return self.encoder.encode(self._rated(before), [self.inputs.titles[lines.items[row]]], words)

    def judged(self, users: IntArray, items: IntArray, variant: Variant) -> list[list[int]]:
        """One prompt a pair, in the order of the pairs."""
        prompts: list[list[int]] = [[]] * len(users)
        names = self.names(variant)
        order = np.argsort(users, kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(users[order])) + 1) if len(users) else ():
            user = int(users[places[0]])
            words, reserve = self.words(user, names, variant), [self.words(user, self.names(OWN), OWN)]
            for history, group in self._histories(user, items, places):
                titles = [self.inputs.titles[item] for item in items[group]]
                for place, tokens in zip(group, self.encoder.encode(history, titles, [words], reserve), strict=True):
                    prompts[place] = tokens
        return prompts

    def _histories(self, user: int, items: IntArray, places: IntArray) -> Iterator[tuple[list[Rated], IntArray]]:
        """A user's pairs by the history that they show: one for all before the judged part, or one a target."""
        lines = self.inputs.timelines
        rows = np.array([lines.row_of(user, int(item)) for item in items[places]])
        if self.until == "target":
            for row, place in zip(rows, places, strict=True):
                before = lines.before(user, int(row))
                yield self._rated(np.arange(*before.indices(len(lines.items)))), np.array([place])
            return
        inside = rows[rows < lines.rows(user).stop]
        phase = PHASES[int(lines.phases[inside].max())] if len(inside) else PHASES[-1]
        first = lines.rows(user).stop - (self.targets or len(rows))
        yield self._rated(lines.known_before(user, phase, first)), places

    def _rated(self, rows: IntArray) -> list[Rated]:
        lines, titles = self.inputs.timelines, self.inputs.titles
        chosen = rows[select_history(lines.liked[rows], self.mode, self.count)]
        return [
            Rated(titles[item], bool(liked))
            for item, liked in zip(lines.items[chosen], lines.liked[chosen], strict=True)
        ]
