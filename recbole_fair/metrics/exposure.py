"""What lists do to items: exposure by item group, REO and RSP, Gini, coverage, entropy.

Lists are item ids [U, K], best first, 0 (RecBole's padding) where a list is shorter; item groups are a membership
[I, G] whose row 0 is empty. An item of several groups counts in each, so shares may add up to more than 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray, Terms, disparity, divide


def exposure(lists: IntArray, membership: BoolArray, discount: str = "none") -> Terms:
    """Share of exposure of each item group, terms [U, G]: sum_u sum_k b_k 1(list[u, k] in g) / sum_u sum_k b_k.

    b_k is the exposure of rank k: 1 ("none", a share of list slots) or 1 / log2(k + 1) ("log", as in DCG; Singh and
    Joachims 2018). Slots of items in no group count below only.
    """
    if discount not in ("none", "log"):
        raise UsageError(f"discount={discount!r}: none (each slot counts 1) or log (1 / log2(rank + 1))")
    weight = log_discount(lists.shape[1]) if discount == "log" else np.ones(lists.shape[1])  # [K]
    slots = (lists > 0) @ weight  # [U]
    return Terms(exposed(lists, membership, weight), np.repeat(slots[:, None], membership.shape[1], axis=1))


def log_discount(k: int) -> FloatArray:
    """1 / log2(rank + 1) of the ranks 1 to k, [K]."""
    return np.asarray(1 / np.log2(np.arange(2, k + 2)))


def exposed(lists: IntArray, membership: npt.NDArray[Any], weight: FloatArray) -> FloatArray:
    """sum_k weight[k] 1(list[u, k] in g), [U, G]; one rank at a time, so that no [U, K, G] of floats is held."""
    found = np.zeros((len(lists), membership.shape[1]))
    for items, share in zip(lists.T, weight, strict=True):
        found += membership[items] * share
    return found


def merit(relevant: npt.NDArray[Any], held_out: npt.NDArray[Any]) -> Terms:
    """Merit of each item group, terms [U, G]: its share of the held-out relevant interactions.

    relevant [U, G] counts a user's test items by group, held_out [U] all of its test items.
    """
    groups = np.asarray(relevant, dtype=float)
    return Terms(groups, np.broadcast_to(np.asarray(held_out, dtype=float)[:, None], groups.shape))


def exposure_to_merit(exposures: npt.NDArray[Any], merits: npt.NDArray[Any]) -> FloatArray:
    """Exposure(g) / Merit(g) of each group, [..., G]: 1 where a group is shown as often as it is liked.

    The ratio that disparate treatment compares between groups (Singh and Joachims 2018), here by group, so that gap,
    ratio and cv of it follow. nan where a group has no held-out interaction.
    """
    return divide(exposures, merits)


def population(membership: BoolArray, users: int) -> Terms:
    """Share of each item group in the catalogue, terms [U, G], the same of every user."""
    sizes = membership.sum(axis=0).astype(float)
    return Terms(np.tile(sizes, (users, 1)), np.full((users, len(sizes)), float(len(membership) - 1)))


def awrf(exposures: npt.NDArray[Any], target: npt.NDArray[Any]) -> FloatArray:
    """Attention-weighted rank fairness: the distance of exposure from its target, [..., G] twice -> [...].

    Jensen-Shannon divergence in bits between the groups' shares of discounted exposure and of the target, each made to
    add up to 1 (Sapiezynski et al. 2019; TREC Fair 2021). Groups whose target is undefined are left out.

    >>> float(awrf(np.array([1.0, 0.0]), np.array([0.0, 3.0])))
    1.0
    """
    known = ~np.isnan(exposures) & ~np.isnan(target)
    shown, due = (_shares(np.where(known, figures, 0.0)) for figures in (exposures, target))
    middle = (shown + due) / 2
    bits = (divergence(shown, middle) + divergence(due, middle)) / (2 * np.log(2))
    return disparity(bits, np.where(known, exposures, np.nan))


def awrf_uniform(exposures: npt.NDArray[Any]) -> FloatArray:
    """AWRF where every present group is due the same, [..., G] -> [...]."""
    return awrf(exposures, np.where(np.isnan(exposures), np.nan, 1.0))


def max_min_share(exposures: npt.NDArray[Any]) -> FloatArray:
    """MMF: share of all exposure that the lower half of the groups has, floor(N / 2) of N, [..., G] -> [...].

    >>> float(max_min_share(np.array([0.5, 0.25, 0.25])))
    0.25
    """
    ordered = np.sort(_shares(np.where(np.isnan(exposures), 0.0, exposures)), axis=-1)
    absent = np.isnan(exposures).sum(-1, keepdims=True)  # sorted among the lowest, as zeros
    place = np.arange(ordered.shape[-1])
    lower = place < absent + (ordered.shape[-1] - absent) // 2
    return disparity(np.where(lower, ordered, 0.0).sum(-1), exposures)


def _shares(figures: npt.NDArray[Any]) -> FloatArray:
    return divide(figures, figures.sum(-1, keepdims=True))


def divergence(shares: FloatArray, others: FloatArray) -> FloatArray:
    """KL(p || q) = sum_g p_g ln(p_g / q_g) in nats, in which a group without a share adds nothing."""
    logs = np.log(np.where(shares > 0, divide(shares, others), 1.0))
    return np.asarray((shares * logs).sum(-1))


def recommended_given_liked(hits: npt.NDArray[Any], relevant: npt.NDArray[Any]) -> Terms:
    """P(R@K | g, y=1) = sum_u hits[u, g] / sum_u relevant[u, g] (Zhu et al. 2020), terms [U, G].

    REO@K, ranking-based equal opportunity, is `formulas.cv` of it: std_g / mean_g. Every liked pair counts the
    same here; BiFair's group utility (`formulas.group_utility_terms`) averages over users instead.
    """
    return Terms(np.asarray(hits, dtype=float), np.asarray(relevant, dtype=float))


def recommended(lists: IntArray, membership: BoolArray, seen: npt.NDArray[Any]) -> Terms:
    """P(R@K | g) = sum_u |list_u in g| / sum_u |items of g that u could be shown| (Zhu et al. 2020), terms [U, G].

    RSP@K, ranking-based statistical parity, is `formulas.cv` of it: std_g / mean_g. seen [U, G] counts, by group,
    the items masked for the user (its training items).
    """
    could = membership.sum(0) - np.asarray(seen, dtype=float)
    return Terms(exposed(lists, membership, np.ones(lists.shape[1])), could)


def times_listed(lists: IntArray, item_count: int) -> FloatArray:
    """In how many lists each item stands, [I - 1]: padding is no item."""
    return np.bincount(lists.ravel(), minlength=item_count)[1:].astype(float)


def gini(counts: npt.NDArray[Any]) -> FloatArray:
    """Gini index of list slots over all items, shown or not, [..., I] -> [...].

    sum_i (2 i - n - 1) x_(i) / (n sum_i x_i), x_(1) <= ... <= x_(n). 0: every item equally often; (n - 1) / n: one
    item only; nan: nothing is listed.

    >>> float(gini(np.array([0, 0, 0, 8])))
    0.75
    """
    ordered = np.sort(np.asarray(counts, dtype=float), axis=-1)
    size = ordered.shape[-1]
    place = 2 * np.arange(1, size + 1) - size - 1
    return divide((place * ordered).sum(-1), size * ordered.sum(-1))


def coverage(counts: npt.NDArray[Any]) -> FloatArray:
    """Share of the catalogue that stands in at least one list, [..., I] -> [...]."""
    shown = np.asarray(counts) > 0
    return divide(shown.sum(-1), shown.shape[-1])


def entropy(counts: npt.NDArray[Any]) -> FloatArray:
    """Shannon entropy in nats of the item in a list place drawn at random, [..., I] -> [...].

    -sum_i p_i ln p_i, p_i = x_i / sum_j x_j. 0: one item only; ln I: every item equally often; nan: nothing is listed.

    >>> float(entropy(np.array([0, 2, 2]))) == float(np.log(2))
    True
    """
    counts = np.asarray(counts, dtype=float)
    shares = divide(counts, counts.sum(-1, keepdims=True))
    return np.asarray(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(-1))
