"""What lists do to the catalogue, one number over all users within the first K, under RecBole's names.

RecBole's own coverage and Gini fill an empty place with its padding and count that as one more item. Its entropy is a
mean over the listed items (RecBole pull request 2165), so that lists of a few items look more diverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recbole_fair.metrics import exposure
from recbole_fair.metrics.formulas import BoolArray, IntArray


@dataclass(frozen=True)
class Catalogue:
    """All items, padding in place 0, with their training interactions."""

    trained: IntArray  # [I]
    tail_ratio: float = 0.1  # which share of the trained items is the tail; above 1: up to so many interactions

    @cached_property
    def tail(self) -> BoolArray:
        """[I] the least met of the items in training, ties by number."""
        items = np.flatnonzero(self.trained)
        rare = items[np.argsort(self.trained[items], kind="stable")][: max(int(len(items) * self.tail_ratio), 1)]
        few = self.trained[items] <= self.tail_ratio
        return np.isin(np.arange(len(self.trained)), items[few] if self.tail_ratio > 1 else rare)


def coverage(lists: IntArray, catalogue: Catalogue, k: int) -> float:
    """Share of the catalogue that is listed at least once."""
    return float(exposure.coverage(_times_listed(lists, catalogue, k)))


def gini(lists: IntArray, catalogue: Catalogue, k: int) -> float:
    """Gini index of how often each item is listed."""
    return float(exposure.gini(_times_listed(lists, catalogue, k)))


def entropy(lists: IntArray, catalogue: Catalogue, k: int) -> float:
    """Entropy of a list place: in which item it is."""
    return float(exposure.entropy(_times_listed(lists, catalogue, k)))


def average_popularity(lists: IntArray, catalogue: Catalogue, k: int) -> float:
    """(1/|U|) sum_u (1/K) sum_{i in L_u} phi(i), phi the training interactions; an empty place counts 0."""
    return _mean_of_places(catalogue.trained[lists], k)


def tail_percentage(lists: IntArray, catalogue: Catalogue, k: int) -> float:
    """(1/|U|) sum_u |{i in L_u, i in tail}| / K."""
    return _mean_of_places(catalogue.tail[lists], k)


def _times_listed(lists: IntArray, catalogue: Catalogue, k: int) -> npt.NDArray[np.float64]:
    return exposure.times_listed(lists[:, :k], len(catalogue.trained))


def _mean_of_places(values: npt.NDArray[np.int64] | BoolArray, k: int) -> float:
    return float((values.cumsum(axis=1) / np.arange(1, values.shape[1] + 1)).mean(axis=0)[k - 1])
