"""Unfairness of predicted ratings (Yao and Huang 2017) and differential fairness of answers (Foulds et al. 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray, Terms, divide, gap, present_mean


def item_errors(
    predictions: FloatArray,
    truths: FloatArray,
    items: IntArray,
    membership: BoolArray,
    weights: npt.NDArray[Any] | None = None,
) -> FloatArray:
    """E_g[y]_j - E_g[r]_j: the mean error of group g's predicted ratings of item j, [J, 2], nan where g rated j never.

    Pairs are rows [P]: prediction y, rating r, item, and the two groups of the user [P, 2] (a user in neither counts
    nowhere). weights [P] count a pair so often, for resampled users. Items are numbered 0 ... max(items).
    """
    member = _two_groups(membership) * (1.0 if weights is None else np.asarray(weights, dtype=float)[:, None])
    error = np.asarray(predictions, dtype=float) - truths
    columns = [divide(np.bincount(items, side * error), np.bincount(items, side)) for side in member.T]
    return np.stack(columns, axis=1)


def value_unfairness(errors: FloatArray) -> FloatArray:
    """U_val = (1/n) sum_j | e_g,j - e_not g,j |, e = E[y] - E[r] (`item_errors`), [..., J, 2] -> [...].

    The n items are those that both groups rated: for any other the expectation of one group is undefined.
    """
    return _mean_difference(errors)


def absolute_unfairness(errors: FloatArray) -> FloatArray:
    """U_abs = (1/n) sum_j | |e_g,j| - |e_not g,j| |, errors in whatever direction."""
    return _mean_difference(np.abs(errors))


def underestimation_unfairness(errors: FloatArray) -> FloatArray:
    """U_under = (1/n) sum_j | max(0, -e_g,j) - max(0, -e_not g,j) |, predictions below the truth."""
    return _mean_difference(np.maximum(0.0, -errors))


def overestimation_unfairness(errors: FloatArray) -> FloatArray:
    """U_over = (1/n) sum_j | max(0, e_g,j) - max(0, e_not g,j) |, predictions above the truth."""
    return _mean_difference(np.maximum(0.0, errors))


def non_parity(predictions: FloatArray, membership: BoolArray) -> FloatArray:
    """U_par = | E_g[y] - E_not g[y] |, the means over all pairs [P] of a group [P, 2]."""
    everyone = np.ones(len(predictions))
    return gap(Terms(np.asarray(predictions, dtype=float), everyone).by_group(_two_groups(membership)).value())


def differential_fairness(yes: npt.NDArray[Any], total: npt.NDArray[Any], concentration: float = 1.0) -> FloatArray:
    """The smallest epsilon with e^-epsilon <= P(y | s_i) / P(y | s_j) <= e^epsilon for both answers y, all groups i, j.

    Foulds et al. 2020 (smoothed empirical differential fairness): from counts of "Yes" and of pairs by group
    [..., G], P(Yes | s) = (yes_s + a) / (total_s + 2 a) with the symmetric Dirichlet prior a = concentration / 2.
    -> [...]. Counts by item [I, G] give an epsilon for each item, whose mean is the per-item form (Islam et al. 2021).

    >>> float(differential_fairness(np.array([9, 4]), np.array([19, 19])).round(4))
    0.7472
    """
    if concentration <= 0:
        raise UsageError(f"concentration={concentration}: above 0, else a group that never says Yes has log 0")
    counts = np.asarray(total, dtype=float)
    prior = concentration / 2
    probability = np.where(counts > 0, (np.asarray(yes) + prior) / (counts + 2 * prior), np.nan)
    return np.maximum(gap(np.log(probability)), gap(np.log1p(-probability)))


def _two_groups(membership: BoolArray) -> BoolArray:
    if membership.shape[1] != 2:
        raise UsageError(f"rating unfairness compares two groups, these are {membership.shape[1]}: bin them into two")
    return membership


def _mean_difference(sides: FloatArray) -> FloatArray:
    return present_mean(np.abs(sides[..., 0] - sides[..., 1]))
