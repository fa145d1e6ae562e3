"""What a user's list is worth by itself, beside what the user had before: a number a user, whose mean is the figure.

Lists are item ids [U, K], best first, 0 where there is no item. An item of several groups is divided between them in
shares of a list or a profile; an item of none is in no share. nan marks a user for whom a figure is undefined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recbole_fair.groups.membership import Groups
from recbole_fair.metrics.exposure import divergence, exposed, log_discount
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray, Terms, divide

_SMOOTHING = 0.01  # Steck 2018: so much of the profile is mixed into the list, whose shares may be 0


@dataclass(frozen=True)
class Shown:
    """The lists of judged users beside what training and the catalogue say of users and items."""

    users: IntArray  # [U]
    lists: IntArray  # [U, K]
    training: tuple[IntArray, IntArray]  # users and items of the training interactions
    items: int  # I, padding among them
    groups: Mapping[str, Groups]
    relevant: Mapping[str, IntArray]  # [U, G] of test items, by item grouping
    held_out: IntArray  # [U] of test items

    @cached_property
    def popularity(self) -> FloatArray:
        """phi(i), the training interactions of each item, [I]."""
        return np.bincount(self.training[1], minlength=self.items).astype(float)

    @cached_property
    def before(self) -> tuple[IntArray, IntArray]:
        """Rows and items of the judged users' own training interactions."""
        row = np.full(1 + int(max(self.users.max(), self.training[0].max(initial=0))), -1)
        row[self.users] = np.arange(len(self.users))
        rows = row[self.training[0]]
        return rows[rows >= 0], self.training[1][rows >= 0]

    def parts(self, grouping: str) -> FloatArray:
        """p(g | i), [I, G]: an item divided between its groups."""
        member = self.groups[grouping].membership.astype(float)
        return np.nan_to_num(divide(member, member.sum(axis=1, keepdims=True)))

    def profile_mean(self, values: FloatArray) -> FloatArray:
        """Mean of a number of items [I] over what each user had, [U]."""
        rows, items = self.before
        size = len(self.users)
        return divide(np.bincount(rows, values[items], minlength=size), np.bincount(rows, minlength=size))


def arp(shown: Shown, k: int, _: str) -> FloatArray:
    """ARP = (1/|U|) sum_u (1/|L_u|) sum_{i in L_u} phi(i) (Yin et al. 2012)."""
    return list_mean(shown.lists[:, :k], shown.popularity)


def aplt(shown: Shown, k: int, grouping: str) -> FloatArray:
    """APLT = (1/|U|) sum_u |{i in L_u, i in tail}| / |L_u| (Abdollahpouri et al. 2019); the tail is the last group."""
    return list_mean(shown.lists[:, :k], shown.groups[grouping].membership[:, -1])


def aclt(shown: Shown, k: int, grouping: str) -> FloatArray:
    """ACLT = (1/|U|) sum_u |{i in L_u, i in tail}|, as the same paper prints it."""
    return shown.groups[grouping].membership[:, -1][shown.lists[:, :k]].sum(axis=1).astype(float)


def popularity_lift(shown: Shown, k: int, _: str) -> Terms:
    """PL = (sum_u q_u - sum_u p_u) / sum_u p_u, q_u the mean phi of u's list, p_u that of what u had in training.

    Of a group of users it is delta-GAP (Abdollahpouri et al. 2019; 2020).
    """
    listed, had = arp(shown, k, ""), shown.profile_mean(shown.popularity)
    known = ~np.isnan(listed) & ~np.isnan(had)
    return Terms(np.where(known, listed - had, 0.0), np.where(known, had, 0.0))


def ndkl(shown: Shown, k: int, grouping: str) -> FloatArray:
    """NDKL = (1/Z) sum_k KL(D_k || D) / log2(k + 1), Z = sum_k 1 / log2(k + 1) (Geyik et al. 2019), in nats.

    D_k are the groups' shares of the first k places, D their shares of the catalogue. Empty places, and first places
    that hold items of no group, count neither above nor below.
    """
    parts = shown.parts(grouping)
    catalogue = parts.sum(axis=0) / parts.sum()
    counts, (above, below) = np.zeros((len(shown.lists), parts.shape[1])), np.zeros((2, len(shown.lists)))
    for listed, discount in zip(shown.lists[:, :k].T, log_discount(k), strict=False):
        counts += parts[listed]
        counted = (listed > 0) & counts.any(axis=1)
        above += np.where(counted, discount * divergence(_shares(counts), catalogue), 0.0)
        below += np.where(counted, discount, 0.0)
    return _compared(shown, grouping, divide(above, below))


def ee_d(shown: Shown, k: int, grouping: str) -> FloatArray:
    """EE-D = sum_g E_g^2, E_g the group's share of the list's exposure: how unevenly it is spread."""
    return _compared(shown, grouping, (_exposure(shown, k, grouping) ** 2).sum(axis=1))


def ee_r(shown: Shown, k: int, grouping: str) -> FloatArray:
    """EE-R = sum_g E_g E*_g: how far exposure goes where it is due."""
    return _compared(shown, grouping, (_exposure(shown, k, grouping) * _due(shown, k, grouping)).sum(axis=1))


def ee_l(shown: Shown, k: int, grouping: str) -> FloatArray:
    """EE-L = sum_g (E_g - E*_g)^2 = EE-D - 2 EE-R + sum_g E*_g^2 (Diaz et al. 2020, by group)."""
    return _compared(shown, grouping, ((_exposure(shown, k, grouping) - _due(shown, k, grouping)) ** 2).sum(axis=1))


def _exposure(shown: Shown, k: int, grouping: str) -> FloatArray:
    """E [U, G]: what a group's items get of 1 / log2(rank + 1), all ranks up to K adding up to 1."""
    discount = log_discount(k)
    return exposed(shown.lists[:, :k], shown.groups[grouping].membership, discount / discount.sum())


def _due(shown: Shown, k: int, grouping: str) -> FloatArray:
    """E* [U, G]: the user's m test items share the first m ranks alike, all other items of the catalogue the rest."""
    discount = log_discount(k)
    upto = np.concatenate([[0.0], np.cumsum(discount / discount.sum())])
    liked, others = shown.held_out, shown.items - 1 - shown.held_out
    reached = upto[np.minimum(liked, k)]
    each, rest = divide(reached, liked), np.nan_to_num(divide(1 - reached, others))
    relevant = shown.relevant[grouping]
    sizes = shown.groups[grouping].membership.sum(axis=0)
    return each[:, None] * relevant + rest[:, None] * (sizes - relevant)


def calibration_kl(shown: Shown, k: int, grouping: str) -> FloatArray:
    """C_KL = sum_g p_g ln(p_g / (.99 q_g + .01 p_g)), p the user's training profile, q the list (Steck 2018)."""
    had, listed = _tastes(shown, k, grouping)
    return _compared(shown, grouping, divergence(had, (1 - _SMOOTHING) * listed + _SMOOTHING * had))


def calibration_js(shown: Shown, k: int, grouping: str) -> FloatArray:
    """Jensen-Shannon divergence in bits of the same two: 0 where they are alike, 1 where they share no group."""
    had, listed = _tastes(shown, k, grouping)
    middle = (had + listed) / 2
    return _compared(shown, grouping, (divergence(had, middle) + divergence(listed, middle)) / (2 * np.log(2)))


def _tastes(shown: Shown, k: int, grouping: str) -> tuple[FloatArray, FloatArray]:
    """[U, G] each: the groups' shares of what a user had, and of the list."""
    parts = shown.parts(grouping)
    had = np.stack([shown.profile_mean(column) for column in parts.T], axis=1)
    return _shares(had), _shares(exposed(shown.lists[:, :k], parts, np.ones(k)))


def _compared(shown: Shown, grouping: str, values: FloatArray) -> FloatArray:
    """The values where two groups of the catalogue have items, else nan: of one group all shares are equal."""
    several = shown.groups[grouping].membership.any(axis=0).sum() >= 2
    return np.asarray(values if several else np.full_like(values, np.nan))


def _shares(counts: FloatArray) -> FloatArray:
    return divide(counts, counts.sum(axis=-1, keepdims=True))


def list_mean(lists: IntArray, values: FloatArray | BoolArray) -> FloatArray:
    """Mean of a number of items [I] over each list, [U]; nan of an empty list."""
    listed = lists > 0
    return divide((np.asarray(values, dtype=float)[lists] * listed).sum(1), listed.sum(1))
