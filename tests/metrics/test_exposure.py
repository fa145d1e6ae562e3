"""Exposure, REO, RSP, long tail and inequality against plain loops over lists."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from recbole_fair.errors import UsageError
from recbole_fair.metrics import exposure as formulas
from recbole_fair.metrics.catalogue import Catalogue, average_popularity, tail_percentage
from recbole_fair.metrics.declared import HOST
from recbole_fair.metrics.exposure import coverage, entropy, exposure, gini, merit, times_listed
from recbole_fair.metrics.formulas import cv
from recbole_fair.metrics.metric import OfCatalogue

pytestmark = pytest.mark.newest
fast = settings(max_examples=60, deadline=None)


class Lists(NamedTuple):
    lists: np.ndarray  # [U, K]
    membership: np.ndarray  # [I, G]
    random: np.random.Generator


def make(seed: int, users: int, depth: int, items: int, groups: int) -> Lists:
    """Lists without repetition, some short, one perhaps empty; items of several groups and of none."""
    random = np.random.default_rng(seed)
    lists = np.zeros((users, depth), dtype=np.int64)
    for user in range(users):
        length = random.integers(0, min(depth, items - 1) + 1)
        lists[user, :length] = random.choice(np.arange(1, items), length, replace=False)
    membership = random.random((items, groups)) < 0.5
    membership[0] = False
    return Lists(lists, membership, random)


CASES = st.builds(
    make, st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6), st.integers(2, 12), st.integers(1, 4)
)


@pytest.mark.parametrize("discount", ["none", "log"])
@fast
@given(CASES)
def test_exposure_against_a_loop(discount: str, case: Lists) -> None:
    shares = exposure(case.lists, case.membership, discount).value()
    for g in range(case.membership.shape[1]):
        above, below = 0.0, 0.0
        for listed in case.lists:
            for rank, item in enumerate(listed, start=1):
                seen = 1 / math.log2(rank + 1) if discount == "log" else 1.0
                above += seen * case.membership[item, g]
                below += seen * (item > 0)
        assert shares[g] == pytest.approx(above / below if below else math.nan, nan_ok=True)


@fast
@given(CASES)
def test_groups_that_partition_the_catalogue_share_all_exposure(case: Lists) -> None:
    first = case.membership[:, :1]
    partition = np.c_[first, ~first]
    partition[0] = False
    for discount in ("none", "log"):
        total = exposure(case.lists, partition, discount).value().sum()
        assert total == pytest.approx(1.0 if case.lists.any() else math.nan, nan_ok=True)


def test_the_discount_favours_the_group_on_top() -> None:
    lists, membership = np.array([[1, 2], [1, 2]]), np.array([[0, 0], [1, 0], [0, 1]], dtype=bool)
    np.testing.assert_allclose(exposure(lists, membership).value(), [0.5, 0.5])
    low = 1 / math.log2(3)
    np.testing.assert_allclose(exposure(lists, membership, "log").value(), [1 / (1 + low), low / (1 + low)])


@fast
@given(CASES)
def test_exposure_to_merit_against_a_loop(case: Lists) -> None:
    relevant = case.random.integers(0, 3, (len(case.lists), case.membership.shape[1]))
    held_out = relevant.sum(1) + case.random.integers(0, 2, len(relevant))
    shares, deserved = exposure(case.lists, case.membership).value(), merit(relevant, held_out).value()
    found = formulas.exposure_to_merit(shares, deserved)
    slots = int((case.lists > 0).sum())
    for g in range(relevant.shape[1]):
        shown = sum(case.membership[item, g] for item in case.lists.ravel())
        liked = sum(relevant[:, g])
        expected = (shown / slots) / (liked / sum(held_out)) if slots and liked else math.nan
        assert found[g] == pytest.approx(expected, nan_ok=True)


@fast
@given(CASES)
def test_awrf_and_mmf_against_loops(case: Lists) -> None:
    groups = case.membership.shape[1]
    shown, places = [0.0] * groups, [0.0] * groups
    for listed in case.lists:
        for rank, item in enumerate(listed, start=1):
            for g in range(groups):
                shown[g] += case.membership[item, g] / math.log2(rank + 1)
                places[g] += case.membership[item, g]
    sizes = [int(case.membership[1:, g].sum()) for g in range(groups)]
    discounted = exposure(case.lists, case.membership, "log").value()
    for target, found in (
        (sizes, formulas.awrf(discounted, formulas.population(case.membership, len(case.lists)).value())),
        ([1] * groups, formulas.awrf_uniform(discounted)),
    ):
        if groups < 2 or not sum(shown) or not sum(target):
            assert math.isnan(float(found))
            continue
        distance = jensenshannon(np.array(shown) / sum(shown), np.array(target) / sum(target), base=2) ** 2
        distance = np.nan_to_num(distance)  # scipy takes the root of a rounding below 0 where both are equal
        assert float(found) == pytest.approx(distance, abs=1e-9)
    share = formulas.max_min_share(exposure(case.lists, case.membership).value())
    defined = groups > 1 and sum(places) > 0
    expected = sum(sorted(places)[: groups // 2]) / sum(places) if defined else math.nan
    assert float(share) == pytest.approx(expected, nan_ok=True)


def test_awrf_and_mmf_of_resamplings_and_of_absent_groups() -> None:
    shown, target = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[0.5, 0.5], [0.0, 1.0]])
    np.testing.assert_allclose(formulas.awrf(shown, target), [0, 1])
    assert float(formulas.awrf(np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.6, np.nan]))) == pytest.approx(0)
    assert float(formulas.max_min_share(np.array([0.6, np.nan, 0.2, 0.2]))) == pytest.approx(0.2)
    assert math.isnan(float(formulas.max_min_share(np.array([0.6, np.nan]))))


def slow_relative_deviation(values: list[float]) -> float:
    present = [value for value in values if not math.isnan(value)]
    mean = sum(present) / len(present) if present else 0
    if len(present) < 2 or not mean:
        return math.nan
    return math.sqrt(sum((value - mean) ** 2 for value in present) / len(present)) / mean


@fast
@given(CASES)
def test_reo_and_rsp_against_sets(case: Lists) -> None:
    """P(R@K | g, y=1) and P(R@K | g) from sets of liked, listed and trained items."""
    catalogue = range(1, len(case.membership))
    users, groups = range(len(case.lists)), range(case.membership.shape[1])
    listed = [set(row[row > 0].tolist()) for row in case.lists]
    liked = [{i for i in catalogue if case.random.random() < 0.4} for _ in users]
    trained = [{i for i in catalogue if i not in listed[u] and case.random.random() < 0.3} for u in users]
    of = [{i for i in catalogue if case.membership[i, g]} for g in groups]
    hits, relevant, seen = (
        np.array([[len(chosen[u] & of[g]) for g in groups] for u in users])
        for chosen in ([a & b for a, b in zip(listed, liked, strict=True)], liked, trained)
    )
    equal_opportunity = formulas.recommended_given_liked(hits, relevant).value()
    parity = formulas.recommended(case.lists, case.membership, seen).value()
    slow_reo, slow_rsp = [], []
    for g in groups:
        likes = sum(len(liked[u] & of[g]) for u in users)
        could = sum(len(of[g] - trained[u]) for u in users)
        slow_reo.append(sum(len(listed[u] & liked[u] & of[g]) for u in users) / likes if likes else math.nan)
        slow_rsp.append(sum(len(listed[u] & of[g]) for u in users) / could if could else math.nan)
    np.testing.assert_allclose(equal_opportunity, slow_reo)
    np.testing.assert_allclose(parity, slow_rsp)
    assert float(cv(equal_opportunity)) == pytest.approx(slow_relative_deviation(slow_reo), abs=1e-12, nan_ok=True)
    assert float(cv(parity)) == pytest.approx(slow_relative_deviation(slow_rsp), abs=1e-12, nan_ok=True)


@fast
@given(CASES, st.randoms())
def test_the_order_of_users_and_the_names_of_groups_do_not_matter(case: Lists, random) -> None:
    users, groups = list(range(len(case.lists))), list(range(case.membership.shape[1]))
    random.shuffle(users)
    random.shuffle(groups)
    moved = exposure(case.lists[users], case.membership[:, groups], "log").value()
    np.testing.assert_allclose(moved, exposure(case.lists, case.membership, "log").value()[groups])


@fast
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_gini_is_half_the_relative_mean_difference(counts: list[int]) -> None:
    differences = sum(abs(one - other) for one in counts for other in counts)
    expected = differences / (2 * len(counts) * sum(counts)) if sum(counts) else math.nan
    assert float(gini(np.array(counts))) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert float(gini(np.array(counts) * 7)) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_entropy_ranks_lists_of_many_items_above_lists_of_one() -> None:
    counts = np.array([8, 0, 0, 0]), np.array([4, 4, 0, 0]), np.array([2, 2, 2, 2])
    ours = [float(entropy(count)) for count in counts]
    assert ours == pytest.approx([0, math.log(2), math.log(4)])
    assert ours == pytest.approx([float(scipy_entropy(count)) for count in counts])
    assert math.isnan(float(entropy(np.zeros(3))))
    lists = np.array([[1, 2], [1, 0]])
    figures = {metric.name: metric.of(lists, Catalogue(np.zeros(5, int)), 2)
               for metric in HOST.values() if isinstance(metric, OfCatalogue)}  # fmt: skip
    assert figures["ShannonEntropy"] == pytest.approx(scipy_entropy([2, 1])), "the empty place is no item"
    assert (figures["ItemCoverage"], figures["GiniIndex"]) == (0.5, pytest.approx(float(gini([2, 1, 0, 0]))))


def test_gini_and_coverage_count_the_whole_catalogue_without_padding() -> None:
    counts = times_listed(np.array([[1, 2, 0], [1, 0, 0]]), 5)
    np.testing.assert_array_equal(counts, [2, 1, 0, 0])
    assert float(coverage(counts)) == 0.5
    assert float(gini(np.ones(6))) == 0 and float(gini(np.eye(6)[0])) == pytest.approx(5 / 6)
    np.testing.assert_allclose(gini(np.stack([counts, np.ones(4)])), [float(gini(counts)), 0])
    assert math.isnan(float(gini(np.zeros(4)))) and float(coverage(np.zeros(4))) == 0


def test_recbole_counts_its_padding_as_an_item_that_is_never_listed() -> None:
    from recbole.evaluator.metrics import GiniIndex, ItemCoverage

    lists = np.random.default_rng(0).integers(1, 30, (20, 5))
    counts = times_listed(lists, 40)
    assert float(gini(np.r_[0, counts])) == pytest.approx(GiniIndex.get_gini(None, lists, 40))
    assert float(coverage(np.r_[0, counts])) == pytest.approx(ItemCoverage.get_coverage(None, lists, 40))


@pytest.mark.parametrize("ratio", [0.1, 0.5, 3])
def test_popularity_of_lists_is_recboles_own(ratio: float) -> None:
    from recbole.evaluator.metrics import AveragePopularity, TailPercentage

    random = np.random.default_rng(1)
    lists, trained = random.integers(0, 30, (40, 5)), random.integers(0, 6, 30)
    trained[0] = 0
    config = {"topk": [1, 3, 5], "metric_decimal_place": 17, "tail_ratio": ratio}
    counted = {item: int(count) for item, count in enumerate(trained) if count}
    struct = {"rec.items": torch.tensor(lists), "data.count_items": counted}
    for theirs, ours in ((AveragePopularity, average_popularity), (TailPercentage, tail_percentage)):
        for key, value in theirs(config).calculate_metric(struct).items():
            assert ours(lists, Catalogue(trained, ratio), int(key.split("@")[1])) == pytest.approx(value, abs=1e-15)


def test_an_unknown_discount_is_refused() -> None:
    with pytest.raises(UsageError, match="discount='dcg'"):
        exposure(np.array([[1]]), np.array([[False], [True]]), "dcg")
