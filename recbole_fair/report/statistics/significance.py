"""Is a row better than the reference? The rule of every claim here.

Shown: the paired 95 % interval over users excludes 0 on the better side, and Holm's p over all tests of the table is
at most .05. Opposite: the same on the other side. Else not shown, with the smallest difference that the test would
have found in four of five cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recbole_fair.metrics import directions
from recbole_fair.metrics.bootstrap import FloatArray, Paired, detectable, holm, paired
from recbole_fair.report.rows import Row
from recbole_fair.report.statistics.evidence import SEED, Evidence, same_users, stacked
from recbole_fair.report.statistics.sums import Sums, seeds_averaged, seeds_side_by_side, shared_users

_ALPHA = 0.05
_LEAST_SAMPLES = 1000
_FEWEST_USERS = 2


@dataclass(frozen=True)
class Difference:
    """Row less reference on one metric (for a metric that is best at a value: of the distances from it)."""

    label: str
    key: str
    difference: float
    low: float
    high: float
    p: float  # Holm's, over the table
    detectable: float
    users: int
    verdict: str  # shown | opposite | not shown


def compare(evidence: Evidence, reference: Row, rows: Iterable[Row], keys: Sequence[str]) -> list[Difference]:
    """Every other row against the reference on every metric that has a better side.

    Collapsed rows are left out: that everybody is served alike is no fairness where all get the same answer.
    """
    sides = {
        (row.label, key): _sides(evidence, row.label, reference.label, key)
        for row in rows
        for key in keys
        if row.ranked and row.label != reference.label and _testable(evidence, row.label, reference.label, key)
    }
    sides = {place: pair for place, pair in sides.items() if len(pair[0].users) >= _FEWEST_USERS}
    samples = _samples(len(sides))
    tests = [
        test
        for places in same_users({place: pair[0] for place, pair in sides.items()})
        for test in _tests(places, [sides[place] for place in places], samples)
    ]
    adjusted = holm([test.p for test in tests])
    settled = [replace(test, p=float(p), verdict=_verdict(test, p)) for test, p in zip(tests, adjusted, strict=True)]
    order = {place: number for number, place in enumerate(sides)}
    return sorted(settled, key=lambda test: order[test.label, test.key])


def _testable(evidence: Evidence, label: str, reference: str, key: str) -> bool:
    known = all((name, key) in evidence.seeds for name in (label, reference))
    return known and directions.best(key) is not None


def _samples(tests: int) -> int:
    """So many that the smallest possible p stays below .05 when Holm multiplies it by the number of tests."""
    return max(_LEAST_SAMPLES, math.ceil(tests / _ALPHA / 1000) * 1000)


def _sides(evidence: Evidence, label: str, reference: str, key: str) -> tuple[Sums, Sums]:
    """The two rows on the users they share; seed by seed where both have as many, else each averaged."""
    own, other = evidence.seeds[label, key], evidence.seeds[reference, key]
    users = shared_users([*own, *other])
    join = seeds_side_by_side if len(own) == len(other) else seeds_averaged
    first, second = join(own, users), join(other, users)
    return _judged(first, key), _judged(second, key)


def _judged(one: Sums, key: str) -> Sums:
    """What is subtracted: the value, or its distance from the best value if there is one."""
    if directions.best(key) == math.inf:
        return one
    return replace(one, reduce=lambda figures: directions.cost(key, one.reduce(figures)))


def _tests(places: Sequence[tuple[str, str]], sides: Sequence[tuple[Sums, Sums]], samples: int) -> list[Difference]:
    numerator, denominator, each = stacked([own for own, _ in sides])
    second = stacked([other for _, other in sides])[:2]
    found = paired((numerator, denominator), second, aggregate=each, samples=samples, seed=SEED)
    return [_test(place, found, number, len(numerator)) for number, place in enumerate(places)]


def _test(place: tuple[str, str], found: Paired, number: int, users: int) -> Difference:
    columns: tuple[FloatArray, ...] = (found.difference, found.low, found.high, found.p, detectable(found.error))
    difference, low, high, p, least = (float(column[number]) for column in columns)
    return Difference(*place, difference, low, high, p, least, users, "")


def _verdict(test: Difference, p: float) -> str:
    if not p <= _ALPHA or not (test.low > 0 or test.high < 0):
        return "not shown"
    sign = 1 if directions.best(test.key) == math.inf else -1
    return "shown" if np.sign(test.low) == sign else "opposite"
