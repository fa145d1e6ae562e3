"""Prompts of (user, item) pairs: which of them are learnt, whose history they show, what they name, their token ids."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Generic, Literal, Self, TypeVar

import numpy as np
import torch

from recbole_fair.data.identity import PHASES
from recbole_fair.data.planted_bias import label_of_value, planted_bias
from recbole_fair.data.prompts import Attribute, PromptInputs
from recbole_fair.data.subsets import training_prompts
from recbole_fair.errors import UsageError
from recbole_fair.groups.variants import NONE, OWN, Variant
from recbole_fair.metrics.formulas import BoolArray, IntArray
from recbole_fair.models.llm.prompts import CutCount, PromptEncoder, Rated, select_history
from recbole_fair.registry import nearest

Until = Literal["judged", "target"]
_MOST_KEPT = 50_000  # judged prompts that are kept for the next epoch's validation


@dataclass(frozen=True)
class TrainingPairs:
    """Rows of the timelines that a language model learns to answer, and the answers."""

    users: IntArray  # [N]
    rows: IntArray  # [N], places in the timelines
    labels: BoolArray  # [N]
    flipped: BoolArray  # [N], whether a planted bias has changed the label

    def __len__(self) -> int:
        return len(self.rows)

    def some(self, places: IntArray) -> Self:
        """The pairs at these places."""
        return type(self)(*(column[places] for column in vars(self).values()))

    def to(self, _: Any) -> Self:
        """The trainer moves every batch to the device; pairs become tensors in the model."""
        return self


def training_pairs(config: Any, inputs: PromptInputs) -> TrainingPairs:
    """The latest `train_targets_per_user` training interactions of each user, their labels biased where one is planted.

    A bias is planted before the subset is drawn, so that a base and its rows get the same flips.
    """
    lines = inputs.timelines
    rows = lines.learnt()
    users = lines.users()[rows]
    if (count := config["train_targets_per_user"]) is not None:
        last = np.searchsorted(users, users, side="right")
        rows = rows[last - np.arange(len(rows)) <= count]
        users = lines.users()[rows]
    natural, shares = lines.liked[rows], config["planted_bias"] or {}
    labels = natural
    if shares:
        asked = {name: _asked(inputs.attributes, name)[users] for name in shares}
        labels = planted_bias(natural, users, lines.items[rows], asked, shares, int(config["split_seed"]))
    return TrainingPairs(users, rows, labels, labels != natural).some(training_prompts(config, len(rows)))


def _asked(attributes: Mapping[str, Attribute], name: str) -> IntArray:
    if name not in attributes:
        raise UsageError(f"planted_bias.{name}: no such attribute.{nearest(name, attributes)} Known: {[*attributes]}")
    return label_of_value(attributes[name].of_user, len(attributes[name].values))


Pairs = TypeVar("Pairs", bound=TrainingPairs)


class PairBatches(Generic[Pairs]):
    """Batches of at most `size` training pairs, in an order of its own generator, which a resume point keeps."""

    shuffle = True

    def __init__(self, dataset: Any, pairs: Pairs, size: int, seed: int) -> None:
        self.dataset, self.pairs, self.count = dataset, pairs, max(1, math.ceil(len(pairs) / size))
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Pairs]:
        order = torch.randperm(len(self.pairs), generator=self.generator).numpy()
        # As even as can be: a last batch of one pair would have no spread that a distance could be measured by.
        yield from (self.pairs.some(places) for places in np.array_split(order, len(self)))


def _clauses(inputs: PromptInputs) -> list[Variant]:
    """Every variant of a prompt that may be asked for."""
    singles = [Variant(one.name, value) for one in inputs.attributes.values() for value in one.values]
    values = [inputs.attributes[name].values for name in inputs.sensitive]
    products = [Variant("*".join(inputs.sensitive), "*".join(each)) for each in product(*values)] if values else []
    return [NONE, OWN, *singles, *products]


class PairPrompts:
    """Token ids of prompts about pairs.

    Under every variant, and in every copy of a sample, the same history is shown: it is cut so that the longest clause
    fits. `cut` counts, of training prompts and of judged ones, what was cut.
    """

    def __init__(self, config: Any, inputs: PromptInputs, encoder: PromptEncoder) -> None:
        self.inputs, self.encoder = inputs, encoder
        self.mode, self.count = config["history"], int(config["history_length"])
        self.until: Until = config["history_until"]
        self.targets, self.wording = config["targets_per_user"], int(config["wording"])
        self.cut = {"training": CutCount(), "judged": CutCount()}
        self._clauses = _clauses(inputs)
        self._written: dict[tuple[Variant, int, bytes, bytes], tuple[list[list[int]], CutCount]] = {}
        self._kept = 0  # prompts in `_written`

    @property
    def wordings(self) -> int:
        """How many ways there are to word the attributes."""
        return max((len(words) for one in self.inputs.attributes.values() for words in one.wordings), default=1)

    def words(self, user: int, variant: Variant, names: Sequence[str] | None = None) -> tuple[str, ...]:
        """The words that a variant gives of a user, of these attributes where they are named; unknown values not."""
        clause = self.inputs.clause(user, variant, self.wording)
        return tuple(word for name, word in clause if names is None or name in names)

    def names(self, variant: Variant) -> tuple[str, ...]:
        """The attributes that a prompt names under a variant."""
        return () if variant == NONE else tuple(dict.fromkeys([*self.inputs.sensitive, *variant.sets()]))

    def training(self, user: int, row: int, words: Sequence[Sequence[str]]) -> list[list[int]]:
        """One prompt for each clause of `words`, about the interaction `row` and what came strictly before it."""
        target = [int(self.inputs.timelines.items[row])]
        return self._encoded(user, self.inputs.timelines.before(user, row), target, words, self.cut["training"])

    def shown(self, user: int, row: int) -> IntArray:
        """The rows whose titles the training prompt about the interaction `row` shows, before any cut to the budget."""
        return self._chosen(self.inputs.timelines.before(user, row))

    def judged(self, users: IntArray, items: IntArray, variant: Variant) -> list[list[int]]:
        """One prompt a pair, in the order of the pairs; the same pairs are written once a run, while there is room."""
        asked = variant, self.wording, users.tobytes(), items.tobytes()
        written = self._written.get(asked) or self._write(users, items, variant)
        if asked not in self._written and self._kept + len(users) <= _MOST_KEPT:
            self._written[asked] = written
            self._kept += len(users)
        prompts, cut = written
        self.cut["judged"].also(cut)
        return prompts

    def _write(self, users: IntArray, items: IntArray, variant: Variant) -> tuple[list[list[int]], CutCount]:
        """The prompts and what was cut of them; pairs of one user and history are written together."""
        cut = CutCount()
        together: dict[tuple[int, bytes], list[int]] = {}
        histories: dict[tuple[int, bytes], IntArray] = {}
        for place, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
            rows = self._before(user, item)
            key = user, rows.tobytes()
            histories[key] = rows
            together.setdefault(key, []).append(place)
        prompts: list[list[int]] = [[]] * len(users)
        for (user, digest), places in together.items():
            words, rows = [self.words(user, variant)], histories[user, digest]
            tokens = self._encoded(user, rows, items[places].tolist(), words, cut)
            for place, prompt in zip(places, tokens, strict=True):
                prompts[place] = prompt
        return prompts, cut

    def _before(self, user: int, item: int) -> IntArray:
        """The rows that a judged pair's prompt may show: those before its part (`judged`), or before it (`target`).

        A user who is new in that part (split by users) shows the rows before the first that is judged.
        """
        lines = self.inputs.timelines
        row, mine = lines.judged_row(user, [item]), lines.rows(user)
        if self.until == "target":
            return lines.before(user, row)
        phase = lines.part_of(user, row)
        known = lines.known_before(user, phase)
        judged = mine.start + np.flatnonzero(lines.phases[mine] == PHASES.index(phase))[-(self.targets or 0) :]
        return known if len(known) or not len(judged) else lines.before(user, int(judged[0]))

    def _encoded(
        self, user: int, rows: IntArray, items: Sequence[int], words: Sequence[Sequence[str]], cut: CutCount
    ) -> list[list[int]]:
        reserve = [self.words(user, each) for each in self._clauses]
        targets = [self.inputs.targets[item] for item in items]
        return self.encoder.encode(self._rated(rows), targets, words, reserve, cut)

    def _chosen(self, rows: IntArray) -> IntArray:
        return rows[select_history(self.inputs.timelines.liked[rows], self.mode, self.count)]

    def _rated(self, rows: IntArray) -> list[Rated]:
        lines, titles, chosen = self.inputs.timelines, self.inputs.titles, self._chosen(rows)
        return [
            Rated(titles[item], bool(liked))
            for item, liked in zip(lines.items[chosen], lines.liked[chosen], strict=True)
        ]
