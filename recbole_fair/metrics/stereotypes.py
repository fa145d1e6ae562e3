"""Stereotype-aware fairness SF, the stereotypes it stands on (MoS, Eq. 1-4), and the pull of a word.

Items get their stereotypes from training interactions alone; SF then compares, group by group, how much of G a user's
history holds with how much of G is recommended. Arrays follow RecBole's ids: row 0 is padding and belongs to nobody.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.metrics.formulas import (
    BoolArray,
    FloatArray,
    IntArray,
    Terms,
    deviation,
    disparity,
    divide,
    present_mean,
)


@dataclass(frozen=True)
class Stereotypes:
    """Which items are a stereotype of which user group, and how that was decided."""

    degree: FloatArray  # [I, G] d_{v in G}; nan for an item without training interactions
    threshold: FloatArray  # [G]
    member: BoolArray  # [I, G] 1(d_{v in G})


def stereotypes(
    users: IntArray, items: IntArray, membership: BoolArray, item_count: int, z: float = 1.0, d: str = "signed"
) -> Stereotypes:
    """Stereotype of each item from training interactions (users [N], items [N]) and user groups [users, G].

    Eq. 1: d_{v in G} = p_G(v) - sum_{G' != G} p_G'(v), p_G(v) the share of G's users who have v in their history.
    Eq. 3: 1(d_{v in G}) = 1 where d_{v in G} >= threshold = mean + z sd (population) over items with interactions.
    The paper's max over G is open: d="signed" keeps every group's own d, with a threshold for each group; "largest"
    keeps an item's largest d only, for the group that has it, with one threshold. The paper's z is 3; 1 leaves enough
    items to count (docs/methods.md).
    """
    if d not in ("signed", "largest"):
        raise UsageError(f"sf_d={d!r}: signed (each group's own degree) or largest (an item's largest degree only)")
    degree = _degrees(users, items, membership, item_count)
    compared = _compared(degree, d)
    threshold = present_mean(compared.T) + z * deviation(compared.T)  # [G], or [1] for all of them
    member = (degree == compared) & (degree >= threshold)
    return Stereotypes(degree, np.broadcast_to(threshold, degree.shape[1:]), member)


def _compared(degree: FloatArray, d: str) -> FloatArray:
    """The degrees that a threshold is taken over: every group's own [I, G], or an item's largest [I, 1]."""
    if d == "signed":
        return degree
    strongest = np.where(np.isnan(degree), -np.inf, degree).max(1, keepdims=True)
    return np.where(np.isinf(strongest), np.nan, strongest)


def largest_z(degree: FloatArray, d: str = "signed") -> float:
    """The largest z at which some item is a stereotype of some group; nan if no two items can be compared."""
    compared = _compared(degree, d)
    standard = divide(compared - present_mean(compared.T), deviation(compared.T))
    return max(standard[~np.isnan(standard)].tolist(), default=math.nan)


def _degrees(users: IntArray, items: IntArray, membership: BoolArray, item_count: int) -> FloatArray:
    users, items = _distinct(users, items, item_count)
    size = membership[np.unique(users)].sum(0)
    if (size > 0).sum() < 2:
        raise UsageError("SF needs two user groups with training interactions: give another sensitive_attribute")
    share = divide(_sums(membership[users], items, item_count), size)  # [I, G] p_G(v)
    share[np.bincount(items, minlength=item_count) == 0] = np.nan
    return 2 * share - np.nansum(share, axis=1, keepdims=True)


def history_share(users: IntArray, items: IntArray, member: BoolArray, user_count: int) -> FloatArray:
    """Eq. 2: h_{u in G} = (1/|H_u|) sum_{v in H_u} 1(d_{v in G}), [U, G]; nan for a user without history."""
    users, items = _distinct(users, items, len(member))
    length = np.bincount(users, minlength=user_count)
    return divide(_sums(member[items], users, user_count), length[:, None])


def sf_terms(
    users: IntArray,
    items: IntArray,
    recommended: BoolArray,
    shares: FloatArray,
    membership: BoolArray,
    member: BoolArray,
    pairs: str = "in_group",
) -> Terms:
    """The fraction of Eq. 4 by group, as terms [U, G]: sum of h_{u in G} over sum of 1(d_{v in G}).

    Both sums run over S, the judged pairs (users [P], items [P]) that the model recommends; `shares` is h [U, G],
    `membership` says whose user group [U, G] and `member` which item is a stereotype [I, G]. Eq. 4 leaves open which
    pairs of S belong to a group: "in_group" takes those whose user is in G (h is defined for such users), "out_group"
    those whose user is in another group, "all" every pair. Pairs of users without history have no h and are left out.
    """
    adding = pair_terms(users, items, shares, membership, member, pairs)
    return _by_user(adding, users, recommended, len(shares))


def pair_terms(
    users: IntArray, items: IntArray, shares: FloatArray, membership: BoolArray, member: BoolArray, pairs: str
) -> Terms:
    """What each pair adds to the two sums of Eq. 4 once it is recommended, terms [P, G].

    A loss that recommends by probability weighs these rows (models/llm/fair_losses.py); `sf_terms` adds up those of
    the recommended pairs, and says what the arguments are.
    """
    own = membership[users]
    readings = {"in_group": own, "out_group": ~own & own.any(1, keepdims=True), "all": np.ones_like(own)}
    if pairs not in readings:
        raise UsageError(f"sf_pairs={pairs!r}: in_group, out_group or all")
    return _adding(users, items, shares, member, readings[pairs])


def sf_in_terms(
    users: IntArray,
    items: IntArray,
    recommended: BoolArray,
    shares: FloatArray,
    membership: BoolArray,
    member: BoolArray,
) -> Terms:
    """The fraction of Eq. 4 where S holds only pairs with user and item in G: the mean of h over them, terms [U, G].

    1 minus it has the size of the figures the paper prints (.55-.84), so this is probably its reading.
    """
    adding = _adding(users, items, shares, member, membership[users] & member[items])
    return _by_user(adding, users, recommended, len(shares))


def _adding(users: IntArray, items: IntArray, shares: FloatArray, member: BoolArray, counted: BoolArray) -> Terms:
    """h_{u in G} and 1(d_{v in G}) of the pairs counted [P, G]; a user without history has no h and adds nothing."""
    counted = counted & ~np.isnan(shares[users]).any(1, keepdims=True)
    return Terms(np.where(counted, shares[users], 0.0), (counted & member[items]).astype(float))


def _by_user(adding: Terms, users: IntArray, recommended: BoolArray, user_count: int) -> Terms:
    yes = np.asarray(recommended, dtype=bool)
    return Terms(*(_sums(part[yes], users[yes], user_count) for part in adding))


def sf(fractions: npt.NDArray[Any]) -> FloatArray:
    """Eq. 4: SF = 1 - (1/|G|) sum_G fraction_G over the groups that have one, [..., G] -> [...].

    A group without a recommended stereotype item has no fraction (nan) and is left out; nan if none is left.
    """
    return 1 - present_mean(fractions)


def groups_without(fractions: FloatArray, names: Sequence[str]) -> list[str]:
    """The names of the groups without a fraction [G], which SF is not over."""
    return [name for name, fraction in zip(names, fractions, strict=True) if np.isnan(fraction)]


def pull_terms(users: IntArray, items: IntArray, scores: FloatArray, member: BoolArray, user_count: int) -> Terms:
    """How much a group's word raises the Yes to its stereotypes, by the item's group, terms [U, G].

    scores [P, G]: column g holds p(Yes) of the pairs (users [P], items [P]) when the prompt carries the word of group
    g. A pair adds p(Yes | the word of the item's group) - p(Yes | the other word) to the groups that its item is a
    stereotype of (member [I, G]); with more than two words the others are averaged.
    """
    others = scores.shape[1] - 1
    pulls = np.stack([(own[:, None] - scores).sum(1) / others for own in scores.T], axis=1)  # 0 where all are equal
    counted = member[items]
    return Terms(_sums(counted * pulls, users, user_count), _sums(counted, users, user_count))


def pull(by_group: npt.NDArray[Any]) -> FloatArray:
    """The mean of the groups' pulls, [..., G] -> [...]; nan unless two groups have one.

    A mean over pairs would count a word that moves the answers to all items alike as a stereotype of the group with
    more items; here, with two words, such a shift cancels.
    """
    return disparity(present_mean(by_group), by_group)


def _distinct(users: IntArray, items: IntArray, item_count: int) -> tuple[IntArray, IntArray]:
    """A history is a set: an item bought twice is in it once."""
    pairs = np.unique(np.asarray(users, dtype=np.int64) * item_count + items)
    return pairs // item_count, pairs % item_count


def _sums(values: npt.NDArray[Any], rows: IntArray, count: int) -> FloatArray:
    """Sum the lines of values [N, G] by row number: [count, G]."""
    columns = [np.bincount(rows, weights=column, minlength=count) for column in values.T]
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Histories:
    """For SF over one user grouping (MoS, Eq. 1-4)."""

    groups: Groups
    stereotypes: Stereotypes
    shares: FloatArray  # [U, G] h_{u in G}
    pairs: str  # which recommended pairs belong to a group

    @property
    def member(self) -> BoolArray:
        """[I, G] 1(d_{v in G})."""
        return self.stereotypes.member

    @property
    def items(self) -> Groups:
        """Items by whose stereotype they are; nobody's are those below each threshold (MoS, Fig. 4, 5)."""
        nobodys = ~np.isnan(self.stereotypes.degree).any(axis=1) & ~self.member.any(axis=1)
        names = (*(f"of {name}" for name in self.groups.names), "of none")
        return Groups("item", STEREOTYPES, names, np.column_stack([self.member, nobodys]))

    def pair_terms(self, users: IntArray, items: IntArray) -> Terms:
        """What each pair adds to the two sums of Eq. 4 once it is recommended, terms [P, G]."""
        return pair_terms(users, items, self.shares, self.groups.membership, self.member, self.pairs)


def histories(
    config: Mapping[str, Any], groups: Groups, users: IntArray, items: IntArray, item_count: int
) -> Histories:
    """From training interactions [N] alone, as the keys sf_z, sf_d and sf_pairs say."""
    z, d = float(config["sf_z"]), config["sf_d"]
    decided = stereotypes(users, items, groups.membership, item_count, z, d)
    if not decided.member.any():
        raise UsageError(f"sf_z={z:g}: no item is a stereotype of a group of {groups.field}; {_remedy(decided, d)}")
    shares = history_share(users, items, decided.member, len(groups.membership))
    return Histories(groups, decided, shares, config["sf_pairs"])


def _remedy(decided: Stereotypes, d: str) -> str:
    largest = largest_z(decided.degree, d)
    if math.isnan(largest):
        return "SF needs training interactions with two items"
    return f"give sf_z={math.floor(100 * largest) / 100:g} or less"


STEREOTYPES = "stereotypes"  # the grouping of items by them
COLUMNS = ("item_id", "group", "d", "threshold", "stereotype", "in_group_pairs", "recommended_pairs")


def stereotype_rows(
    known: Histories, item_names: Sequence[str], users: IntArray, items: IntArray, recommended: BoolArray
) -> Iterator[tuple[str, str, float, float, int, int, int]]:
    """The rows of stereotypes.csv under COLUMNS: every item with training interactions, once for each group.

    in_group_pairs counts the judged pairs (ids users [P], items [P]) of the item whose user is in the group, and
    recommended_pairs those of them that the model recommends.
    """
    member, decided = known.groups.membership[users], known.stereotypes
    in_group = _sums(member, items, len(decided.degree))
    yes = _sums(member & np.asarray(recommended, dtype=bool)[:, None], items, len(decided.degree))
    for item, g in zip(*np.nonzero(~np.isnan(decided.degree)), strict=True):
        figures = float(decided.degree[item, g]), float(decided.threshold[g]), int(decided.member[item, g])
        yield str(item_names[item]), known.groups.names[g], *figures, int(in_group[item, g]), int(yes[item, g])
