"""How sure the figures of one run are: intervals from resampling its judged users."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from statistics import NormalDist
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from recbole_fair.metrics import bootstrap
from recbole_fair.metrics.formulas import FloatArray, Terms, divide
from recbole_fair.metrics.metric import Figure, Measure

Bounds = list[float] | None
Name = TypeVar("Name", bound=Hashable)  # of a block


@dataclass(frozen=True)
class Resampling:
    """How to resample: confidence level, number of samples, seed, and how bounds are read off them."""

    level: float
    samples: int
    seed: int = 0
    method: str = "widened"


def resampling(config: Mapping[str, Any]) -> Resampling | None:
    """As the keys `interval`, `bootstrap` and `interval_method` say; None where no interval is wanted."""
    if not config["interval"] or not config["bootstrap"]:
        return None
    return Resampling(config["interval"], config["bootstrap"], method=config["interval_method"])


@dataclass
class Intervals:
    """An interval for each measure, None where it would mean nothing, and what is to be said of them."""

    bounds: dict[str, Bounds] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def intervals(blocks: Mapping[Figure, Any], measures: Sequence[Measure], users: int, how: Resampling) -> Intervals:
    """Resample the users once for all measures; each formula is applied to every sample."""
    if users < 2:
        return Intervals({measure.key: None for measure in measures}, [f"no intervals: {users} judged user(s)"])
    figures, draws = {name: terms.value() for name, terms in blocks.items()}, drawn(blocks, users, how)
    found, near = Intervals(), []
    for measure in measures:
        point, samples = measure.of(figures), measure.of(draws)
        found.bounds[measure.key] = _bounds(measure, samples, point, how)
        if _compares_groups(measure) and found.bounds[measure.key] and bootstrap.near_boundary(samples, point):
            near.append(measure.key)
    if near:
        found.notes.append(
            f"{bootstrap.NOISE} {', '.join(near)}: read each as at most so much, MIN and ratios as at least"
        )
    return found


def drawn(blocks: Mapping[Name, Any], users: int, how: Resampling) -> dict[Name, FloatArray]:
    """[S, G] of every block; all see the same samples of users, of which only a chunk is held at a time."""
    ratios = {name: terms for name, terms in blocks.items() if isinstance(terms, Terms)}
    below, denominators = _denominators(ratios)
    above = SideBySide({name: terms.numerator for name, terms in ratios.items()})
    parts: dict[Name, list[FloatArray]] = {name: [] for name in blocks}
    for counts in bootstrap.counts(users, how.samples, how.seed):
        tops, bottoms = above.sums(counts), denominators.sums(counts)
        for name in ratios:
            parts[name].append(divide(tops[name], bottoms[below[name]]))
        for name in blocks.keys() - ratios.keys():
            parts[name] += [blocks[name].resampled(weights) for weights in bootstrap.weights(counts)]
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}


def _denominators(ratios: Mapping[Name, Terms]) -> tuple[dict[Name, bytes], SideBySide]:
    """Which denominator each block has, by content, and these: all metrics of a grouping share one."""
    below = {name: np.ascontiguousarray(terms.denominator) for name, terms in ratios.items()}
    keys = {name: blake2b(array.data, digest_size=16).digest() for name, array in below.items()}
    return keys, SideBySide({keys[name]: terms.denominator for name, terms in ratios.items()})


def _bounds(measure: Measure, samples: FloatArray, point: FloatArray, how: Resampling) -> Bounds:
    if not np.isfinite(point):
        return None
    if how.method == "widened" and _compares_groups(measure):
        low, high = bootstrap.widened_interval(samples, point, how.level, boundary=measure.equal)
    elif how.method == "bias_corrected":
        low, high = bootstrap.bias_corrected_interval(samples, point, how.level)
    else:
        low, high = bootstrap.percentile_interval(samples, how.level)
    if not np.isfinite([low, high]).all():
        return None
    return [float(end) for end in np.clip([low, high], *measure.bounds)]  # a widened interval may reach beyond


def _compares_groups(measure: Measure) -> bool:
    """Whether a measure is a disparity: those have a boundary (equality) that resampling cannot cross."""
    return any(figure[1] for figure in measure.blocks) and ":" not in measure.key


_COLUMNS = 32  # of a product: wider ones gain nothing more


class SideBySide:
    """Matrices [U, C] (or [U], as one column) by key, kept in stacks of some 32 columns."""

    def __init__(self, matrices: Mapping[Hashable, FloatArray]) -> None:
        self.stacks = list(_stacks(matrices))

    def sums(self, counts: npt.NDArray[np.uint8]) -> dict[Hashable, FloatArray]:
        """Counts [S, U] @ each matrix, [S, C].

        >>> SideBySide({"a": np.eye(2), "b": np.array([1.0, 2.0])}).sums(np.array([[3, 4]], dtype=np.uint8))
        {'a': array([[3., 4.]]), 'b': array([11.])}
        """
        products: list[FloatArray] = []
        for users, weights in bootstrap.of_few_users(counts):
            more = [weights @ stack[users] for _, stack in self.stacks]
            products = [so_far + part for so_far, part in zip(products, more, strict=True)] if products else more
        found: dict[Hashable, FloatArray] = {}
        for (shapes, _), product in zip(self.stacks, products, strict=True):
            ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes.values()])
            shaped = zip(shapes.items(), np.split(product, ends[:-1], axis=1), strict=True)
            found |= {key: part.reshape(len(counts), *shape) for (key, shape), part in shaped}
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


def mean_and_bounds(values: FloatArray, level: float) -> tuple[float, float, float]:
    """The mean of [U] values with its normal bounds.

    >>> [round(value, 3) for value in mean_and_bounds(np.array([1.0, 2.0, 3.0]), 0.95)]
    [2.0, 0.868, 3.132]
    """
    mean = float(values.mean())
    reach = NormalDist().inv_cdf((1 + level) / 2) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean, mean - reach, mean + reach
