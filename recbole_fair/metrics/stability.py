"""How much a user's list changes with what the prompt says of the user (Zhang et al. 2023, FaiRLLM).

R is the list without a sensitive attribute, R^a the list under a value a of it, as item ids [U, K], best first, 0 where
there is no item. Identical lists have 1 in all three similarities, lists without a common item 0; where both lists are
empty there is nothing to compare (nan).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from recbole_fair.groups.variants import Variant
from recbole_fair.metrics.formulas import FloatArray, IntArray, Terms, divide, present_mean, user_mean
from recbole_fair.metrics.key import MetricKey

_ROWS = 1 << 14  # users at a time where an array [U, K, K] is held


def jaccard(plain: IntArray, prompted: IntArray) -> FloatArray:
    """|R and R^a| / |R or R^a|, [U]."""
    common = (_places(plain, prompted) < plain.shape[1]).sum(axis=1)
    return _of_lists(common, (plain > 0).sum(axis=1) + (prompted > 0).sum(axis=1) - common, plain, prompted)


def serp(plain: IntArray, prompted: IntArray) -> FloatArray:
    """SERP: sum_{v in R^a} 1(v in R) (K - r^a(v) + 1) / sum_{v in R^a} (K - r^a(v) + 1), [U].

    Of full lists the divisor is K (K + 1) / 2, as the paper prints it.
    """
    depth = plain.shape[1]
    weight = np.arange(depth, 0, -1) * (prompted > 0)
    shared = _places(plain, prompted) < depth
    return _of_lists((weight * shared).sum(axis=1), weight.sum(axis=1), plain, prompted)


def prag(plain: IntArray, prompted: IntArray) -> FloatArray:
    """PRAG: the share of pairs v before w of R^a with v in R, and w behind it there or not in R, [U].

    The paper divides by K (K + 1), by which identical lists have (K - 1) / (2 (K + 1)); here it is the number of pairs.
    A list of one item has no pair: it counts 1 where both lists are the same, else 0.
    """
    depth, agreeing = plain.shape[1], np.zeros(len(plain))
    for start in range(0, len(plain), _ROWS):
        rows = slice(start, start + _ROWS)
        place, listed = _places(plain[rows], prompted[rows]), prompted[rows] > 0
        ordered = (place[:, :, None] < place[:, None, :]) & np.tri(depth, k=-1, dtype=bool).T
        agreeing[rows] = (ordered & listed[:, :, None] & listed[:, None, :]).sum(axis=(1, 2))
    length = (prompted > 0).sum(axis=1)
    return _of_lists(agreeing, length * (length - 1) / 2, plain, prompted)


def _places(plain: IntArray, prompted: IntArray) -> IntArray:
    """[U, K]: where R has each item of R^a, counted from 0; K where it has not."""
    depth, places = plain.shape[1], np.empty(prompted.shape, dtype=np.int64)
    for start in range(0, len(plain), _ROWS):
        rows = slice(start, start + _ROWS)
        same = (prompted[rows, :, None] == plain[rows, None, :]) & (prompted[rows, :, None] > 0)
        places[rows] = np.where(same.any(axis=2), same.argmax(axis=2), depth)
    return places


def _of_lists(above: npt.ArrayLike, below: npt.ArrayLike, plain: IntArray, prompted: IntArray) -> FloatArray:
    """The quotient; of lists with nothing to divide by, whether they are the same, and nan where both are empty."""
    alike = np.where((plain > 0).any(axis=1) | (prompted > 0).any(axis=1), (plain == prompted).all(axis=1), np.nan)
    return np.where(np.asarray(below) > 0, divide(above, below), alike)


SIMILARITIES: Mapping[str, Callable[[IntArray, IntArray], FloatArray]] = MappingProxyType(
    {"jaccard": jaccard, "serp": serp, "prag": prag}
)


@dataclass(frozen=True)
class PromptedLists:
    """Lists [U, K] of the same users without an attribute, under variants of the prompt, and without it once more."""

    plain: IntArray
    prompted: Mapping[Variant, IntArray]
    again: IntArray | None = None

    def terms(self, figure: str, variants: tuple[Variant, ...] | None) -> Terms:
        """Terms [U, V] of a similarity at K under each variant; without variants [U, 1], of the list asked again."""
        key = MetricKey.parse(figure)
        others = [self.again] if variants is None else [self.prompted[variant] for variant in variants]
        of, rows = SIMILARITIES[key.name], [other[:, : key.k] for other in others if other is not None]
        return user_mean(np.stack([of(self.plain[:, : key.k], listed) for listed in rows], axis=1))


def is_similarity(figure: str) -> bool:
    """Whether a figure compares lists under several prompts.

    >>> is_similarity("jaccard@20"), is_similarity("ndcg@20")
    (True, False)
    """
    return figure.partition("@")[0] in SIMILARITIES


def drop(again: FloatArray, prompted: FloatArray) -> FloatArray:
    """How much less alike lists are under a value than when the same prompt is asked twice: [..., 1], [..., V]."""
    return np.asarray(again[..., 0] - present_mean(prompted))
