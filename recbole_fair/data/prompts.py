"""What a prompt may say: titles, worded attributes, and each user's timeline strictly before a row.

Pure arrays, made once a run: models turn them into text (models/llm/prompts.py, models/p5/prompts.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recbole_fair.data.identity import PHASES
from recbole_fair.data.labeled import likes
from recbole_fair.data.splits import ORDER, TARGET
from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.named import names_of, user_groups
from recbole_fair.groups.variants import NONE, Variant
from recbole_fair.metrics.formulas import BoolArray, IntArray
from recbole_fair.registry import nearest

if TYPE_CHECKING:
    from recbole_fair.data.load import Data


@dataclass(frozen=True)
class Timelines:
    """Every interaction, by user and time; equal times stay in the order of the file."""

    starts: IntArray  # [U + 1]: the rows of user u are starts[u] .. starts[u + 1]
    items: IntArray  # [N]
    liked: BoolArray  # [N]
    times: npt.NDArray[Any] | None  # [N], None where the data has none
    phases: IntArray  # [N]: the part each interaction is in, a place in PHASES
    targets: BoolArray | None = None  # [N]: whether a window ends there; None where data are not split by windows

    def users(self) -> IntArray:
        """Whose each interaction is, [N]."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def learnt(self) -> IntArray:
        """The rows that a model may learn to answer."""
        trained = self.phases == PHASES.index("train")
        return np.flatnonzero(trained if self.targets is None else trained & self.targets)

    def rows(self, user: int) -> slice:
        """All interactions of a user, oldest first."""
        return slice(int(self.starts[user]), int(self.starts[user + 1]))

    def before(self, user: int, row: int) -> IntArray:
        """The rows of a user strictly before `row` and of no later part; of windows all that are before it.

        Where the split goes by time no earlier row is of a later part; in a random order (`RO`) many are.
        """
        rows = np.arange(int(self.starts[user]), row)
        if self.targets is not None or row == self.rows(user).stop:
            return rows
        return rows[self.phases[rows] <= self.phases[row]]

    def judged_row(self, user: int, items: Sequence[int]) -> int:
        """The user's first interaction with one of these items in the earliest part that is judged; else the end.

        A pair that is in both judged parts is asked of what was known before the first, and so never of itself.
        """
        own = self.rows(user)
        judged = own.start + np.flatnonzero(np.isin(self.items[own], items) & (self.phases[own] > 0))
        return int(judged[self.phases[judged].argmin()]) if len(judged) else own.stop

    def part_of(self, user: int, row: int) -> str:
        """The part that a judged row is in; an item that was never met is judged as in the test part."""
        return PHASES[int(self.phases[row])] if row < self.rows(user).stop else "test"

    def known_before(self, user: int, phase: str) -> IntArray:
        """The rows of a user in earlier parts: what every other model knows; none of a user who is new there."""
        own = self.rows(user)
        return own.start + np.flatnonzero(self.phases[own] < PHASES.index(phase))


@dataclass(frozen=True)
class Attribute:
    """A sensitive attribute: its values, whose they are, and one or several words for each."""

    name: str
    values: tuple[str, ...]
    of_user: IntArray  # [U], -1 where unknown
    wordings: tuple[tuple[str, ...], ...]  # of each value

    def worded(self, value: str, wording: int) -> str:
        """The word for a value; a value with fewer wordings repeats its last."""
        words = self.wordings[self.values.index(value)]
        return words[min(wording, len(words) - 1)]


@dataclass(frozen=True)
class PromptInputs:
    """All that prompts are made from."""

    titles: Sequence[str]  # by item id; none for a model that reads none and a data set that names none
    targets: Sequence[str]  # what an item is called that is asked for: its title, or a token of its own
    attributes: Mapping[str, Attribute]  # of every user grouping that a prompt may name
    sensitive: tuple[str, ...]  # those that OWN gives
    timelines: Timelines

    def clause(self, user: int, variant: Variant, wording: int = 0) -> list[tuple[str, str]]:
        """Attributes and words that a prompt for this user gives under a variant; unknown values are left out."""
        if variant == NONE:
            return []
        values = {name: self.own(user, name) for name in self.sensitive} | dict(variant.sets())
        return [
            (name, self.attributes[name].worded(value, wording)) for name, value in values.items() if value is not None
        ]

    @property
    def item_tokens(self) -> Sequence[str]:
        """The names of items that are no titles (`item_words: tokens`)."""
        return () if self.titles == self.targets else [*self.titles, *self.targets]

    def own(self, user: int, name: str) -> str | None:
        """A user's own value of an attribute, None where it is unknown."""
        attribute = self.attributes[name]
        place = int(attribute.of_user[user])
        return attribute.values[place] if place >= 0 else None


def prompt_inputs(config: Any, data: Data) -> PromptInputs:
    """Titles, attributes and timelines of a run's data."""
    titles, targets = _item_words(config, data)
    sensitive = tuple(names_of(config, "sensitive_attribute"))
    if product := next((name for name in sensitive if "*" in name), None):
        raise UsageError(f"sensitive_attribute={product!r}: name single attributes, as in {product.split('*')}")
    reported = [part for name in names_of(config, "user_groups") for part in name.split("*")]
    names = dict.fromkeys([*sensitive, *reported])
    _check_words(config, names)
    return PromptInputs(
        titles=titles,
        targets=targets,
        attributes={name: _attribute(config, user_groups(config, data, name)) for name in names},
        sensitive=sensitive,
        timelines=timelines(config, data),
    )


def _item_words(config: Any, data: Data) -> tuple[Sequence[str], Sequence[str]]:
    """What items are called in a history, and when they are asked for.

    `item_words: tokens` names each by its number, otherwise in each place: a tiny model need not learn from how a
    prompt is built which of its items is meant.
    """
    if config["item_words"] == "tokens":
        numbers = range(data.dataset.item_num)
        return [f"<item {number}>" for number in numbers], [f"<target {number}>" for number in numbers]
    if names_of(config, "item_text") or getattr(config.model_class, "reads_titles", True):
        titles = data.item_texts(config)
        return titles, titles
    return (), ()


def _attribute(config: Any, groups: Groups) -> Attribute:
    single = groups.membership.sum(axis=1) == 1
    words = (config["attribute_words"] or {}).get(groups.field, {})
    if unknown := next((value for value in words if str(value) not in groups.names), None):
        raise UsageError(
            f"attribute_words.{groups.field}.{unknown}: no such value.{nearest(unknown, groups.names)}"
            f" It has {list(groups.names)}"
        )
    by_name = {str(value): word for value, word in words.items()}
    wordings = tuple(_wordings(by_name.get(name, name)) for name in groups.names)
    return Attribute(groups.field, groups.names, np.where(single, groups.membership.argmax(axis=1), -1), wordings)


def _wordings(words: Any) -> tuple[str, ...]:
    return tuple(map(str, words)) if isinstance(words, (list, tuple)) and words else (str(words),)


def _check_words(config: Any, names: Mapping[str, None]) -> None:
    for name in config["attribute_words"] or {}:
        if name not in names and name not in (config["group_bins"] or {}):
            raise UsageError(f"attribute_words.{name}: no such attribute.{nearest(name, names)} Known: {list(names)}")


def timelines(config: Any, data: Data) -> Timelines:
    """The interactions of all parts in one line a user."""
    users, items = (np.concatenate(ids) for ids in zip(*(data.pairs(phase) for phase in PHASES), strict=True))
    phases = np.repeat(np.arange(len(PHASES)), [len(data.parts[phase]) for phase in PHASES])
    times, window_order = _column(data, data.dataset.time_field), _column(data, ORDER)
    when = times if window_order is None else window_order
    order = np.lexsort((phases, users)) if when is None else np.lexsort((phases, when, users))
    liked = (
        np.concatenate([likes(config, data.parts[phase]) for phase in PHASES])
        if config["likes"] is not None
        else np.ones(len(users), dtype=bool)
    )
    starts = np.searchsorted(users[order], np.arange(data.dataset.user_num + 1))
    times, targets = (None if column is None else column[order] for column in (times, _column(data, TARGET)))
    return Timelines(starts, items[order], liked[order], times, phases[order], targets)


def _column(data: Data, field: str) -> npt.NDArray[Any] | None:
    """A column of all interactions, where every part has it."""
    if any(field not in data.parts[phase].inter_feat for phase in PHASES):
        return None
    return np.concatenate([data.parts[phase].inter_feat[field].numpy() for phase in PHASES])
