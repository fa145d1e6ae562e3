"""Scored lists to choose the top K from, and what every method reads of them.

Symbols: U users with C candidates each, G item groups, s_ui the score of a candidate, scaled to [0, 1] by user so that
a strength means the same for any system. An item of m groups counts 1/m in each, so that exposure adds up to the list
places. Items of the same groups share a pattern, of which there are few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_ROWS = 1 << 10  # users at a time: what is computed of them stays in the processor's cache


@dataclass(frozen=True)
class Candidates:
    """Lists of candidates, best first; item 0 with score -inf stands where a list is shorter."""

    items: IntArray  # [U, C]
    scores: FloatArray  # [U, C]
    k: int
    membership: BoolArray  # [I, G], row 0 empty
    target: FloatArray | None = None  # [G] the groups' due shares of exposure; None: their shares of the catalogue
    user_groups: BoolArray | None = None  # [U, H]
    profile: FloatArray | None = None  # [U, G] shares of the groups in what each user had before
    relevant: BoolArray | None = None  # [U, C] what is known to be liked

    @cached_property
    def _patterns(self) -> tuple[FloatArray, IntArray]:
        packed = np.packbits(self.membership, axis=1)
        _, first, of_item = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        rows = self.membership[first].astype(float)
        return rows / np.maximum(rows.sum(axis=1, keepdims=True), 1), of_item.reshape(-1)

    @property
    def share(self) -> FloatArray:
        """[P, G] how much an item of each pattern counts in each group."""
        return self._patterns[0]

    def patterns(self, rows: slice) -> IntArray:
        """[u, C] the pattern of each candidate."""
        return self._patterns[1][self.items[rows]]

    def scaled(self, rows: slice, weight: float = 1.0) -> FloatArray:
        """[u, C] of weight * (s - min) / (max - min) by user; -inf stays, whatever the weight."""
        scores = self.scores[rows]
        low = np.where(np.isfinite(scores), scores, np.inf).min(axis=1, keepdims=True)
        span = scores.max(axis=1, keepdims=True) - low
        scaled = (scores - low) / np.where(span > 0, span, 1.0)
        return np.asarray(np.multiply(scaled, weight, out=scaled, where=np.isfinite(scaled)))

    def chunks(self, size: int = _ROWS) -> Iterator[slice]:
        """All users, so many at a time."""
        return (slice(start, start + size) for start in range(0, len(self.items), size))

    def by_user(self, choose: Callable[[slice], IntArray]) -> IntArray:
        """[U, K] of a choice that is made for each user apart."""
        return np.concatenate([choose(rows) for rows in self.chunks()])

    @cached_property
    def due(self) -> FloatArray:
        """[G] shares of exposure that the groups should have; 0 for a group that no list could show."""
        wanted = self._catalogue if self.target is None else self.target
        reachable = wanted * (self._slots(self.items) > 0)
        return np.asarray(reachable / reachable.sum())

    @property
    def _catalogue(self) -> FloatArray:
        counts = np.bincount(self._patterns[1], minlength=len(self.share))
        return np.asarray(counts @ self.share)

    def exposure(self, places: IntArray, rows: slice = slice(None)) -> FloatArray:
        """[G] list places that each group takes in chosen lists."""
        return self._slots(np.take_along_axis(self.items[rows], places, axis=1))

    def _slots(self, items: IntArray) -> FloatArray:
        counts = np.bincount(self._patterns[1][items.ravel()], minlength=len(self.share))
        return np.asarray(counts @ self.share)

    @cached_property
    def ahead(self) -> BoolArray:
        """[P] whether a pattern is mostly of groups that the lists as they are show more than is due."""
        shown = self._slots(self.items[:, : self.k])
        over = shown / shown.sum() > self.due
        return np.asarray(self.share @ over > 0.5)

    @cached_property
    def quality(self) -> FloatArray:
        """[U] how well the lists as they are serve each user: hits where these are known, else the mean score."""
        top = self.scores if self.relevant is None else self.relevant.astype(float)
        return np.asarray(top[:, : self.k].mean(axis=1))

    @cached_property
    def served_better(self) -> BoolArray:
        """[U] whether a user is of the groups that are served better than users are on average."""
        assert self.user_groups is not None
        sizes = np.maximum(self.user_groups.sum(axis=0), 1)
        better = self.quality @ self.user_groups / sizes > self.quality.mean()
        return np.asarray(self.user_groups @ better)


def best(values: FloatArray, k: int) -> IntArray:
    """[u, k] places of the k largest values, ties to the earlier place; in the order of the list.

    What is chosen is a set: its items stay in the order that the system gave them, the most accurate one at hand.
    """
    return np.sort(np.argsort(-values, axis=1, kind="stable")[:, :k], axis=1)


def profiles(rows: IntArray, items: IntArray, row_count: int, membership: BoolArray) -> FloatArray:
    """[row_count, G] shares of the groups among each row's items; zeros where none has a group."""
    share = membership / np.maximum(membership.sum(axis=1, keepdims=True), 1)
    counts = np.stack([np.bincount(rows, column[items], row_count) for column in share.T], axis=1)
    total = counts.sum(axis=1, keepdims=True)
    return np.asarray(counts / np.where(total > 0, total, 1.0))
