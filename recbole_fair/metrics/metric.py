"""What a metric is: which figures it compares, over whose groups, by which formula, and which value is best.

A declaration says all of it once. Runs, audits and reports evaluate the same measures on a table of judged users;
intervals, a report's tests, directions and RecBole's metric classes follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, nan
from typing import Any, NamedTuple

import numpy as np

from recbole_fair.groups.membership import Groups
from recbole_fair.groups.variants import NONE, OWN, Variant
from recbole_fair.metrics.formulas import FloatArray, Terms
from recbole_fair.metrics.key import MetricKey

Formula = Callable[..., Any]

# What the prompts behind a figure say of sensitive attributes; models without prompts answer all of them alike.
NOTHING = ""
OWN_VALUES = "own"  # each user's own values
GIVEN = "given"  # by group: everyone is given this group's value
AGAIN = "again"  # nothing, asked once more in other batches
AS_USED = "used"  # what the recommender says when it is used: each user's own values where it was asked with them


class Figure(NamedTuple):
    """A figure of a table: f1 or recall@20, of each group of a grouping or (no grouping) of everyone."""

    name: str
    grouping: str = ""
    prompt: str = NOTHING


Stored = tuple[Figure, ...] | Mapping[Figure, Any]  # figures to be stored, or Terms that were read back


@dataclass(frozen=True)
class Reads:
    """A figure that a metric reads; `by_group=False` of everyone, though the metric compares groups."""

    figure: str
    prompt: str = NOTHING
    by_group: bool = True


@dataclass(frozen=True)
class Measure:
    """One number: a formula over the figures of one or more blocks, each an array [..., G]."""

    key: str  # cv@20[pop]
    blocks: tuple[Figure, ...]
    formula: Formula
    equal: float = nan  # its value where groups are equal, if that bounds it
    bounds: tuple[float, float] = (-inf, inf)

    def of(self, figures: Mapping[Any, FloatArray]) -> FloatArray:
        """The formula on each block's figures: [G] for the number itself, [S, G] for S resamplings."""
        return np.asarray(self.formula(*(figures[name] for name in self.blocks)))

    def value(self, table: Any) -> float:
        """The number itself; nan where it is undefined."""
        return float(self.of({name: table.terms(*name).value() for name in self.blocks}))


def only(figures: FloatArray) -> FloatArray:
    """The figure of a block that has but one."""
    return figures[..., 0]


@dataclass(frozen=True)
class Metric:
    """A metric of lists (one number a cutoff) or of yes/no answers (`answers=True`).

    `over` names whose groups are compared, "user" or "item", a number for each such grouping; empty: one number over
    everyone. `best` is the value that would be best: inf where higher is better, -inf or the lower bound where lower
    is, None where neither side is. `bounds` is where its intervals end; `equal` is its value where groups are equal,
    if it lies on one side of that only. `means` says in a few words what it is, for the heads of tables.
    """

    name: str  # as users type it: CV, Gap_NDCG, GD
    reads: Sequence[str | Reads]
    formula: Formula = only
    over: str = ""
    best: float | None = None
    bounds: tuple[float, float] = (-inf, inf)
    equal: float = nan
    answers: bool = False
    means: str = ""

    @property
    def figures(self) -> tuple[Reads, ...]:
        """What it reads."""
        return tuple(read if isinstance(read, Reads) else Reads(read) for read in self.reads)

    @property
    def side(self) -> str:
        """Which side is better: "higher", "lower" (best at its lower bound) or "" (best within bounds, or nowhere)."""
        if self.best == inf:
            return "higher"
        return "lower" if self.best is not None and self.best <= self.bounds[0] else ""

    def groupings(self, table: Any) -> list[str]:
        """The groupings that it is reported for; the empty name where it is over everyone."""
        if not self.over:
            return [""]
        return [field for field, groups in table.groups.items() if groups.kind == self.over and self.fits(field)]

    def fits(self, field: str) -> bool:
        """Whether it can be reported for a grouping of its kind."""
        return True

    def measures(self, table: Any) -> Iterator[Measure]:
        """Its numbers on a table: one a grouping and cutoff, as in cv@20[pop]."""
        for grouping in self.groupings(table):
            for k in (None,) if self.answers else table.topk:
                blocks = tuple(self._block(read, table, grouping, k) for read in self.figures)
                key = str(MetricKey(self.name, k, grouping))
                yield Measure(key, blocks, self.formula, self.equal, self.bounds)

    def _block(self, read: Reads, table: Any, grouping: str, k: int | None) -> Figure:
        name = table.utility if read.figure == UTILITY else read.figure
        return Figure(name if k is None else f"{name}@{k}", grouping if read.by_group else "", read.prompt)

    def values(self, table: Any) -> dict[str, float]:
        """Each number by its key."""
        return {measure.key: measure.value(table) for measure in self.measures(table)}

    def variants(self, groups: Groups | None) -> set[Variant]:
        """The variants of a prompt that it needs for a grouping of users."""
        return {variant for read in self.figures for variant in variants_of(read.prompt, groups)}


UTILITY = "utility"  # of item groups: Recall within the group, or what the key `group_utility` names


def variants_of(prompt: str, groups: Groups | None) -> tuple[Variant, ...]:
    """Which variants of a prompt are read."""
    if prompt == GIVEN and groups is not None:
        return tuple(Variant(groups.field, name) for name in groups.names)
    return (OWN,) if prompt in (OWN_VALUES, AS_USED) else (NONE,)


@dataclass(frozen=True)
class OfEachUser(Metric):
    """A mean over users of what each user's list is worth, with `over="item"` beside each grouping of items.

    `of(shown, k, grouping)` answers [U] values, nan where undefined, or the Terms of a ratio. Each becomes a column of
    users.csv and is reported by group of users too.
    """

    of: Callable[..., FloatArray | Terms] = field(kw_only=True)
    fields: tuple[str, ...] = ()  # the only groupings that it is of, where that matters

    def fits(self, field: str) -> bool:
        """Whether it is of a grouping."""
        return not self.fields or field in self.fields

    def measures(self, table: Any) -> Iterator[Measure]:
        """One a grouping and cutoff; each is the mean of a column of its own name."""
        for key, _, _ in self.columns(table):
            yield Measure(key, (Figure(key),), only, bounds=self.bounds)

    def columns(self, table: Any) -> Iterator[tuple[str, int, str]]:
        """The key, cutoff and grouping of each."""
        for grouping in self.groupings(table):
            for k in table.topk:
                yield str(MetricKey(self.name, k, grouping)), k, grouping


@dataclass(frozen=True)
class OfHits(Metric):
    """A mean over users of how well a list finds what was held out: `of(hit, relevant)` answers [U, K] (topk.py)."""

    of: Callable[..., FloatArray] = field(kw_only=True)


@dataclass(frozen=True)
class OfCatalogue(Metric):
    """One number over all lists, with nothing to resample: `of(lists, catalogue, k)` (catalogue.py)."""

    of: Callable[..., float] = field(kw_only=True)

    def measures(self, table: Any) -> Iterator[Measure]:
        """None."""
        return iter(())

    def values(self, table: Any) -> dict[str, float]:
        """One number a cutoff."""
        return {str(MetricKey(self.name, k)): self.of(table.lists, table.catalogue, k) for k in table.topk}


@dataclass(frozen=True)
class OfScores(Metric):
    """A metric that RecBole computes from the scores of all items, or of answers to labeled pairs (`labels`)."""

    labels: bool = False

    def measures(self, table: Any) -> Iterator[Measure]:
        """None."""
        return iter(())


@dataclass(frozen=True)
class WholeTable(Metric):
    """A metric that is no formula over sums of users: `formula(table, grouping)` has nothing to resample."""

    def measures(self, table: Any) -> Iterator[Measure]:
        """None."""
        return iter(())

    def values(self, table: Any) -> dict[str, float]:
        """One number a grouping."""
        return {
            str(MetricKey(self.name, None, grouping)): float(self.formula(table, grouping))
            for grouping in self.groupings(table)
        }
