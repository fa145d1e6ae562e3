"""How sure one can be: intervals over resampled users.

Users are the unit: a user's list, hits and answers hang together, so all that belongs to a user is drawn together, and
every figure, group mean and aggregate comes from the same drawn users; a user without a value is a user all the same.
Equal seeds draw equal users, so samples of two runs on the same users can be subtracted.

What not to conclude: an interval is over users, given this trained model and this split; another seed may lie outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.metrics.formulas import FloatArray, divide

Interval = tuple[FloatArray, FloatArray]

_NORMAL = NormalDist()
_cdf = np.vectorize(_NORMAL.cdf, otypes=[float])
_quantile = np.vectorize(_NORMAL.inv_cdf, otypes=[float])

_CELLS = 1 << 24  # weights held at once: 128 MiB, and as many bytes of counts
_FEW = 1 << 18  # of these at a time in sums: 2 MiB
_ONE = np.uint8(1)
# A group of n users is missing from a share e^-n of the samples: 5 % for three users, 1.8 % for four.
_MOST_UNDEFINED = 0.03
_ROUNDING = 1e-9
NOISE = "noise adds to the differences in"  # how a warning of near_boundary begins; tables mark the cells instead
_EQUALITY = 2.5  # of the noise, squared: how far from equality equal groups come (benchmarks/coverage.py)


def counts(users: int, samples: int, seed: int) -> Iterator[npt.NDArray[np.uint8]]:
    """How often each user is drawn, a chunk [s, U] at a time.

    Each row is one multinomial(U, 1/U) draw and does not depend on how rows are cut into chunks. A byte is enough: of a
    thousand million users none is drawn 255 times.
    """
    generator = np.random.default_rng(seed)
    for size in _chunk_sizes(users, samples, 8 * _CELLS):
        drawn = np.zeros((size, users), dtype=np.uint8)
        for row in drawn:
            np.add.at(row, generator.integers(users, size=users), _ONE)  # numbers of eight bytes miss the cache
        yield drawn


def weights(drawn: npt.NDArray[np.uint8]) -> Iterator[FloatArray]:
    """The same counts as floats, few rows at a time: for statistics that are no ratios of sums (AUC, Gini)."""
    rows = max(1, _CELLS // drawn.shape[1])
    for start in range(0, len(drawn), rows):
        yield drawn[start : start + rows].astype(float)


def of_few_users(drawn: npt.NDArray[np.uint8]) -> Iterator[tuple[slice, FloatArray]]:
    """(users, their counts in every row as floats), so few users at a time that a processor's cache holds them.

    The counts are in one array, which the next users overwrite.
    """
    size = max(1, _FEW // len(drawn))
    held = np.empty((len(drawn), min(size, drawn.shape[1])))
    for start in range(0, drawn.shape[1], size):
        users = slice(start, min(start + size, drawn.shape[1]))
        few = held[:, : users.stop - start]
        np.copyto(few, drawn[:, users])
        yield users, few


def _chunk_sizes(users: int, samples: int, cells: int) -> Iterator[int]:
    if min(users, samples) < 1:
        raise UsageError(f"bootstrap of {users} users with {samples} samples: at least one of each is needed")
    size = max(1, cells // users)
    for start in range(0, samples, size):
        yield min(size, samples - start)


def percentile_interval(draws: FloatArray, level: float = 0.95) -> Interval:
    """Quantiles (1 - level)/2 and (1 + level)/2 of the draws [S, ...], linear between order statistics.

    Undefined draws are left out. With more than 3 % of them the interval is nan: so it is, but for chance, where three
    users or fewer have the figure.

    >>> percentile_interval(np.arange(101.0), 0.9)
    (array(5.), array(95.))
    """
    tail = np.full(draws.shape[1:], (1 - checked_level(level)) / 2, dtype=np.float64)
    return _between(draws, tail, 1 - tail)


def checked_level(level: float) -> float:
    """The level, if it is a share."""
    if not 0 < level < 1:
        raise UsageError(f"level={level!r}: a share between 0 and 1, such as 0.95")
    return level


def bias_corrected_interval(draws: FloatArray, point: FloatArray, level: float = 0.95) -> Interval:
    """Efron's BC interval (1981): the quantiles Phi(2 z0 -+ z) of the draws.

    z0 = Phi^-1(share of draws below the point), z = Phi^-1((1 + level)/2). Draws equal to the point count half. A point
    outside all draws has no z0, and the interval is nan.
    """
    with np.errstate(invalid="ignore"):
        centre = _quantile(_share_below(draws, point))
    reach = _NORMAL.inv_cdf((1 + checked_level(level)) / 2)
    return _between(draws, _cdf(2 * centre - reach), _cdf(2 * centre + reach))


def _share_below(draws: FloatArray, point: FloatArray) -> FloatArray:
    below, not_above = (draws < point).sum(axis=0), (draws <= point).sum(axis=0)
    share = divide((below + not_above) / 2, _defined(draws))
    return np.where((share > 0) & (share < 1), share, np.nan)


def _defined(draws: FloatArray) -> FloatArray:
    return np.asarray((~np.isnan(draws)).sum(axis=0), dtype=float)


def _enough(draws: FloatArray) -> npt.NDArray[np.bool_]:
    return _defined(draws) >= (1 - _MOST_UNDEFINED) * len(draws)


def _between(draws: FloatArray, low: FloatArray, high: FloatArray) -> Interval:
    """The two quantiles of each column of draws [S, ...], at shares [...] of the column's own."""
    ordered = np.sort(draws, axis=0)  # nan stands last
    last = np.where(_enough(draws), _defined(draws) - 1, np.nan)
    return _at(ordered, low * last), _at(ordered, high * last)


def _at(ordered: FloatArray, place: FloatArray) -> FloatArray:
    below = np.floor(np.nan_to_num(place)).astype(np.int64)
    above = np.ceil(np.nan_to_num(place)).astype(np.int64)
    low, high = (np.take_along_axis(ordered, rows[None], axis=0)[0] for rows in (below, above))
    return np.asarray(low + (place - below) * (high - low))


def near_boundary(draws: FloatArray, point: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether a figure [...] leans on a boundary: the draws' mean is off the point by over a quarter of their sd.

    Noise in group means only ever raises CV and the max-min gap and only ever lowers MIN and min/max, in the sample and
    once more in each draw, so where groups are equal no percentile interval holds the truth (docs/benchmarks.md). What
    is marked says "at most" (CV, gap) or "at least" (MIN, ratio), not "differs". Means and named gaps are never marked.
    """
    mean, deviation = _moments(draws)
    return np.asarray(np.abs(mean - point) > deviation / 4 + _ROUNDING * np.abs(point))


def _moments(draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of the defined draws."""
    count = _defined(draws)
    mean = divide(np.asarray(np.nansum(draws, axis=0)), count)
    return mean, np.sqrt(divide(np.asarray(np.nansum((draws - mean) ** 2, axis=0)), count))


def widened_interval(
    draws: FloatArray, point: FloatArray, level: float = 0.95, *, boundary: npt.ArrayLike = np.nan
) -> Interval:
    """The percentile interval; where `near_boundary` marks the figure, wider by what the mark stands for.

    `boundary` is the value of equal groups: 0 for CV and gaps, 1 for min/max; MIN and differences have none (nan). A
    marked interval takes in its own reflection about the point (the basic interval), and the boundary itself where
    equality is within the noise: with d the distance from it, E[d_draw^2] = d_true^2 + 2 noise^2 and E[d^2] = d_true^2
    + noise^2, so noise^2 is estimated by the rise of the mean square; 95 % of equal groups have d^2 <= 2.5 noise^2.
    """
    low, high = percentile_interval(draws, level)
    marked = near_boundary(draws, point)
    lower, upper = np.minimum(low, 2 * point - high), np.maximum(high, 2 * point - low)
    equal = marked & _within_noise(draws, point, boundary)
    lower, upper = np.where(marked, lower, low), np.where(marked, upper, high)
    return np.where(equal, np.minimum(low, boundary), lower), np.where(equal, np.maximum(high, boundary), upper)


def _within_noise(draws: FloatArray, point: FloatArray, boundary: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    equality = np.asarray(boundary, dtype=float)
    distance = (point - equality) ** 2
    noise = _moments((draws - equality) ** 2)[0] - distance
    return np.asarray(distance <= _EQUALITY * noise)


def holm(p: npt.ArrayLike) -> FloatArray:
    """Holm's step-down p-values of one family of tests (1979), in the order given: max_{j <= i} (m - j + 1) p_(j).

    A nan stays nan and is no member of the family.

    >>> holm([0.01, 0.04, np.nan, 0.03])
    array([0.03, 0.06,  nan, 0.06])
    """
    values = np.asarray(p, dtype=float)
    adjusted = np.full_like(values, np.nan)
    places = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]  # nan sorts last
    factors = np.arange(len(places), 0, -1)
    adjusted[places] = np.minimum(np.maximum.accumulate(factors * values[places]), 1)
    return adjusted
