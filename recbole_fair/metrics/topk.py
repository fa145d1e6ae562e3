"""How well each user's list finds the held-out items, within every K at once: RecBole's six means over users.

`hit` [U, K] says of every place of the lists, best first, whether it holds a held-out item, `relevant` [U] how many
there are. Each answers [U, K], the value within the first k places in column k - 1.
"""

from __future__ import annotations

import numpy as np

from recbole_fair.metrics.exposure import log_discount
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray


def hit(hit: BoolArray, _: IntArray) -> FloatArray:
    """Hit@K = 1 if any of the first K is held out, else 0."""
    return np.logical_or.accumulate(hit, axis=1).astype(float)


def recall(hit: BoolArray, relevant: IntArray) -> FloatArray:
    """Recall@K = |first K and held out| / |held out|."""
    return np.cumsum(hit, axis=1) / relevant[:, None]


def precision(hit: BoolArray, _: IntArray) -> FloatArray:
    """Precision@K = |first K and held out| / K."""
    return np.cumsum(hit, axis=1) / _ranks(hit)


def mrr(hit: BoolArray, _: IntArray) -> FloatArray:
    """MRR@K = 1 / rank of the first hit among the first K, 0 without one."""
    first = hit & (np.cumsum(hit, axis=1) == 1)
    return np.cumsum(first / _ranks(hit), axis=1)


def average_precision(hit: BoolArray, relevant: IntArray) -> FloatArray:
    """MAP@K = sum_{k <= K} hit[k] Precision@k / min(K, |held out|)."""
    return np.cumsum(precision(hit, relevant) * hit, axis=1) / _findable(hit, relevant)


def ndcg(hit: BoolArray, relevant: IntArray) -> FloatArray:
    """NDCG@K = sum_{k <= K} hit[k] / log2(k + 1) over the same sum of the first min(K, |held out|) places."""
    discount = log_discount(hit.shape[1])
    ideal = np.cumsum(discount)[_findable(hit, relevant) - 1]
    return np.asarray(np.cumsum(np.where(hit, discount, 0.0), axis=1) / ideal)


def _ranks(hit: BoolArray) -> IntArray:
    return np.arange(1, hit.shape[1] + 1)


def _findable(hit: BoolArray, relevant: IntArray) -> IntArray:
    """[U, K] of held-out items that K places can hold, 1 where nothing is held out."""
    return np.minimum(_ranks(hit), np.maximum(relevant, 1)[:, None])
