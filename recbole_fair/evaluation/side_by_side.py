"""Sums of many narrow matrices under the same weights: put together, one product costs far less than many."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

import numpy as np

from recbole_fair.metrics.formulas import FloatArray

_COLUMNS = 32  # of a product: wider ones gain nothing more


class SideBySide:
    """Matrices [U, C] (or [U], as one column) by key, kept in stacks of some 32 columns."""

    def __init__(self, matrices: Mapping[Hashable, FloatArray]) -> None:
        self.stacks = list(_stacks(matrices))

    def sums(self, weights: FloatArray) -> dict[Hashable, FloatArray]:
        """Weights @ each matrix, [S, C].

        >>> SideBySide({"a": np.eye(2), "b": np.array([1.0, 2.0])}).sums(np.array([[3.0, 4.0]]))
        {'a': array([[3., 4.]]), 'b': array([11.])}
        """
        found: dict[Hashable, FloatArray] = {}
        for shapes, stack in self.stacks:
            ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes.values()])
            parts = np.split(weights @ stack, ends[:-1], axis=1)
            shaped = zip(shapes.items(), parts, strict=True)
            found |= {key: part.reshape(len(weights), *shape) for (key, shape), part in shaped}
        return found


def _stacks(matrices: Mapping[Hashable, FloatArray]) -> Iterator[tuple[dict[Hashable, tuple[int, ...]], FloatArray]]:
    """(shape of each row by key, the matrices beside each other); a wide one alone is not copied."""
    waiting: dict[Hashable, FloatArray] = {}
    for place, (key, matrix) in enumerate(matrices.items(), start=1):
        waiting[key] = matrix.reshape(len(matrix), -1)
        if place == len(matrices) or sum(part.shape[1] for part in waiting.values()) >= _COLUMNS:
            shapes = {key: matrices[key].shape[1:] for key in waiting}
            yield shapes, np.hstack(list(waiting.values())) if len(waiting) > 1 else waiting[key]
            waiting = {}
