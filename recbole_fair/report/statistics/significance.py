"""Is a row better than the reference? The rule of every claim here.

Shown: the paired 95 % interval over users and seeds excludes 0 on the better side, and Holm's p over all tests of the
table is at most .05. Opposite: the same on the other side. Else not shown, with the smallest difference that the test
would have found in four of five cases even if Holm had put it first, at .05 / number of tests. The seed is the larger
noise, so with fewer than three seeds on either side there is an interval over users and no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from recbole_fair.metrics import directions
from recbole_fair.metrics.bootstrap import holm, widened_interval
from recbole_fair.metrics.formulas import FloatArray
from recbole_fair.metrics.power import detectable
from recbole_fair.report.rows import Row
from recbole_fair.report.statistics.evaluated import LEVEL, Resampled, resampled, shared_users
from recbole_fair.report.statistics.evidence import Evidence

_ALPHA = 0.05
_FEWEST_USERS = 2
FEWEST_SEEDS = 3  # on either side, for a verdict


@dataclass(frozen=True)
class Difference:
    """Row less reference on one metric (best at a value: of each seed's distance from it)."""

    label: str
    key: str
    difference: float
    low: float
    high: float
    p: float  # Holm's, over the table
    detectable: float
    users: int
    verdict: str  # shown | opposite | not shown | no verdict
    seeds: int = FEWEST_SEEDS  # of the side that has fewer


def compare(evidence: Evidence, reference: Row, rows: Iterable[Row], keys: Sequence[str]) -> list[Difference]:
    """Every other row against the reference on every metric that has a better side.

    Collapsed rows are left out: that everybody is served alike is no fairness where all get the same answer.
    """
    places = [
        (row.label, key)
        for row in rows
        for key in keys
        if row.ranked and row.label != reference.label and _testable(evidence, row.label, reference.label, key)
    ]
    sides = {}
    for label, key in places:
        own, other = evidence.seeds[label, key], evidence.seeds[reference.label, key]
        users = shared_users([*own, *other])
        if len(users) >= _FEWEST_USERS:
            sides[label, key, True] = [one.of(users) for one in own]
            sides[label, key, False] = [one.of(users) for one in other]
    figures = {place: _judged(place[1], side) for place, side in resampled(sides)}
    tests = [
        _test((label, key), figures[label, key, True], figures[label, key, False], len(one.users), len(sides) // 2)
        for (label, key, own), (one, *_) in sides.items()
        if own
    ]
    adjusted = holm([test.p for test in tests])
    return [replace(test, p=float(p), verdict=_verdict(test, p)) for test, p in zip(tests, adjusted, strict=True)]


def _testable(evidence: Evidence, label: str, reference: str, key: str) -> bool:
    measured = all((name, key) in evidence.seeds for name in (label, reference))
    return measured and directions.best(key) is not None


def _judged(key: str, figures: Resampled) -> Resampled:
    """What is averaged over seeds and subtracted: the value, or its distance from the best value if there is one."""
    best = directions.best(key)
    if best is None or math.isinf(best):
        return figures
    return Resampled(np.abs(figures.seeds - best), np.abs(figures.draws - best))


def _test(place: tuple[str, str], own: Resampled, other: Resampled, users: int, tests: int) -> Difference:
    """The difference of the means over seeds; the noise of users by resampling them, that of seeds as Welch has it."""
    draws, point = own.drawn - other.drawn, own.point - other.point
    low, high = widened_interval(draws, point, LEVEL)
    seeds = min(len(own.seeds), len(other.seeds))
    enough_seeds = seeds >= FEWEST_SEEDS
    variances = [np.nanvar(draws), *(_of_seeds(side.seeds) if enough_seeds else 0.0 for side in (own, other))]
    freedom = _freedom(variances, [users, len(own.seeds), len(other.seeds)])
    error = math.sqrt(sum(variances))
    reach = special.stdtrit(freedom, (1 + LEVEL) / 2) * math.sqrt(sum(variances[1:]))
    low, high = point - math.hypot(point - low, reach), point + math.hypot(high - point, reach)
    p = _p(float(point), error, freedom)
    least = float(detectable(error, 1 - _ALPHA / tests, freedom=freedom))
    return Difference(*place, float(point), float(low), float(high), p, least, users, "", seeds)


def _of_seeds(figures: FloatArray) -> float:
    """Variance of the mean over seeds."""
    return float(np.nanvar(figures, ddof=1) / len(figures))


def _freedom(variances: Sequence[float], counts: Sequence[int]) -> float:
    """Welch and Satterthwaite: (sum v_i)^2 / sum v_i^2 / (n_i - 1), v_i the variance of a mean of n_i."""
    below = sum(v**2 / (n - 1) for v, n in zip(variances, counts, strict=True) if n > 1)
    return sum(variances) ** 2 / below if below else float(counts[0] - 1)


def _p(difference: float, error: float, freedom: float) -> float:
    """Two-sided, of a t with that many degrees of freedom; rows without any noise are equal or not."""
    if math.isnan(difference) or math.isnan(error):
        return math.nan
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * special.stdtr(freedom, -abs(difference) / error))


def _verdict(test: Difference, p: float) -> str:
    if test.seeds < FEWEST_SEEDS:
        return "no verdict"
    if not p <= _ALPHA or not (test.low > 0 or test.high < 0):
        return "not shown"
    sign = 1 if directions.best(test.key) == math.inf else -1
    return "shown" if np.sign(test.low) == sign else "opposite"
