"""Intervals and tests over users, against scipy, closed forms, enumeration and simulated truth."""

from __future__ import annotations

import itertools
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
from recbole_fair.metrics import bootstrap
from recbole_fair.metrics.bootstrap import FloatArray, Run

pytestmark = pytest.mark.newest


def means(values: FloatArray) -> Run:
    """Figures that are plain means over all users."""
    return values, np.ones_like(values)


def simulated(users: int, seed: int = 0) -> Run:
    """Two metrics, of all users and of one user in four."""
    generator = np.random.default_rng(seed)
    member = np.column_stack([np.ones(users), np.arange(users) % 4 == 0]).astype(float)
    member = np.hstack([member, member])
    return generator.beta(1, 3, (users, 4)) * member, member


def spread(figures: FloatArray) -> FloatArray:
    """An aggregate over the last axis."""
    return figures.max(-1) - figures.min(-1)


# Drawing users


def test_weights_are_multinomial_counts() -> None:
    drawn = np.concatenate(list(bootstrap.weights(7, 20_000, 3)))
    assert drawn.shape == (20_000, 7)
    assert (drawn.sum(1) == 7).all()
    covariance = np.cov(drawn.T)
    np.testing.assert_allclose(drawn.mean(0), 1, atol=0.03)
    np.testing.assert_allclose(covariance, np.eye(7) - 1 / 7, atol=0.05)


def test_ratios_against_a_loop_over_the_same_draws() -> None:
    numerator, denominator = simulated(11)
    denominator[:, 3] = 0
    samples = bootstrap.ratio_samples(numerator, denominator, samples=40, seed=5)
    for row, counts in zip(samples, np.concatenate(list(bootstrap.weights(11, 40, 5))), strict=True):
        for column in range(4):
            top = sum(counts[user] * numerator[user, column] for user in range(11))
            bottom = sum(counts[user] * denominator[user, column] for user in range(11))
            assert row[column] == pytest.approx(top / bottom if bottom else np.nan, nan_ok=True)


def test_draws_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    run = simulated(50)
    first = bootstrap.ratio_samples(*run, samples=30, seed=1)
    assert np.array_equal(first, bootstrap.ratio_samples(*run, samples=30, seed=1))
    assert not np.array_equal(first, bootstrap.ratio_samples(*run, samples=30, seed=2))
    np.testing.assert_array_equal(first[:10], bootstrap.ratio_samples(*run, samples=10, seed=1))
    tested = bootstrap.paired(run, simulated(50, 1), samples=30)
    monkeypatch.setattr(bootstrap, "_CELLS", 120)
    np.testing.assert_allclose(bootstrap.ratio_samples(*run, samples=30, seed=1), first, rtol=1e-12)
    assert np.array_equal(bootstrap.paired(run, simulated(50, 1), samples=30).p, tested.p)


def test_users_without_a_value_are_users_of_the_sample() -> None:
    """Leaving them out beforehand would draw a fixed number of users who count: the spread of the count is lost."""
    numerator, denominator = np.zeros((40, 1)), np.zeros((40, 1))
    numerator[:5], denominator[:5] = 1, 1
    drawn = np.concatenate([chunk @ denominator for chunk in bootstrap.weights(40, 4000, 0)])
    assert drawn.var() == pytest.approx(40 * (5 / 40) * (35 / 40), rel=0.1)
    assert np.isnan(bootstrap.ratio_samples(numerator, denominator, samples=4000)).mean() == pytest.approx(
        (35 / 40) ** 40, abs=0.004
    )


def peak_of_samples(samples: int) -> int:
    """Bytes at the peak of 2,000 users x 3 figures."""
    run = means(np.random.default_rng(0).random((2000, 3)))
    tracemalloc.start()
    bootstrap.ratio_samples(*run, samples=samples)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_CELLS", 2000 * 8)
    few, many = peak_of_samples(50), peak_of_samples(1050)
    answer = 1000 * 3 * 8
    assert many - few < 4 * answer, "the answer, its parts and little else"
    assert 20 * many < 2000 * 1050 * 8, "all weights at once would be far more"


@pytest.mark.parametrize(
    ("numerator", "denominator", "says"),
    [
        (np.ones((3, 2)), np.ones((3, 1)), "two matrices"),
        (np.ones(3), np.ones(3), "two matrices"),
        (np.full((3, 1), np.nan), np.ones((3, 1)), "put 0 into"),
        (np.ones((3, 1)), np.full((3, 1), np.inf), "put 0 into"),
        (np.ones((0, 1)), np.ones((0, 1)), "0 users"),
    ],
)
def test_what_is_no_run_is_refused(numerator: FloatArray, denominator: FloatArray, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        bootstrap.ratio_samples(numerator, denominator)


def test_no_samples_are_refused() -> None:
    with pytest.raises(UsageError, match="0 samples"):
        bootstrap.ratio_samples(*simulated(5), samples=0)


# Intervals


def test_intervals_against_scipy() -> None:
    """BCa of a mean of symmetric values has no acceleration to speak of, so BC is its near neighbour."""
    values = np.random.default_rng(4).normal(size=80)
    draws = bootstrap.ratio_samples(*means(values[:, None]), samples=20_000)[:, 0]
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
    low, high = bootstrap.percentile_interval(bootstrap.ratio_samples(*means(values[:, None]), samples=4000))
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
    low, high = bootstrap.percentile_interval(bootstrap.ratio_samples(values, member, samples=2000))
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
        lambda: bootstrap.detectable(0.1, level),
        lambda: bootstrap.detectable(0.1, power=level),
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
        draws = spread(bootstrap.ratio_samples(values, member, samples=2000))
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


# Two runs


def swap_p(first: Run, second: Run, aggregate: Any) -> FloatArray:
    """All swaps, one user after another."""
    users = len(first[0])

    def difference(swaps: tuple[int, ...]) -> FloatArray:
        mixed = [
            [np.array([(second if swap ^ side else first)[part][user] for user, swap in enumerate(swaps)]).sum(0)
             for part in (0, 1)]
            for side in (0, 1)
        ]  # fmt: skip
        with np.errstate(invalid="ignore"):
            return aggregate(mixed[0][0] / mixed[0][1]) - aggregate(mixed[1][0] / mixed[1][1])

    observed = np.abs(difference((0,) * users))
    return np.mean(
        [np.abs(difference(swaps)) >= observed - 1e-12 for swaps in itertools.product((0, 1), repeat=users)], 0
    )


@pytest.mark.parametrize("aggregate", [lambda figures: figures, spread])
def test_p_of_few_users_is_exact(aggregate: Any) -> None:
    first, second = simulated(8), simulated(8, 1)
    found = bootstrap.paired(first, second, aggregate=aggregate, samples=10)
    assert found.p == pytest.approx(swap_p(first, second, aggregate))


def test_denominators_are_swapped_with_their_rows() -> None:
    """F1's denominators differ between runs."""
    generator = np.random.default_rng(3)
    first, second = ((generator.integers(0, 3, (7, 2)), generator.integers(3, 6, (7, 2))) for _ in range(2))
    found = bootstrap.paired(first, second, samples=10)
    assert found.p == pytest.approx(swap_p(first, second, lambda figures: figures))


def test_swaps_of_a_mean_are_sign_flips() -> None:
    """Against scipy's permutation test of paired samples, which flips signs."""
    first, second = (np.random.default_rng(seed).normal(size=10) for seed in (0, 1))
    theirs = stats.permutation_test(
        (first, second), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True
    )
    ours = bootstrap.paired(means(first[:, None]), means(second[:, None]), samples=10)
    assert ours.p[0] == pytest.approx(theirs.pvalue)


def test_p_of_many_users_approaches_the_paired_t_test_and_is_never_zero() -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(size=(500, 3))
    second = first + generator.normal([0.0, 0.05, 2.0], 0.5, (500, 3))
    found = bootstrap.paired(means(first), means(second), samples=4000)
    expected = stats.ttest_rel(first, second).pvalue
    assert found.p[:2] == pytest.approx(expected[:2], abs=0.03)
    assert found.p[2] == 1 / 4001
    assert found.difference == pytest.approx(first.mean(0) - second.mean(0))
    assert found.error == pytest.approx((first - second).std(0) / np.sqrt(500), rel=0.05)


def test_the_interval_is_of_the_difference_on_the_same_users() -> None:
    """Runs that hang together differ by less than their own intervals would allow."""
    generator = np.random.default_rng(0)
    first = generator.normal(size=(300, 1))
    second = first - 0.1 + generator.normal(0, 0.01, (300, 1))
    found = bootstrap.paired(means(first), means(second), samples=500)
    draws = bootstrap.ratio_samples(*means(first - second), samples=500)
    assert np.array([found.low, found.high]) == pytest.approx(np.array(bootstrap.percentile_interval(draws)))
    assert 0.09 < found.low[0] < found.high[0] < 0.11


@pytest.mark.parametrize("users", [6, 90])
def test_equal_runs_differ_by_nothing(users: int) -> None:
    run = means(np.random.default_rng(0).random((users, 3)))
    found = bootstrap.paired(
        run, (run[0].copy(), run[1].copy()), samples=50, aggregate=lambda x: np.stack([*x.T, spread(x)], -1)
    )
    for zero in (found.difference, found.low, found.high, found.error):
        assert (zero == 0).all()
    assert (found.p == 1).all()


def test_two_runs_that_hit_nothing_are_equal() -> None:
    run = means(np.zeros((20, 1)))
    found = bootstrap.paired(run, run, samples=30)
    assert (found.p, found.low, found.high) == (1, 0, 0)


def test_a_figure_that_one_run_lacks_has_no_p_though_mixtures_have_the_figure() -> None:
    first, second = means(np.ones((40, 1))), (np.zeros((40, 1)), np.zeros((40, 1)))
    assert np.isnan(bootstrap.paired(first, second, samples=30).p)


def test_exchanging_the_runs_turns_the_difference_round() -> None:
    first, second = simulated(60), simulated(60, 1)
    there, back = (
        bootstrap.paired(*pair, samples=200, aggregate=spread) for pair in ((first, second), (second, first))
    )
    assert there.difference == -back.difference
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p == back.p


def test_an_undefined_figure_has_neither_interval_nor_p() -> None:
    first, second = simulated(40), simulated(40, 1)
    for run in (first, second):
        run[0][:, 1], run[1][:, 1] = 0, 0
    found = bootstrap.paired(first, second, samples=100)
    for column in (found.difference, found.low, found.high, found.p, found.error):
        assert np.isnan(column).tolist() == [False, True, False, False]


def test_p_keeps_its_level_under_exchangeable_runs() -> None:
    """Which is what a swap test promises whatever the aggregate."""
    found = [
        bootstrap.paired(simulated(40, 2 * seed), simulated(40, 2 * seed + 1), samples=99, aggregate=spread).p
        for seed in range(400)
    ]
    assert np.mean(np.array(found) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_runs_on_other_users_are_refused() -> None:
    with pytest.raises(UsageError, match="the same users"):
        bootstrap.paired(simulated(5), simulated(6))


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
    true = bootstrap.detectable(error, 0.95, 0.8)
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
    draws = bootstrap.ratio_samples(numerator, denominator, samples=100)
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
