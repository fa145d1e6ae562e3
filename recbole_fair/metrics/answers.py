"""Figures of yes/no answers and scores: F1, AUC, flips between prompts, GD and Rate.

Pairs are rows [P]: a label (liked or not), an answer (Yes or not) or a score, and the row number of the user. Counts
are kept by user, so that every figure can be resampled over users and split by user group. Symbols in `functions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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

_CELLS = 1 << 22  # of weights at a time in `auc_draws`: 32 MiB


class Confusion(NamedTuple):
    """True and false, positive ("Yes") and negative answers of each user."""

    tp: FloatArray  # [U]
    fp: FloatArray  # [U]
    fn: FloatArray  # [U]
    tn: FloatArray  # [U]


def confusion(labels: BoolArray, answers: BoolArray, users: IntArray, user_count: int) -> Confusion:
    """Count answers by user from pairs [P]; `users` holds row numbers below `user_count`."""
    liked, yes = np.asarray(labels, dtype=bool), np.asarray(answers, dtype=bool)
    cases = (liked & yes, ~liked & yes, liked & ~yes, ~liked & ~yes)
    return Confusion(*(np.bincount(users[case], minlength=user_count).astype(float) for case in cases))


def f1(counts: Confusion) -> Terms:
    """F1 of "Yes" = 2 TP / (2 TP + FP + FN), TP, FP, FN summed over users; the g of CL-MoE, Eq. 2-3."""
    return Terms(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def precision(counts: Confusion) -> Terms:
    """Precision of "Yes" = TP / (TP + FP); nan if "Yes" is never answered."""
    return Terms(counts.tp, counts.tp + counts.fp)


def recall(counts: Confusion) -> Terms:
    """Recall of "Yes" = TP / (TP + FN); nan if nothing is liked."""
    return Terms(counts.tp, counts.tp + counts.fn)


def yes_share(counts: Confusion) -> Terms:
    """Share of pairs answered "Yes" = (TP + FP) / (TP + FP + FN + TN); near 0 or 1 the model has collapsed."""
    return Terms(counts.tp + counts.fp, counts.tp + counts.fp + counts.fn + counts.tn)


def flip(answers: BoolArray, users: IntArray, user_count: int) -> Terms:
    """Share of pairs whose answers [P, V] differ between V prompts for the same pair, terms [U].

    >>> float(flip(np.array([[True, False], [True, True]]), np.array([0, 0]), 1).value())
    0.5
    """
    differ = np.asarray(answers, dtype=bool).any(1) & ~np.asarray(answers, dtype=bool).all(1)
    differing, pairs = (np.bincount(users[rows], minlength=user_count) for rows in (differ, slice(None)))
    return Terms(differing.astype(float), pairs.astype(float))


def auc(scores: FloatArray, labels: BoolArray, weights: npt.NDArray[Any] | None = None) -> FloatArray:
    """Area under the ROC curve = P(s+ > s-) + P(s+ = s-) / 2 over pairs of a liked and a disliked row.

    scores [P], labels [P]; weights [..., P] count each row so often, [] or [...] comes back and the rows are sorted
    once. nan where one class has no weight, or where a score is undefined.

    >>> float(auc(np.array([0.1, 0.4, 0.4]), np.array([False, True, False])))
    0.75
    """
    weight = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=float)
    if not len(scores) or np.isnan(scores).any():
        return np.full(weight.shape[:-1], np.nan)
    ranks, by_row = _Ranks.of(scores, labels), np.moveaxis(weight, -1, 0)
    return ranks.area(by_row[ranks.liked], by_row[ranks.disliked])


def auc_draws(scores: FloatArray, labels: BoolArray, users: IntArray, draws: npt.NDArray[Any]) -> FloatArray:
    """`auc` of resampled users: draws [S, U] says how often each user was drawn, [S] comes back.

    The rows are sorted once, and weights are spread from users to rows a block of samples at a time, so memory does
    not grow with S * P. Draws in Fortran's order, a user's together, are spread the fastest.
    """
    if not len(scores) or np.isnan(scores).any():
        return np.full(len(draws), np.nan)
    ranks = _Ranks.of(scores, labels)
    liked, disliked = users[ranks.liked], users[ranks.disliked]
    blocks = np.array_split(draws.T, max(1, len(draws) * len(scores) // _CELLS), axis=1)
    values: FloatArray = np.concatenate([ranks.area(block[liked], block[disliked]) for block in blocks])
    return values


@dataclass(frozen=True)
class _Ranks:
    """Liked and disliked rows by rising scores, and how many disliked ones lie below each liked one."""

    liked: IntArray  # [L], places
    disliked: IntArray  # [D]
    below: IntArray  # [L], disliked ones with a lower score
    not_above: IntArray  # [L], and those with the same

    @classmethod
    def of(cls, scores: FloatArray, labels: BoolArray) -> _Ranks:
        order = np.argsort(scores, kind="stable")
        liked, disliked = order[labels[order]], order[~labels[order]]
        below, not_above = (np.searchsorted(scores[disliked], scores[liked], side) for side in ("left", "right"))
        return cls(liked, disliked, below, not_above)

    def area(self, liked: npt.NDArray[Any], disliked: npt.NDArray[Any]) -> FloatArray:
        """Under weights [L, ...] and [D, ...]; half of the weight of equal scores counts as below."""
        summed = np.zeros((len(disliked) + 1, *disliked.shape[1:]))
        np.cumsum(disliked, 0, dtype=float, out=summed[1:])
        beaten = summed[self.below]
        if (self.below != self.not_above).any():
            beaten = (beaten + summed[self.not_above]) / 2
        return divide((liked * beaten).sum(0), liked.sum(0) * summed[-1])


def gd(given: npt.NDArray[Any], base: npt.NDArray[Any]) -> FloatArray:
    """GD = sqrt( (1/|G|) sum_i (g(A_i, B) - g(B))^2 ) (CL-MoE, Eq. 2).

    given [..., G]: g with attribute value A_i in the prompt, of the users who have A_i or of everyone given A_i;
    base [..., G] or [..., 1]: g(B), the same users (or everyone) without it. -> [...]
    """
    return disparity(np.sqrt(present_mean((given - base) ** 2)), given - base)


def rate(given: npt.NDArray[Any], base: npt.NDArray[Any]) -> FloatArray:
    """Rate = (1/|G|) sum_i | 1 - g(A_i, B) / g(B) | (CL-MoE, Eq. 3, as written); nan where g(B) is 0."""
    relative = 1 - divide(given, base)
    return disparity(present_mean(np.abs(relative)), relative)


def rate_sq(given: npt.NDArray[Any], base: npt.NDArray[Any]) -> FloatArray:
    """(1/|G|) sum_i (1 - g(A_i, B) / g(B))^2, which CL-MoE's tables print; (GD / g(B))^2 where g(B) is everyone's."""
    relative = 1 - divide(given, base)
    return disparity(present_mean(relative**2), relative)


def gd_gap(given: npt.NDArray[Any], base: npt.NDArray[Any]) -> FloatArray:
    """GD without the shift common to all groups: the deviation over groups of d_i = g(A_i, B) - g(B).

    GD^2 = gd_gap^2 + (mean_i d_i)^2, so GD is also large where a clause in the prompt moves all groups alike; this is
    the part that is a difference between groups.
    """
    return deviation(given - base)
