"""What each judged user contributes to every figure.

A figure is a ratio of two sums over users (`formulas.Terms`): a mean over the users of a group, an item group's
utility, the F1 of an answer. From a table of such terms follow overall figures, figures by group, aggregates over
groups and, by resampling its rows, all their intervals; users.csv is the table as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.metrics import exposure
from recbole_fair.metrics.catalogue import Catalogue
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray, Terms, group_utility_terms, user_mean
from recbole_fair.metrics.key import MetricKey
from recbole_fair.metrics.metric import AGAIN, GIVEN, NOTHING, Figure, Stored, variants_of
from recbole_fair.metrics.stability import SIMILARITIES, PromptedLists, is_similarity


class Table(Protocol):
    """What metrics and intervals read, whatever was judged."""

    @property
    def users(self) -> IntArray:
        """[U] of judged users."""

    @property
    def groups(self) -> Mapping[str, Groups]:
        """Groupings by field."""

    @property
    def in_use(self) -> str:
        """What the prompts behind headline figures and figures of groups say."""

    def terms(self, figure: str, grouping: str = "", prompt: str = "") -> Any:
        """Terms [U, G] of a figure by a grouping's groups; [U, 1] over all users where `grouping` is empty."""

    def figures(self, kind: str) -> list[str]:
        """The metrics that every user or item group has."""

    def judged(self, grouping: str) -> IntArray:
        """[G] of judged users that speak for each group."""

    def outside(self, grouping: str) -> int:
        """Judged users that speak for no group."""

    def counted(self, grouping: str) -> Mapping[str, IntArray]:
        """What groups.csv counts of each group beside its figures, [G] each."""

    def notes(self) -> Iterable[str]:
        """What whoever reads the figures must know."""


@dataclass(frozen=True)
class RankingTable:
    """One row a judged user, in the loader's order: its list, its metrics, and its hits by item group.

    `per_user` holds means-to-be ("recall@20", "ndkl@20[pop]"), `ratios` figures whose users weigh unlike. For each item
    grouping, `hits` counts a user's hits of each group within each of the T values of `topk`, `relevant` its test
    items, `masked` (kept if a metric needs it) the items it could not be shown.
    """

    users: IntArray  # [U]
    lists: IntArray  # [U, K] recommended item ids, best first; 0 where there was nothing left to recommend
    scores: FloatArray  # [U, K]
    topk: Sequence[int]
    per_user: Mapping[str, FloatArray]  # [U] each
    ratios: Mapping[str, Terms] = field(default_factory=dict)  # [U] each
    groups: Mapping[str, Groups] = field(default_factory=dict)
    hits: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)  # [U, T, G]
    relevant: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)  # [U, G]
    masked: Mapping[str, IntArray] = field(default_factory=dict)  # [U, G]
    utility: str = "recall"
    utility_users: str = "relevant"
    stored: Stored = ()
    catalogue: Catalogue | None = None  # None for a table that was read back
    prompted: PromptedLists | None = None  # of a model with prompts, where a metric compares lists under several
    in_use = NOTHING

    @property
    def prompts(self) -> bool:
        """Whether lists under several prompts can be compared."""
        return self.prompted is not None

    def terms(self, figure: str, grouping: str = "", prompt: str = "") -> Terms:
        """A user's metric by user group, what is said of item groups, or of everyone given each group's value."""
        if (stored := Figure(figure, grouping, prompt)) in self.stored and isinstance(self.stored, Mapping):
            return self.stored[stored]
        if is_similarity(figure):
            return self._similarity(figure, grouping, prompt)
        if not grouping:
            return self._of_users(figure).by_group(np.ones((len(self.users), 1)))
        groups = self.groups[grouping]
        if groups.kind == "user":
            return self._of_users(figure).by_group(groups.membership[self.users])
        key = MetricKey.parse(figure)
        assert key.k is not None
        return _OF_ITEMS[key.name](self, groups, key.k)

    def _similarity(self, figure: str, grouping: str, prompt: str) -> Terms:
        """Of lists under several prompts; without prompts they are the same under all."""
        variants = None if prompt == AGAIN else variants_of(GIVEN, self.groups[grouping])
        same = dict.fromkeys(variants or (), self.lists)
        return (self.prompted or PromptedLists(self.lists, same, self.lists)).terms(figure, variants)

    def _of_users(self, figure: str) -> Terms:
        return self.ratios[figure] if figure in self.ratios else user_mean(self.per_user[figure])

    def hits_within(self, groups: Groups, k: int) -> npt.NDArray[Any]:
        """[U, G] of hits among the first k."""
        return self.hits[groups.field][:, list(self.topk).index(k)]

    def figures(self, kind: str) -> list[str]:
        """Means and ratios over users, similarities of everyone given a value; utility and exposure for item groups."""
        if kind == "user":
            alike = [f"{name}@{k}" for name in SIMILARITIES if self.prompted for k in self.topk]
            return [*self.per_user, *self.ratios, *alike]
        return [f"{name}@{k}" for name in dict.fromkeys(("recall", self.utility, "exposure")) for k in self.topk]

    def judged(self, grouping: str) -> IntArray:
        """Users of a group; for an item group, those with a test item in it."""
        return np.asarray(self._counted_in(grouping).sum(axis=0))

    def outside(self, grouping: str) -> int:
        """Users without a known value; for an item grouping, those without a test item of any group."""
        return int((~self._counted_in(grouping).any(axis=1)).sum())

    def counted(self, grouping: str) -> Mapping[str, IntArray]:
        """Nothing beside its figures."""
        return {}

    def notes(self) -> Iterable[str]:
        """Figures that some judged users do not have."""
        lacking = {name: int(np.isnan(values).sum()) for name, values in self.per_user.items()}
        lacking |= {name: int((terms.denominator == 0).sum()) for name, terms in self.ratios.items()}
        for users in sorted(set(lacking.values()) - {0}):
            names = ", ".join(name for name, count in lacking.items() if count == users)
            yield f"{names}: undefined for {users} of {len(self.users)} judged users, who are left out of it"

    def _counted_in(self, grouping: str) -> BoolArray:
        groups = self.groups[grouping]
        return groups.membership[self.users] if groups.kind == "user" else self.relevant[grouping] > 0


def _recall(table: RankingTable, groups: Groups, k: int) -> Terms:
    return group_utility_terms(table.hits_within(groups, k), table.relevant[groups.field], table.utility_users)


def _hit(table: RankingTable, groups: Groups, k: int) -> Terms:
    relevant = (table.relevant[groups.field] > 0).astype(int)
    return group_utility_terms((table.hits_within(groups, k) > 0).astype(int), relevant, table.utility_users)


def _recommended_given_relevant(table: RankingTable, groups: Groups, k: int) -> Terms:
    return exposure.recommended_given_liked(table.hits_within(groups, k), table.relevant[groups.field])


def _recommended(table: RankingTable, groups: Groups, k: int) -> Terms:
    return exposure.recommended(table.lists[:, :k], groups.membership, table.masked[groups.field])


def _exposure(table: RankingTable, groups: Groups, k: int) -> Terms:
    return exposure.exposure(table.lists[:, :k], groups.membership)


def _discounted(table: RankingTable, groups: Groups, k: int) -> Terms:
    return exposure.exposure(table.lists[:, :k], groups.membership, "log")


def _population(table: RankingTable, groups: Groups, _: int) -> Terms:
    return exposure.population(groups.membership, len(table.users))


def _merit(table: RankingTable, groups: Groups, _: int) -> Terms:
    relevant = table.relevant[groups.field]
    return exposure.merit(relevant, relevant.sum(axis=1))


# What can be said of an item group: two utilities, P(recommended | relevant), P(recommended), exposure (discounted by
# rank too), merit, and its share of the catalogue.
_OF_ITEMS = {
    "recall": _recall,
    "hit": _hit,
    "recommended_given_relevant": _recommended_given_relevant,
    "recommended": _recommended,
    "exposure": _exposure,
    "discounted": _discounted,
    "population": _population,
    "merit": _merit,
}


# What cannot be told without the lists or the catalogue.
OF_LISTS = frozenset({"recommended", "exposure", "discounted", "population"})


def by_field(groupings: Sequence[Groups]) -> dict[str, Groups]:
    """Groupings by name; an item field and a user field of one name could not be told apart in any table."""
    named: dict[str, Groups] = {}
    for groups in groupings:
        if groups.field in named:
            raise UsageError(f"{groups.field!r}: named twice among item_groups and user_groups; keep one")
        named[groups.field] = groups
    return named
