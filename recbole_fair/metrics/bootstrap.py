"""How sure one can be: intervals and tests that resample users.

Users are the unit: a user's list, hits and answers hang together, so all that belongs to a user is drawn together, and
every figure, group mean and aggregate comes from the same drawn users. A run is two matrices, [U, C] each, and figure c
is sum_u numerator[u, c] / sum_u denominator[u, c]; a user without a value has 0 in both and is a user all the same.
Equal seeds draw equal users, so samples of two runs on the same users can be subtracted.

What not to conclude: an interval is over users, given this trained model and this split; another seed may lie outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy import special

from recbole_fair.errors import UsageError

FloatArray = npt.NDArray[np.float64]
Interval = tuple[FloatArray, FloatArray]
Run = tuple[FloatArray, FloatArray]  # numerator and denominator, [U, C] each
Aggregate = Callable[[FloatArray], FloatArray]  # [..., C] -> [...] or [..., A]

_NORMAL = NormalDist()
_cdf = np.vectorize(_NORMAL.cdf, otypes=[float])
_quantile = np.vectorize(_NORMAL.inv_cdf, otypes=[float])

_CELLS = 1 << 24  # weights held at once: 128 MiB
_EXACT_USERS = 12  # up to here all 2^U swaps are tried
# A group of n users is missing from a share e^-n of the samples: 5 % for three users, 1.8 % for four.
_MOST_UNDEFINED = 0.03
_ROUNDING = 1e-9
NOISE = "noise adds to the differences in"  # how a warning of near_boundary begins; tables mark the cells instead
_EQUALITY = 2.5  # of the noise, squared: how far from equality equal groups come (benchmarks/coverage.py)


def weights(users: int, samples: int, seed: int) -> Iterator[FloatArray]:
    """How often each user is drawn, a chunk [s, U] at a time: for statistics that are no ratios of sums (AUC, Gini).

    Each row is one multinomial(U, 1/U) draw and does not depend on how rows are cut into chunks.
    """
    generator = np.random.default_rng(seed)
    for size in _chunk_sizes(users, samples):
        drawn = np.empty((size, users))
        for row in drawn:
            row[:] = np.bincount(generator.integers(users, size=users), minlength=users)
        yield drawn


def _chunk_sizes(users: int, samples: int) -> Iterator[int]:
    if min(users, samples) < 1:
        raise UsageError(f"bootstrap of {users} users with {samples} samples: at least one of each is needed")
    size = max(1, _CELLS // users)
    for start in range(0, samples, size):
        yield min(size, samples - start)


def ratio_samples(numerator: FloatArray, denominator: FloatArray, *, samples: int = 1000, seed: int = 0) -> FloatArray:
    """The figures of `samples` draws of users, [S, C]; 0/0 is nan: nobody who counts was drawn.

    >>> ratio_samples(np.array([[1.0, 0.0]] * 4), np.array([[2.0, 0.0]] * 4), samples=2)
    array([[0.5, nan],
           [0.5, nan]])
    """
    run = _checked((numerator, denominator))
    return np.concatenate([_figures(run, drawn) for drawn in weights(len(run[0]), samples, seed)])


def _checked(run: Run) -> Run:
    numerator, denominator = (np.asarray(matrix, dtype=float) for matrix in run)
    if numerator.ndim != 2 or numerator.shape != denominator.shape:
        raise UsageError(
            f"numerator {numerator.shape} and denominator {denominator.shape}: two matrices [users, figures]"
        )
    for matrix in (numerator, denominator):
        if not np.isfinite(matrix.sum()):  # no mask: it would be an eighth of the matrix
            raise UsageError("a user's figure is nan or infinite: put 0 into numerator and denominator where undefined")
    return numerator, denominator


def _figures(run: Run, drawn: FloatArray) -> FloatArray:
    numerator, denominator = run
    return _ratio(drawn @ numerator, drawn @ denominator)


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)


def percentile_interval(draws: FloatArray, level: float = 0.95) -> Interval:
    """Quantiles (1 - level)/2 and (1 + level)/2 of the draws [S, ...], linear between order statistics.

    Undefined draws are left out. With more than 3 % of them the interval is nan: so it is, but for chance, where three
    users or fewer have the figure.

    >>> percentile_interval(np.arange(101.0), 0.9)
    (array(5.), array(95.))
    """
    tail = np.full(draws.shape[1:], (1 - _checked_level(level)) / 2, dtype=np.float64)
    return _between(draws, tail, 1 - tail)


def _checked_level(level: float) -> float:
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
    reach = _NORMAL.inv_cdf((1 + _checked_level(level)) / 2)
    return _between(draws, _cdf(2 * centre - reach), _cdf(2 * centre + reach))


def _share_below(draws: FloatArray, point: FloatArray) -> FloatArray:
    below, not_above = (draws < point).sum(axis=0), (draws <= point).sum(axis=0)
    share = _ratio((below + not_above) / 2, _defined(draws))
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
    mean = _ratio(np.asarray(np.nansum(draws, axis=0)), count)
    return mean, np.sqrt(_ratio(np.asarray(np.nansum((draws - mean) ** 2, axis=0)), count))


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


@dataclass(frozen=True)
class Paired:
    """First run less second: [...] each, nan where undefined."""

    difference: FloatArray
    low: FloatArray
    high: FloatArray
    p: FloatArray
    error: FloatArray  # standard error of the difference, for `detectable`


def _as_they_are(figures: FloatArray) -> FloatArray:
    return figures


def paired(
    first: Run,
    second: Run,
    *,
    aggregate: Aggregate = _as_they_are,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Paired:
    """Compare two runs on the same users, row by row: interval by drawing users for both, p by swapping their rows.

    `aggregate` makes what is compared from the C figures (CV, MIN, several at once); by default each figure itself.
    p is the share of random swaps of the two runs' rows, user by user, whose difference is at least as large in
    absolute value: (1 + #)/(1 + S), or exact over all 2^U swaps up to 12 users. For means it is the sign-flip test.
    The hypothesis is that the runs are exchangeable, which is more than an equal aggregate: a small p of a CV may also
    stem from a difference in accuracy, so a claim about fairness needs the interval besides.
    """
    first, second = _checked(first), _checked(second)
    if first[0].shape != second[0].shape:
        raise UsageError(
            f"paired runs of {first[0].shape} and {second[0].shape}: the same users and figures are needed"
        )
    pair = [aggregate(_figures(run, np.ones((1, len(run[0])))))[0] for run in (first, second)]
    drawn = [aggregate(ratio_samples(*run, samples=samples, seed=seed)) for run in (first, second)]
    point, draws = np.subtract(*pair), np.subtract(*drawn)
    swapped = [_swap_differences(first, second, aggregate, swaps) for swaps in _swaps(len(first[0]), samples, seed)]
    least = np.abs(point) - _ROUNDING * (np.abs(pair[0]) + np.abs(pair[1]))  # a tie is a tie whatever the order of sums
    p = _share_reached(np.concatenate(swapped), least, exact=len(first[0]) <= _EXACT_USERS)
    return Paired(point, *widened_interval(draws, point, level), p, _moments(draws)[1])


def _swaps(users: int, samples: int, seed: int) -> Iterator[FloatArray]:
    """Which users' rows change sides, [s, U] of 0 and 1."""
    if users <= _EXACT_USERS:
        yield (np.arange(1 << users)[:, None] >> np.arange(users) & 1).astype(float)
        return
    generator = np.random.default_rng(seed)
    for size in _chunk_sizes(users, samples):
        swaps = np.empty((size, users))
        for row in swaps:
            row[:] = generator.integers(2, size=users)
        yield swaps


def _swap_differences(first: Run, second: Run, aggregate: Aggregate, swaps: FloatArray) -> FloatArray:
    moved = [swaps @ (other - own) for own, other in zip(first, second, strict=True)]  # from the second to the first
    mixed = [
        _ratio(*(run.sum(axis=0) + sign * change for run, change in zip(side, moved, strict=True)))
        for side, sign in ((first, 1), (second, -1))
    ]
    return np.subtract(*map(aggregate, mixed))


def _share_reached(draws: FloatArray, least: FloatArray, *, exact: bool) -> FloatArray:
    """Share of draws [S, ...] of size `least` or more; the observed run counts as a draw unless it is among them."""
    observed = 0 if exact else 1
    reached = np.asarray((np.abs(draws) >= least).sum(axis=0) + observed, dtype=float)
    share = _ratio(reached, _defined(draws) + observed)
    return np.where(_enough(draws) & ~np.isnan(least), share, np.nan)


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


def detectable(error: npt.ArrayLike, level: float = 0.95, power: float = 0.8, freedom: float = math.inf) -> FloatArray:
    """The smallest true difference that a two-sided t-test at `level` would show with probability `power`.

    d * standard error, where a t of non-centrality d exceeds t_(1 + level)/2 with that probability; for a mean the
    error is sd of the users' differences / sqrt(U). Without `freedom`, a normal's: d = z_(1 + level)/2 + z_power.

    >>> print(detectable(0.01).round(4), detectable(0.01, freedom=4).round(4))
    0.028 0.0376
    """
    threshold = special.stdtrit(freedom, (1 + _checked_level(level)) / 2)
    reach = special.nctdtrinc(freedom, 1 - _checked_level(power), threshold)
    return np.asarray(reach * np.asarray(error, dtype=float))
