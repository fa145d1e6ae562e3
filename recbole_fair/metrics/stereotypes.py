"""Stereotype-aware fairness SF and the stereotypes it stands on (MoS, Eq. 1-4).

Items get their stereotypes from training interactions alone; SF then compares, group by group, how much of G a user's
history holds with how much of G is recommended. Arrays follow RecBole's ids: row 0 is padding and belongs to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray, Terms, deviation, divide, present_mean


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
    if d == "largest":
        strongest = np.where(np.isnan(degree), -np.inf, degree).max(1, keepdims=True)
        kept = np.where(degree == strongest, degree, np.nan)
        threshold = np.repeat(_threshold(np.where(np.isinf(strongest), np.nan, strongest), z), degree.shape[1])
    else:
        kept, threshold = degree, _threshold(degree, z)
    return Stereotypes(degree, threshold, kept >= threshold)


def _degrees(users: IntArray, items: IntArray, membership: BoolArray, item_count: int) -> FloatArray:
    users, items = _distinct(users, items, item_count)
    size = membership[np.unique(users)].sum(0)
    if (size > 0).sum() < 2:
        raise UsageError("SF needs two user groups with training interactions: give another sensitive_attribute")
    share = divide(_sums(membership[users], items, item_count), size)  # [I, G] p_G(v)
    share[np.bincount(items, minlength=item_count) == 0] = np.nan
    return 2 * share - np.nansum(share, axis=1, keepdims=True)


def _threshold(degree: FloatArray, z: float) -> FloatArray:
    return present_mean(degree.T) + z * deviation(degree.T)


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
    if pairs not in ("in_group", "out_group", "all"):
        raise UsageError(f"sf_pairs={pairs!r}: in_group, out_group or all")
    users, items = _recommended(users, items, recommended, shares)
    own = membership[users]  # [S, G]
    counted = {"in_group": own, "out_group": ~own & own.any(1, keepdims=True), "all": np.ones_like(own)}[pairs]
    above, below = counted * shares[users], counted * member[items]
    return Terms(_sums(above, users, len(shares)), _sums(below, users, len(shares)))


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
    users, items = _recommended(users, items, recommended, shares)
    both = membership[users] & member[items]  # [S, G]
    return Terms(_sums(both * shares[users], users, len(shares)), _sums(both, users, len(shares)))


def sf(fractions: npt.NDArray[Any]) -> FloatArray:
    """Eq. 4: SF = 1 - (1/|G|) sum_G fraction_G over the groups that have one, [..., G] -> [...].

    A group without a recommended stereotype item has no fraction (nan) and is left out; nan if none is left.
    """
    return 1 - present_mean(fractions)


def sf_and_left_out(terms: Terms, names: Sequence[str]) -> tuple[float, list[str]]:
    """SF over all users, and the names of the groups that had to be left out."""
    fractions = terms.value()
    left_out = [name for name, fraction in zip(names, fractions, strict=True) if np.isnan(fraction)]
    return float(sf(fractions)), left_out


def _recommended(
    users: IntArray, items: IntArray, recommended: BoolArray, shares: FloatArray
) -> tuple[IntArray, IntArray]:
    counted = np.asarray(recommended, dtype=bool) & ~np.isnan(shares[users]).any(1)
    return users[counted], items[counted]


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
    member: BoolArray  # [I, G] 1(d_{v in G})
    shares: FloatArray  # [U, G] h_{u in G}
    pairs: str  # which recommended pairs speak for a group


def histories(
    config: Mapping[str, Any], groups: Groups, users: IntArray, items: IntArray, item_count: int
) -> Histories:
    """From training interactions [N] alone, as the keys sf_z, sf_d and sf_pairs say."""
    found = stereotypes(users, items, groups.membership, item_count, float(config["sf_z"]), config["sf_d"])
    shares = history_share(users, items, found.member, len(groups.membership))
    return Histories(groups, found.member, shares, config["sf_pairs"])
