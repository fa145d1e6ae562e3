"""Intervals and tests over users, against scipy, closed forms, enumeration and simulated truth."""

from __future__ import annotations

import runpy
import tracemalloc
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from recbole_fair.errors import UsageError
from recbole_fair.metrics import bootstrap, power
from recbole_fair.metrics.formulas import FloatArray, Terms
from recbole_fair.metrics.intervals import Resampling, drawn

pytestmark = pytest.mark.newest


def ratio_samples(numerator: FloatArray, denominator: FloatArray, *, samples: int = 1000, seed: int = 0) -> FloatArray:
    """The figures of `samples` draws of users, [S, C], as the intervals of a run are made of."""
    return drawn({"": Terms(numerator, denominator)}, len(numerator), Resampling(0.95, samples, seed))[""]


def means(values: FloatArray) -> Terms:
    """Figures that are plain means over all users."""
    return Terms(values, np.ones_like(values))


def simulated(users: int, seed: int = 0) -> Terms:
    """Two metrics, of all users and of one user in four."""
    generator = np.random.default_rng(seed)
    member = np.column_stack([np.ones(users), np.arange(users) % 4 == 0]).astype(float)
    member = np.hstack([member, member])
    return Terms(generator.beta(1, 3, (users, 4)) * member, member)


def spread(figures: FloatArray) -> FloatArray:
    """An aggregate over the last axis."""
    return figures.max(-1) - figures.min(-1)


# Drawing users


def test_weights_are_multinomial_counts() -> None:
    drawn = np.concatenate(list(bootstrap.counts(7, 20_000, 3)))
    assert drawn.shape == (20_000, 7)
    assert (drawn.sum(1) == 7).all()
    covariance = np.cov(drawn.T)
    np.testing.assert_allclose(drawn.mean(0), 1, atol=0.03)
    np.testing.assert_allclose(covariance, np.eye(7) - 1 / 7, atol=0.05)


def test_ratios_against_a_loop_over_the_same_draws() -> None:
    numerator, denominator = simulated(11)
    denominator[:, 3] = 0
    samples = ratio_samples(numerator, denominator, samples=40, seed=5)
    for row, counts in zip(samples, np.concatenate(list(bootstrap.counts(11, 40, 5))), strict=True):
        for column in range(4):
            top = sum(counts[user] * numerator[user, column] for user in range(11))
            bottom = sum(counts[user] * denominator[user, column] for user in range(11))
            assert row[column] == pytest.approx(top / bottom if bottom else np.nan, nan_ok=True)


def test_draws_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    run = simulated(50)
    first = ratio_samples(*run, samples=30, seed=1)
    assert np.array_equal(first, ratio_samples(*run, samples=30, seed=1))
    assert not np.array_equal(first, ratio_samples(*run, samples=30, seed=2))
    np.testing.assert_array_equal(first[:10], ratio_samples(*run, samples=10, seed=1))
    monkeypatch.setattr(bootstrap, "_CELLS", 120)
    monkeypatch.setattr(bootstrap, "_FEW", 120)
    np.testing.assert_allclose(ratio_samples(*run, samples=30, seed=1), first, rtol=1e-12)


def test_users_without_a_value_are_users_of_the_sample() -> None:
    """Leaving them out beforehand would draw a fixed number of users who count: the spread of the count is lost."""
    numerator, denominator = np.zeros((40, 1)), np.zeros((40, 1))
    numerator[:5], denominator[:5] = 1, 1
    drawn = np.concatenate([chunk @ denominator for chunk in bootstrap.counts(40, 4000, 0)])
    assert drawn.var() == pytest.approx(40 * (5 / 40) * (35 / 40), rel=0.1)
    assert np.isnan(ratio_samples(numerator, denominator, samples=4000)).mean() == pytest.approx(
        (35 / 40) ** 40, abs=0.004
    )


def peak_of_samples(samples: int) -> int:
    """Bytes at the peak of 2,000 users x 3 figures."""
    run = means(np.random.default_rng(0).random((2000, 3)))
    tracemalloc.start()
    ratio_samples(*run, samples=samples)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_CELLS", 2000 * 8)
    monkeypatch.setattr(bootstrap, "_FEW", 2000 * 8)
    few, many = peak_of_samples(50), peak_of_samples(1050)
    answer = 1000 * 3 * 8
    assert many - few < 4 * answer, "the answer, its parts and little else"
    assert 20 * many < 2000 * 1050 * 8, "all weights at once would be far more"


@pytest.mark.parametrize(("users", "samples"), [(0, 1), (5, 0)])
def test_neither_no_users_nor_no_samples(users: int, samples: int) -> None:
    with pytest.raises(UsageError, match=f"{users} users with {samples} samples"):
        list(bootstrap.counts(users, samples, 0))


# Intervals


def test_intervals_against_scipy() -> None:
    """BCa of a mean of symmetric values has no acceleration to speak of, so BC is its near neighbour."""
    values = np.random.default_rng(4).normal(size=80)
    draws = ratio_samples(*means(values[:, None]), samples=20_000)[:, 0]
    percentile, corrected = (
        stats.bootstrap((values,), np.mean, n_resamples=20_000, method=method, random_state=1).confidence_interval
        for method in ("percentile", "BCa")
    )
    step = 0.03 * values.std() / np.sqrt(80) * 4
    assert bootstrap.percentile_interval(draws) == pytest.approx(percentile, abs=step)
    assert bootstrap.bias_corrected_interval(draws, values.mean()) == pytest.approx(corrected, abs=step)


def test_quantiles_of_the_same_draws_are_numpys_and_bc_is_scipys_formula() -> None:
    generator = np.random.default_rng(0)
    draws = generator.gamma(2.0, size=(500, 3))
    point = np.array([1.0, 2.0, 2.5])
    expected = np.quantile(draws, [0.05, 0.95], axis=0)
    np.testing.assert_allclose(bootstrap.percentile_interval(draws, 0.9), expected)
    for column in range(3):
        centre = stats.norm.ppf(stats.percentileofscore(draws[:, column], point[column], kind="mean") / 100)
        shares = stats.norm.cdf(2 * centre + stats.norm.ppf([0.05, 0.95]))
        low, high = bootstrap.bias_corrected_interval(draws, point, 0.9)
        assert (low[column], high[column]) == pytest.approx(np.quantile(draws[:, column], shares))


def test_large_samples_give_the_normal_interval() -> None:
    values = np.random.default_rng(8).beta(2, 5, 4000)
    low, high = bootstrap.percentile_interval(ratio_samples(*means(values[:, None]), samples=4000))
    half = NormalDist().inv_cdf(0.975) * values.std() / np.sqrt(4000)
    assert (low[0], high[0]) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 10)


@pytest.mark.parametrize(("undefined", "defined"), [(30, True), (31, False), (1000, False)])
def test_undefined_draws(undefined: int, defined: bool) -> None:
    draws = np.random.default_rng(0).random((1000, 2))
    draws[:undefined, 0] = np.nan
    point = np.array([0.5, 0.5])
    for low, high in (
        bootstrap.percentile_interval(draws),
        bootstrap.bias_corrected_interval(draws, point),
        bootstrap.widened_interval(draws, point, boundary=0.0),
    ):
        assert np.isnan([low[0], high[0]]).tolist() == [not defined] * 2
        assert np.isfinite([low[1], high[1]]).all()
    if defined:
        expected = np.nanquantile(draws[:, 0], [0.025, 0.975])
        assert np.array(bootstrap.percentile_interval(draws))[:, 0] == pytest.approx(expected)


def test_a_group_of_three_users_has_no_interval_and_one_of_five_has() -> None:
    member = np.column_stack([np.arange(2000) < 3, np.arange(2000) < 5]).astype(float)
    values = np.random.default_rng(0).random((2000, 2)) * member
    low, high = bootstrap.percentile_interval(ratio_samples(values, member, samples=2000))
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True, False]


def test_a_point_outside_all_draws_has_no_bias_correction() -> None:
    draws = np.linspace(1, 2, 100)
    for point in (0.5, 3.0, np.nan):
        assert np.isnan(bootstrap.bias_corrected_interval(draws, point)).all()
    same = np.full(100, 0.3)
    assert bootstrap.bias_corrected_interval(same, np.float64(0.3)) == (0.3, 0.3)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 0.98), st.floats(0.05, 0.98), st.integers(0, 1000))
def test_a_higher_level_is_a_wider_interval(one: float, other: float, seed: int) -> None:
    draws = np.random.default_rng(seed).normal(size=200)
    (low, high), (wide_low, wide_high) = (bootstrap.percentile_interval(draws, level) for level in sorted([one, other]))
    assert wide_low <= low <= high <= wide_high


@pytest.mark.parametrize("level", [0.0, 1.0, 95, np.nan])
def test_a_level_is_a_share(level: float) -> None:
    draws = np.arange(10.0)
    for ask in (
        lambda: bootstrap.percentile_interval(draws, level),
        lambda: bootstrap.bias_corrected_interval(draws, np.float64(4), level),
        lambda: power.detectable(0.1, level),
        lambda: power.detectable(0.1, power=level),
    ):
        with pytest.raises(UsageError, match="a share between 0 and 1"):
            ask()


# What leans on a boundary


def test_the_mark_is_a_bias_of_a_quarter_of_the_spread() -> None:
    draws = np.random.default_rng(0).normal(size=(4000, 2))
    draws = (draws - draws.mean(0)) / draws.std(0)
    for point, marked in ((0.24, False), (0.26, True), (-0.24, False), (-0.26, True)):
        assert (bootstrap.near_boundary(draws, np.full(2, point)) == marked).all()
    assert not bootstrap.near_boundary(np.full(50, 0.1), np.float64(0.1)), "no spread and no bias"
    assert not bootstrap.near_boundary(np.full(50, np.nan), np.float64(0.1)), "nothing to mark"


def test_equal_groups_are_marked_and_reach_the_boundary_and_unequal_ones_are_not() -> None:
    member = np.eye(4)[np.arange(400) % 4]
    for means_of, marked in ((np.full(4, 0.5), True), (np.array([0.1, 0.3, 0.6, 0.9]), False)):
        values = (np.random.default_rng(0).random((400, 1)) < means_of) * member
        draws = spread(ratio_samples(values, member, samples=2000))
        point = spread(values.sum(0) / member.sum(0))
        assert bootstrap.near_boundary(draws, point) == marked
        plain, wide = bootstrap.percentile_interval(draws), bootstrap.widened_interval(draws, point, boundary=0)
        assert plain[0] > 0
        assert wide == ((0, plain[1]) if marked else plain), "never beyond the boundary"


def test_without_a_boundary_a_marked_interval_takes_in_its_reflection() -> None:
    draws = np.random.default_rng(0).random(1000)  # an interval of about [.025, .975]
    low, high = bootstrap.percentile_interval(draws)
    assert bootstrap.widened_interval(draws, np.float64(0.9)) == (low, pytest.approx(1.8 - low))
    assert bootstrap.widened_interval(draws, np.float64(0.1)) == (pytest.approx(0.2 - high), high)
    assert bootstrap.widened_interval(draws, np.float64(0.9), boundary=1) == (low, 1)


# Families of tests, power, seeds


def holm_by_hand(p: list[float]) -> list[float]:
    """Step down: the smallest times m, the next times m - 1, none below the one before."""
    left = sorted(value for value in p if value == value)
    adjusted: dict[float, float] = {}
    worst = 0.0
    for place, value in enumerate(left):
        worst = max(worst, (len(left) - place) * value)
        adjusted[value] = max(adjusted.get(value, 0.0), min(1.0, worst))
    return [adjusted.get(value, float("nan")) for value in p]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan")), st.sampled_from([0.01, 0.02])), max_size=12))
def test_holm_against_a_loop(p: list[float]) -> None:
    assert bootstrap.holm(p) == pytest.approx(holm_by_hand(p), nan_ok=True)


def test_holm_of_a_worked_example() -> None:
    assert bootstrap.holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert bootstrap.holm([0.01, np.nan]).tolist() == pytest.approx([0.01, np.nan], nan_ok=True)


def test_what_is_detectable_is_found_with_that_power() -> None:
    """A z-test of simulated differences of exactly that size."""
    error = 1.5 / np.sqrt(200)
    true = power.detectable(error, 0.95, 0.8)
    assert true == pytest.approx((1.959964 + 0.841621) * error, rel=1e-6)
    seen = np.random.default_rng(0).normal(true, error, 20_000)
    assert np.mean(np.abs(seen) > 1.959964 * error) == pytest.approx(0.8, abs=0.01)


# Coverage of the intervals (benchmarks/coverage.py)


@pytest.fixture(scope="module")
def study() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "coverage.py"))


@pytest.mark.parametrize("world", ["EQUAL", "NEAR", "FAR"])
def test_the_truth_of_the_simulated_users(study: dict[str, Any], world: str) -> None:
    ((numerator, denominator),) = study["draw"]((study[world],), 60_000, np.random.default_rng(0))
    draws = ratio_samples(numerator, denominator, samples=100)
    assert np.abs(draws.mean(0) - study["truth"](study[world])).max() < 4 * draws.std(0).max()
    assert (np.abs(draws.mean(0) - study["truth"](study[world])) < 4.5 * draws.std(0)).all()


def test_coverage_in_small(study: dict[str, Any]) -> None:
    found = study["single"](study["FAR"], 60, 200, 200)
    assert (found.percentile[:2] > 0.95 - 4 * np.sqrt(0.05 * 0.95 / 60)).all()
    equal = study["single"](study["EQUAL"], 20, 200, 200)
    cv = study["NAMES"].index("CV of ages")
    assert equal.percentile[cv] == equal.bias_corrected[cv] == 0, "no quantile of the draws is as low as 0"
    assert equal.marked[cv] > 0.8
    assert equal.widened[cv] > 0.8


@pytest.mark.slow
def test_coverage(study: dict[str, Any]) -> None:
    for world in ("EQUAL", "NEAR", "FAR"):
        found = study["single"](study[world], 500, 400, 300)
        assert (np.abs(found.percentile[:2] - 0.95) < 3.5 * np.sqrt(0.05 * 0.95 / 500)).all(), world
        assert (found.widened[2:] >= found.percentile[2:]).all()
        assert (found.marked[:2] == 0).all()
        assert (found.marked[2:].mean() > 0.6) == (world != "FAR")
    same = study["pair"]((study["NEAR"], study["NEAR"]), 300, 400, 300)
    assert (same.held > 0.9).all()
    assert (same.rejected < 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / 300)).all()
