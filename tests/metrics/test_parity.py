"""Rating unfairness and differential fairness against loops over items and pairs of groups."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recbole_fair.errors import UsageError
from recbole_fair.metrics import parity
from recbole_fair.metrics.parity import differential_fairness, item_errors, non_parity

pytestmark = pytest.mark.newest
fast = settings(max_examples=60, deadline=None)

RATING = st.integers(1, 10).map(lambda value: value / 2)
RATINGS = st.integers(1, 25).flatmap(
    lambda size: st.tuples(
        hnp.arrays(float, size, elements=RATING),
        hnp.arrays(float, size, elements=RATING),
        hnp.arrays(np.int64, size, elements=st.integers(0, 4)),
        hnp.arrays(np.int64, size, elements=st.integers(-1, 1)),  # group, -1 unknown
    )
)
Ratings = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

OF_TWO_MEANS = {
    "value_unfairness": lambda y, r, y_, r_: abs((y - r) - (y_ - r_)),
    "absolute_unfairness": lambda y, r, y_, r_: abs(abs(y - r) - abs(y_ - r_)),
    "underestimation_unfairness": lambda y, r, y_, r_: abs(max(0, r - y) - max(0, r_ - y_)),
    "overestimation_unfairness": lambda y, r, y_, r_: abs(max(0, y - r) - max(0, y_ - r_)),
}


def membership(groups: np.ndarray) -> np.ndarray:
    return np.stack([groups == 0, groups == 1], axis=1)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("name", OF_TWO_MEANS)
@fast
@given(RATINGS)
def test_rating_unfairness_against_a_loop_over_items(name: str, ratings: Ratings) -> None:
    predictions, truths, items, groups = ratings
    differences = []
    for item in set(items.tolist()):
        sides = []
        for group in (0, 1):
            rows = [row for row in range(len(items)) if items[row] == item and groups[row] == group]
            if rows:
                sides += [mean([predictions[row] for row in rows]), mean([truths[row] for row in rows])]
        if len(sides) == 4:
            differences.append(OF_TWO_MEANS[name](*sides))
    found = float(getattr(parity, name)(item_errors(predictions, truths, items, membership(groups))))
    assert found == pytest.approx(mean(differences) if differences else math.nan, abs=1e-12, nan_ok=True)


@fast
@given(RATINGS)
def test_non_parity_against_a_loop(ratings: Ratings) -> None:
    predictions, _, _, groups = ratings
    sides = [[p for p, g in zip(predictions.tolist(), groups, strict=True) if g == group] for group in (0, 1)]
    expected = abs(mean(sides[0]) - mean(sides[1])) if all(sides) else math.nan
    assert float(non_parity(predictions, membership(groups))) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("name", OF_TWO_MEANS)
@fast
@given(RATINGS, st.floats(-2, 2), st.data())
def test_properties_of_rating_unfairness(name: str, ratings: Ratings, shift: float, data) -> None:
    predictions, truths, items, groups = ratings
    function, member = getattr(parity, name), membership(groups)
    value = float(function(item_errors(predictions, truths, items, member)))
    swapped = function(item_errors(predictions, truths, items, member[:, ::-1]))
    assert float(swapped) == pytest.approx(value, nan_ok=True), "which group is g does not matter"
    exact = float(function(item_errors(truths, truths, items, member)))
    assert exact == 0 or (math.isnan(exact) and math.isnan(value)), "exact predictions are fair"
    if name == "value_unfairness":
        moved = function(item_errors(predictions + shift, truths, items, member))
        assert float(moved) == pytest.approx(value, abs=1e-9, nan_ok=True), "one shift for all is fair"
    times = data.draw(hnp.arrays(np.int64, len(items), elements=st.integers(0, 2)))
    rows = np.repeat(np.arange(len(items)), times)
    resample = function(item_errors(*(part[rows] for part in (predictions, truths, items, member))))
    weighted = function(item_errors(predictions, truths, items, member, times))
    assert float(weighted) == pytest.approx(float(resample), abs=1e-12, nan_ok=True)


def test_the_kinds_of_unfairness_are_told_apart() -> None:
    """One item: g predicted 1 too high, the others 1 too low; absolute unfairness does not see it."""
    errors = item_errors(np.array([4.0, 2.0]), np.array([3.0, 3.0]), np.array([0, 0]), membership(np.array([0, 1])))
    found = [float(getattr(parity, name)(errors)) for name in OF_TWO_MEANS]
    assert found == [2, 0, 1, 1]


def test_items_that_one_group_never_rated_do_not_count() -> None:
    ratings = np.array([5.0, 1.0, 3.0]), np.array([3.0, 3.0, 3.0]), np.array([0, 0, 2])
    errors = item_errors(*ratings, membership(np.array([0, 1, 0])))
    assert np.isnan(errors[2]).tolist() == [False, True]
    assert float(parity.value_unfairness(errors)) == 4


COUNTS = st.lists(
    st.integers(0, 8).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))), min_size=1, max_size=5
)


@fast
@given(COUNTS, st.sampled_from([0.1, 1.0, 4.0]))
def test_differential_fairness_against_all_pairs_of_groups(counts: list[tuple[int, int]], prior: float) -> None:
    present = [(yes, total) for yes, total in counts if total]
    epsilon = math.nan if len(present) < 2 else 0.0
    for (yes, total), (yes_, total_) in permutations(present, 2):
        p, q = (yes + prior / 2) / (total + prior), (yes_ + prior / 2) / (total_ + prior)
        epsilon = max(epsilon, abs(math.log(p / q)), abs(math.log((1 - p) / (1 - q))))
    yes, total = np.array(counts).T
    found = float(differential_fairness(yes, total, prior))
    assert found == pytest.approx(epsilon, abs=1e-12, nan_ok=True)
    turned = float(differential_fairness(total - yes, total, prior))
    assert turned == pytest.approx(found, abs=1e-12, nan_ok=True), "Yes and No count alike"


def test_differential_fairness_of_equal_groups_all_yes_and_none() -> None:
    total = np.array([10, 10])
    for yes in (0, 4, 10):
        assert float(differential_fairness(np.array([yes, yes]), total)) == 0
    assert math.isfinite(float(differential_fairness(np.array([0, 10]), total))), "the prior keeps it finite"
    by_item = differential_fairness(np.array([[1, 2], [3, 3], [0, 1]]), np.array([[4, 4], [3, 3], [0, 2]]))
    assert by_item.shape == (3,) and by_item[1] == 0 and math.isnan(by_item[2])


def test_refusals() -> None:
    three = np.ones((1, 3), dtype=bool)
    for call in (
        lambda: item_errors(np.ones(1), np.ones(1), np.zeros(1, dtype=int), three),
        lambda: non_parity(np.ones(1), three),
    ):
        with pytest.raises(UsageError, match="two groups, these are 3"):
            call()
    with pytest.raises(UsageError, match="concentration=0"):
        differential_fairness(np.ones(2), np.ones(2), 0)
