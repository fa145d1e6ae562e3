"""Means over users of what each list is worth: against plain double loops, and toy lists worked by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_fair.groups.membership import Groups
from recbole_fair.metrics import exposure, shown
from recbole_fair.metrics.shown import Shown

pytestmark = pytest.mark.newest
fast = settings(max_examples=60, deadline=None)


def make(seed: int, users: int, depth: int, items: int, groups: int) -> Shown:
    """Lists with gaps, some empty; users without training; items of several groups and of none."""
    random = np.random.default_rng(seed)
    lists = np.zeros((users, depth), dtype=np.int64)
    for listed in lists:
        places = np.flatnonzero(random.random(depth) < 0.7)[: items - 1]
        listed[places] = random.choice(np.arange(1, items), len(places), replace=False)
    membership = random.random((items, groups)) < 0.5
    membership[0], membership[1, 0] = False, True
    rows = random.integers(1, users + 2, 4 * users)  # the last of them is nobody who is judged
    training = rows, random.integers(1, items, len(rows))
    liked = random.random((users, items)) < 0.3
    liked[:, 0], liked[:, 1] = False, True
    names = tuple(f"g{number}" for number in range(groups))
    relevant = (liked[:, :, None] & membership).sum(axis=1)
    grouping = {"kind": Groups("item", "kind", names, membership)}
    return Shown(np.arange(1, users + 1), lists, training, items, grouping, {"kind": relevant}, liked.sum(axis=1))


CASES = st.builds(
    make, st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 6), st.integers(2, 9), st.integers(1, 4)
)


def same(found: np.ndarray, expected: Sequence[float], case: Shown | None = None) -> None:
    """Equal; of a `case` in which fewer than two groups have an item, undefined."""
    if case is not None and case.groups["kind"].membership.any(axis=0).sum() < 2:
        expected = [math.nan] * len(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def listed(case: Shown, row: int, k: int) -> list[int]:
    return [item for item in case.lists[row, :k].tolist() if item]


def had(case: Shown, row: int) -> list[int]:
    return [item for user, item in zip(*(ids.tolist() for ids in case.training), strict=True) if user == row + 1]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def shares(case: Shown, items: Sequence[int]) -> list[float]:
    """Each item divided between its groups; nan where no item has one."""
    membership = case.groups["kind"].membership
    counts = [0.0] * membership.shape[1]
    for item in items:
        for group in np.flatnonzero(membership[item]):
            counts[group] += 1 / membership[item].sum()
    return [count / sum(counts) if sum(counts) else math.nan for count in counts]


def kl(first: Sequence[float], second: Sequence[float]) -> float:
    if math.isnan(sum(first)):
        return math.nan
    return sum(p * math.log(p / q) for p, q in zip(first, second, strict=True) if p > 0)


@fast
@given(CASES, st.integers(1, 6))
def test_popularity_of_lists_against_a_loop(case: Shown, k: int) -> None:
    k, tail = min(k, case.lists.shape[1]), case.groups["kind"].membership[:, -1]
    met = [sum(1 for item in case.training[1] if item == one) for one in range(case.items)]
    lists = [listed(case, row, k) for row in range(len(case.lists))]
    same(shown.arp(case, k, ""), [mean([met[item] for item in items]) for items in lists])
    same(shown.aplt(case, k, "kind"), [mean([float(tail[item]) for item in items]) for items in lists])
    same(shown.aclt(case, k, "kind"), [sum(tail[item] for item in items) for items in lists])
    above, below = 0.0, 0.0
    for row, items in enumerate(lists):
        if items and had(case, row):
            own = mean([met[item] for item in had(case, row)])
            above, below = above + mean([met[item] for item in items]) - own, below + own
    found = shown.popularity_lift(case, k, "").value()
    assert found == pytest.approx(above / below if below else math.nan, nan_ok=True)


@fast
@given(CASES, st.integers(1, 6))
def test_ndkl_against_a_loop(case: Shown, k: int) -> None:
    k, catalogue = min(k, case.lists.shape[1]), shares(case, range(1, case.items))
    expected = []
    for row in range(len(case.lists)):
        above, below = 0.0, 0.0
        for rank, item in enumerate(case.lists[row, :k].tolist(), start=1):
            own = shares(case, listed(case, row, rank))
            if item and not math.isnan(sum(own)):
                above, below = above + kl(own, catalogue) / math.log2(rank + 1), below + 1 / math.log2(rank + 1)
        expected.append(above / below if below else math.nan)
    same(shown.ndkl(case, k, "kind"), expected, case)


@fast
@given(CASES, st.integers(1, 6))
def test_expected_exposure_against_a_loop_over_items(case: Shown, k: int) -> None:
    """The liked items are not in the case, only their counts by group: any items of these counts give the same."""
    k, membership = min(k, case.lists.shape[1]), case.groups["kind"].membership
    weights = [1 / math.log2(rank + 1) for rank in range(1, k + 1)]
    expected = np.zeros((len(case.lists), 3))
    for row in range(len(case.lists)):
        liked = int(case.held_out[row])
        first = sum(weights[:liked]) / sum(weights)
        for group in range(membership.shape[1]):
            own = sum(
                weight * membership[item, group]
                for weight, item in zip(weights, case.lists[row, :k].tolist(), strict=True)
            ) / sum(weights)
            relevant = int(case.relevant["kind"][row, group])
            others = case.items - 1 - liked
            due = relevant * first / liked
            due += (membership[1:, group].sum() - relevant) * (1 - first) / others if others else 0
            expected[row] += [own**2, own * due, (own - due) ** 2]
    for column, formula in enumerate((shown.ee_d, shown.ee_r, shown.ee_l)):
        same(formula(case, k, "kind"), expected[:, column].tolist(), case)


@fast
@given(CASES, st.integers(1, 6))
def test_calibration_against_a_loop(case: Shown, k: int) -> None:
    k = min(k, case.lists.shape[1])
    rows = range(len(case.lists))
    pairs = [(shares(case, had(case, row)), shares(case, listed(case, row, k))) for row in rows]
    mixed = [[0.99 * q + 0.01 * p for p, q in zip(*pair, strict=True)] for pair in pairs]
    defined = [not math.isnan(sum(p) + sum(q)) for p, q in pairs]
    same(
        shown.calibration_kl(case, k, "kind"),
        [kl(p, q) if fit else math.nan for (p, _), q, fit in zip(pairs, mixed, defined, strict=True)],
        case,
    )
    middles = [[(p + q) / 2 for p, q in zip(*pair, strict=True)] for pair in pairs]
    divergences = [(kl(p, m) + kl(q, m)) / 2 / math.log(2) for (p, q), m in zip(pairs, middles, strict=True)]
    same(shown.calibration_js(case, k, "kind"), np.where(defined, divergences, math.nan).tolist(), case)


# --- worked by hand: items 1 and 2 are of A, 3 and 4 of B; the list is 1, 2, 3

FOUR = Groups("item", "kind", ("A", "B"), np.array([[0, 0], [1, 0], [1, 0], [0, 1], [0, 1]], dtype=bool))


def toy(test_items_of: Sequence[int]) -> Shown:
    """One user, who had 1 and 3 in training, and so many test items of A and of B."""
    relevant = np.array([test_items_of])
    return Shown(
        np.array([1]), np.array([[1, 2, 3]]), (np.array([1, 1]), np.array([1, 3])), 5, {"kind": FOUR},
        {"kind": relevant}, relevant.sum(axis=1),
    )  # fmt: skip


def test_ndkl_by_hand() -> None:
    """The first two prefixes are all A, ln 2 from half and half; the third is two thirds A."""
    third = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    expected = (math.log(2) * (1 + 1 / math.log2(3)) + third / 2) / (1 + 1 / math.log2(3) + 1 / 2)
    same(shown.ndkl(toy([1, 0]), 3, "kind"), [expected])


def test_expected_exposure_by_hand() -> None:
    """One test item, of B: all of rank 1 is its due, the other two ranks are shared by the other three items."""
    total = 1 + 1 / math.log2(3) + 1 / 2
    first, rest = 1 / total, 1 - 1 / total
    ours, due = (1 - 0.5 / total, 0.5 / total), (rest * 2 / 3, first + rest / 3)
    case = toy([0, 1])
    same(shown.ee_d(case, 3, "kind"), [ours[0] ** 2 + ours[1] ** 2])
    same(shown.ee_r(case, 3, "kind"), [ours[0] * due[0] + ours[1] * due[1]])
    same(shown.ee_l(case, 3, "kind"), [(ours[0] - due[0]) ** 2 + (ours[1] - due[1]) ** 2])


def test_awrf_by_hand() -> None:
    """A has ranks 1 and 2, B rank 3; half is due to each."""
    total = 1 + 1 / math.log2(3) + 1 / 2
    a, b = 1 - 0.5 / total, 0.5 / total
    terms = [p * math.log2(p / ((p + 0.5) / 2)) + 0.5 * math.log2(0.5 / ((p + 0.5) / 2)) for p in (a, b)]
    shares_of_exposure = exposure.exposure(np.array([[1, 2, 3]]), FOUR.membership, "log").value()
    assert float(exposure.awrf_uniform(shares_of_exposure)) == pytest.approx(sum(terms) / 2)


def test_a_list_of_what_the_user_had_is_calibrated_and_has_no_lift() -> None:
    case = toy([1, 0])
    again = Shown(case.users, np.array([[3, 1, 0]]), case.training, 5, case.groups, case.relevant, case.held_out)
    same(shown.calibration_js(again, 3, "kind"), [0.0])
    same(shown.calibration_kl(again, 3, "kind"), [0.0])
    assert float(shown.popularity_lift(again, 3, "").value()) == 0
    same(shown.aclt(again, 3, "kind"), [1.0])
