"""Figures by group and what is made of them: means, BiFair's group utility, CV, MIN, gap, ratio.

Pure numpy. Groups stand on the last axis, and nan marks an absent group, so the same function serves a point value
[G] and bootstrap samples [S, G]. An undefined value is nan, never a silent zero: fewer than two present groups have
no disparity, and nothing is divided by zero. What each figure does and does not say: docs/metrics.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def divide(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    """The quotient, nan where the denominator is 0.

    >>> divide([1, 0], [4, 0]).tolist()
    [0.25, nan]
    """
    below = np.asarray(denominator, dtype=float)
    quotient: FloatArray = np.asarray(numerator, dtype=float) / np.where(below == 0, np.nan, below)
    return quotient


class Terms(NamedTuple):
    """A figure as sum_u numerator[u] / sum_u denominator[u]: users can be resampled, and split into groups.

    A row with denominator 0 is a user for whom the figure is undefined; it counts neither above nor below.
    """

    numerator: FloatArray  # [U] or [U, C]
    denominator: FloatArray  # [U] or [U, C]

    def value(self) -> FloatArray:
        """The figure over all users, [] or [C]; nan where no user defines it."""
        return divide(self.numerator.sum(0), self.denominator.sum(0))

    def resampled(self, weights: FloatArray) -> FloatArray:
        """The figures of resampled users: weights [S, U] say how often each was drawn, [S, C] come back."""
        return divide(weights @ self.numerator, weights @ self.denominator)

    def of(self, rows: IntArray) -> Terms:
        """The same figure of some users only."""
        return Terms(self.numerator[rows], self.denominator[rows])

    def by_group(self, membership: npt.NDArray[Any]) -> Terms:
        """The same figure of each user group: terms [U] and membership [U, G] give terms [U, G]."""
        member = np.asarray(membership, dtype=float)
        return Terms(self.numerator[:, None] * member, self.denominator[:, None] * member)


def user_mean(values: npt.NDArray[Any]) -> Terms:
    """Mean of a metric over users, (1 / |U|) sum_u m_u, for values [U] or [U, C]; nan marks a user without it."""
    figures = np.asarray(values, dtype=float)
    known = ~np.isnan(figures)
    return Terms(np.where(known, figures, 0.0), known.astype(float))


def group_utility_terms(hits: npt.NDArray[Any], relevant: npt.NDArray[Any], users: str = "relevant") -> Terms:
    """Utility of item groups, user by user (BiFair, Eq. 1): utility(u, n)@K = hits[u, n] / relevant[u, n].

    hits [U, G] counts u's test items of group n among u's top K, relevant [U, G] all of u's test items in n. Which
    users the mean is over is open in the paper: "relevant", those with a test item in n (as the code of the work it
    cites), or "all", the 1/|U| as printed, where a user without one counts as 0. A group in which nobody has a test
    item is absent either way.
    """
    if users not in ("relevant", "all"):
        raise UsageError(f"group_utility_users={users!r}: relevant (users with a test item in the group) or all")
    having = np.asarray(relevant) > 0  # [U, G]
    utility = np.where(having, divide(hits, relevant), 0.0)
    counted = having if users == "relevant" else np.broadcast_to(having.any(axis=0), having.shape)
    return Terms(utility, counted.astype(float))


def present_mean(values: npt.NDArray[Any]) -> FloatArray:
    """Mean over the present groups, [..., G] -> [...]."""
    figures = np.asarray(values, dtype=float)
    present = ~np.isnan(figures)
    return divide(np.where(present, figures, 0.0).sum(-1), present.sum(-1))


def disparity(value: npt.NDArray[Any], groups: npt.NDArray[Any]) -> FloatArray:
    """The value [...] where at least two groups [..., G] are present, else nan."""
    return np.where((~np.isnan(groups)).sum(-1) >= 2, value, np.nan)


def deviation(utilities: npt.NDArray[Any]) -> FloatArray:
    """Population standard deviation (ddof 0) over the present groups, [..., G] -> [...]."""
    figures = np.asarray(utilities, dtype=float)
    squares = (figures - present_mean(figures)[..., None]) ** 2
    return disparity(np.sqrt(present_mean(squares)), figures)


def cv(utilities: npt.NDArray[Any]) -> FloatArray:
    """CV@K = std(Utility) / mean(Utility) (BiFair, section 4.3.2), [..., G] -> [...]; nan where the mean is 0.

    std is the population's (ddof 0), the only reading that agrees with the pairs of CV and MIN the paper prints.
    Groups of utility 0 stay in. By user group it is cv_recall@20[gender] and the like.

    >>> float(cv(np.array([0.2, 0.4])))
    0.3333333333333333
    """
    return divide(deviation(utilities), present_mean(utilities))


def minimum(utilities: npt.NDArray[Any]) -> FloatArray:
    """MIN@K: mean of the lowest max(1, floor(N/4)) of the N present groups (BiFair, section 4.3.2), [..., G] -> [...].

    With one group it is that group's utility. The floor of 1 is ours: with fewer than four groups the paper's bottom
    25 % would be empty.

    >>> float(minimum(np.array([0.5, 0.1, np.nan, 0.3])))
    0.1
    """
    ordered = np.sort(np.asarray(utilities, dtype=float), axis=-1)  # absent groups last
    present = (~np.isnan(ordered)).sum(-1, keepdims=True)
    taken = np.maximum(1, present // 4)
    lowest = np.where(np.arange(ordered.shape[-1]) < taken, ordered, np.nan)
    return present_mean(lowest)


def gap(figures: npt.NDArray[Any]) -> FloatArray:
    """Largest minus smallest figure of a group, [..., G] -> [...]; fairlearn's difference(between_groups)."""
    low, high = _range(figures)
    return disparity(high - low, figures)


def ratio(figures: npt.NDArray[Any]) -> FloatArray:
    """Smallest over largest figure of a group, [..., G] -> [...]; nan where the largest is 0."""
    low, high = _range(figures)
    return disparity(divide(low, high), figures)


def _range(figures: npt.NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    absent = np.isnan(figures)
    nobody = absent.all(-1)
    low = np.where(absent, np.inf, figures).min(-1, initial=np.inf)
    high = np.where(absent, -np.inf, figures).max(-1, initial=-np.inf)
    return np.where(nobody, np.nan, low), np.where(nobody, np.nan, high)
