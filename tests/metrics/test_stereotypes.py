"""SF against sums written out pair by pair, and the readings that MoS leaves open."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.metrics.formulas import divide
from recbole_fair.metrics.stereotypes import (
    COLUMNS,
    groups_without,
    histories,
    history_share,
    largest_z,
    pull,
    pull_terms,
    sf,
    sf_in_terms,
    sf_terms,
    stereotype_rows,
    stereotypes,
)

pytestmark = pytest.mark.newest
fast = settings(max_examples=60, deadline=None)
USERS, ITEMS = 9, 8


class World(NamedTuple):
    membership: np.ndarray  # [U, G]
    trained: tuple[np.ndarray, np.ndarray]
    judged: tuple[np.ndarray, np.ndarray, np.ndarray]  # users, items, recommended


def world(seed: int, groups: int) -> World:
    """User 0 and item 0 are padding; the last user is of unknown group; some users have no history."""
    random = np.random.default_rng(seed)
    membership = np.zeros((USERS, groups), dtype=bool)
    membership[np.arange(1, USERS - 1), random.integers(0, groups, USERS - 2)] = True
    membership[1, :], membership[2, :] = False, False
    membership[1, 0] = membership[2, 1] = True
    users = np.r_[1, 2, random.integers(1, USERS, 30)]
    trained = users, random.integers(1, ITEMS, len(users))
    if seed % 2:
        keep = users != 3
        trained = trained[0][keep], trained[1][keep]
    judged = random.integers(1, USERS, 40), random.integers(1, ITEMS, 40), random.random(40) < 0.6
    return World(membership, trained, judged)


WORLDS = st.builds(world, st.integers(0, 10_000), st.integers(2, 4))


def items_read(trained: tuple[np.ndarray, np.ndarray]) -> dict[int, set[int]]:
    read: dict[int, set[int]] = defaultdict(set)
    for user, item in zip(*trained, strict=True):
        read[int(user)].add(int(item))
    return read


def slow_degrees(case: World) -> np.ndarray:
    read = items_read(case.trained)
    groups = range(case.membership.shape[1])
    people = {g: [u for u in read if case.membership[u, g]] for g in groups}
    degrees = np.full((ITEMS, len(groups)), math.nan)
    for item in range(ITEMS):
        if not any(item in history for history in read.values()):
            continue
        share = {g: sum(item in read[u] for u in people[g]) / len(people[g]) for g in groups if people[g]}
        for g, value in share.items():
            degrees[item, g] = value - sum(share[other] for other in share if other != g)
    return degrees


def slow_members(degrees: np.ndarray, z: float, d: str) -> np.ndarray:
    """Eq. 3 item by item; items closer to the threshold than rounding are marked by nan."""
    known = [item for item in range(ITEMS) if not np.isnan(degrees[item]).all()]
    member = np.zeros(degrees.shape)
    for g in range(degrees.shape[1]):
        if np.isnan(degrees[:, g]).all():
            continue
        values = [np.nanmax(degrees[item]) if d == "largest" else degrees[item, g] for item in known]
        mean = sum(values) / len(values)
        threshold = mean + z * math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        for item, value in zip(known, values, strict=True):
            mine = value == degrees[item, g]
            member[item, g] = math.nan if mine and abs(value - threshold) < 1e-9 else mine and value >= threshold
    return member


@pytest.mark.parametrize("d", ["signed", "largest"])
@fast
@given(WORLDS, st.sampled_from([0.0, 0.7, 1.0, 2.0]))
def test_stereotypes_against_a_loop(d: str, case: World, z: float) -> None:
    found = stereotypes(*case.trained, case.membership, ITEMS, z=z, d=d)
    expected = slow_degrees(case)
    np.testing.assert_allclose(found.degree, expected, atol=1e-12)
    members = slow_members(found.degree, z, d)
    certain = ~np.isnan(members)
    np.testing.assert_array_equal(found.member[certain], members[certain])
    assert not found.member[0].any(), "padding is no item"


def test_the_paper_s_example() -> None:
    """30 % of one group and 10 % of the other read item 1: d is .2 for the first."""
    users = np.arange(1, 21)
    membership = np.zeros((21, 2), dtype=bool)
    membership[1:11, 0] = membership[11:, 1] = True
    items = np.full(20, 2)
    items[[0, 1, 2, 10]] = 1
    degree = stereotypes(users, items, membership, 3).degree
    np.testing.assert_allclose(degree[1], [0.2, -0.2])


def test_signed_keeps_a_side_for_each_group_and_largest_one_threshold() -> None:
    case = world(4, 2)
    signed, largest = (stereotypes(*case.trained, case.membership, ITEMS, d=d) for d in ("signed", "largest"))
    np.testing.assert_allclose(signed.degree[:, 0], -signed.degree[:, 1])
    assert largest.threshold[0] == largest.threshold[1]
    below_all = stereotypes(*case.trained, case.membership, ITEMS, z=-9, d="largest")
    strongest = below_all.degree == below_all.degree.max(1, keepdims=True)
    np.testing.assert_array_equal(below_all.member, strongest, err_msg="an item belongs to its strongest group alone")


def test_a_rising_threshold_takes_items_away() -> None:
    case = world(8, 2)
    sizes = [stereotypes(*case.trained, case.membership, ITEMS, z=z).member.sum() for z in (-9, 0, 1, 2, 9)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == 2 * 7 and sizes[-1] == 0


def test_what_is_judged_or_repeated_does_not_move_the_stereotypes() -> None:
    case = world(6, 3)
    once = stereotypes(*case.trained, case.membership, ITEMS)
    twice = stereotypes(*(np.tile(part, 2) for part in case.trained), case.membership, ITEMS)
    np.testing.assert_array_equal(once.degree, twice.degree)


@fast
@given(WORLDS)
def test_history_shares_against_a_loop(case: World) -> None:
    member = stereotypes(*case.trained, case.membership, ITEMS).member
    found = history_share(*case.trained, member, USERS)
    read = items_read(case.trained)
    for user in range(USERS):
        for g in range(member.shape[1]):
            counts = sum(member[item, g] for item in read[user])
            expected = counts / len(read[user]) if read[user] else math.nan
            assert found[user, g] == pytest.approx(expected, nan_ok=True)


def slow_fraction(case: World, shares: np.ndarray, member: np.ndarray, g: int, pairs: str) -> float:
    above, below = 0.0, 0.0
    for user, item, yes in zip(*case.judged, strict=True):
        if not yes or np.isnan(shares[user, g]):
            continue
        own, someone_s = case.membership[user, g], case.membership[user].any()
        counted = {
            "in_group": own,
            "out_group": someone_s and not own,
            "all": True,
            "sf_in": own and member[item, g],
        }[pairs]
        if counted:
            above += shares[user, g]
            below += member[item, g]
    return above / below if below else math.nan


def terms(case: World, shares: np.ndarray, member: np.ndarray, pairs: str) -> Any:
    if pairs == "sf_in":
        return sf_in_terms(*case.judged, shares, case.membership, member)
    return sf_terms(*case.judged, shares, case.membership, member, pairs)


@pytest.mark.parametrize("pairs", ["in_group", "out_group", "all", "sf_in"])
@fast
@given(WORLDS)
def test_sf_against_a_loop(pairs: str, case: World) -> None:
    member = stereotypes(*case.trained, case.membership, ITEMS, z=0.5).member
    shares = history_share(*case.trained, member, USERS)
    found = terms(case, shares, member, pairs)
    groups = range(member.shape[1])
    fractions = [slow_fraction(case, shares, member, g, pairs) for g in groups]
    np.testing.assert_allclose(found.value(), fractions, atol=1e-12)
    present = [fraction for fraction in fractions if not math.isnan(fraction)]
    value = float(sf(found.value()))
    assert value == pytest.approx(1 - sum(present) / len(present) if present else math.nan, nan_ok=True)
    assert groups_without(found.value(), [f"g{g}" for g in groups]) == [
        f"g{g}" for g in groups if math.isnan(fractions[g])
    ]


@fast
@given(WORLDS, st.data())
def test_resampled_sf_is_the_sf_of_the_resampled_users(case: World, data: Any) -> None:
    member = stereotypes(*case.trained, case.membership, ITEMS, z=0.5).member
    shares = history_share(*case.trained, member, USERS)
    drawn = data.draw(st.lists(st.integers(1, USERS - 1), min_size=1, max_size=12))
    rows = np.concatenate([np.flatnonzero(case.judged[0] == user) for user in drawn])
    resample = case._replace(judged=tuple(part[rows] for part in case.judged))
    times = np.bincount(drawn, minlength=USERS)
    whole = terms(case, shares, member, "in_group")
    resampled = sf(divide(times @ whole.numerator, times @ whole.denominator))
    expected = sf(terms(resample, shares, member, "in_group").value())
    assert float(resampled) == pytest.approx(float(expected), nan_ok=True)


def test_sf_in_is_one_minus_the_mean_share_of_the_in_group_pairs() -> None:
    shares = np.array([[0.0, 0.0], [0.2, 0.8], [0.6, 0.4], [0.3, 0.1]])
    membership = np.array([[0, 0], [1, 0], [1, 0], [0, 1]], dtype=bool)
    member = np.array([[0, 0], [1, 0], [0, 1]], dtype=bool)
    users, items = np.array([1, 2, 2, 3, 3]), np.array([1, 1, 2, 2, 1])
    found = sf_in_terms(users, items, np.ones(5, dtype=bool), shares, membership, member)
    assert float(sf(found.value())) == pytest.approx(1 - ((0.2 + 0.6) / 2 + 0.1) / 2)
    np.testing.assert_array_equal(found.denominator.sum(0), [2, 1])


def test_recommending_in_proportion_to_the_history_gives_zero() -> None:
    """Each user's recommendations hold G as often as its history: every fraction is 1."""
    shares = np.array([[0.0, 0.0], [0.5, 0.5], [0.25, 0.75]])
    membership = np.array([[0, 0], [1, 0], [0, 1]], dtype=bool)
    member = np.array([[0, 0], [1, 0], [0, 1]], dtype=bool)
    users, items = np.array([1, 1, 2, 2, 2, 2]), np.array([1, 2, 1, 2, 2, 2])
    found = sf_terms(users, items, np.ones(6, dtype=bool), shares, membership, member)
    assert float(sf(found.value())) == pytest.approx(0)
    more = sf_terms(users, items, np.array([1, 0, 0, 1, 1, 1]), shares, membership, member)
    assert float(sf(more.value())) > 0, "over-recommending the own group is positive"


def test_nothing_recommended_leaves_every_group_out() -> None:
    case = world(2, 2)
    member = stereotypes(*case.trained, case.membership, ITEMS, z=0).member
    shares = history_share(*case.trained, member, USERS)
    nothing = sf_terms(*case.judged[:2], np.zeros(40, dtype=bool), shares, case.membership, member)
    assert math.isnan(sf(nothing.value())) and groups_without(nothing.value(), ["F", "M"]) == ["F", "M"]


def test_a_group_without_training_users_is_absent() -> None:
    case = world(2, 2)
    membership = np.c_[case.membership, np.zeros(USERS, dtype=bool)]
    found = stereotypes(*case.trained, membership, ITEMS)
    assert np.isnan(found.degree[:, 2]).all() and not found.member[:, 2].any()
    np.testing.assert_allclose(found.degree[:, :2], stereotypes(*case.trained, case.membership, ITEMS).degree)


def test_refusals() -> None:
    case = world(2, 2)
    with pytest.raises(UsageError, match="sf_d='max'"):
        stereotypes(*case.trained, case.membership, ITEMS, d="max")
    with pytest.raises(UsageError, match="two user groups"):
        stereotypes(*case.trained, case.membership[:, :1], ITEMS)
    with pytest.raises(UsageError, match="two user groups"):
        stereotypes(*case.trained, case.membership & [True, False], ITEMS)
    member = np.zeros((ITEMS, 2), dtype=bool)
    with pytest.raises(UsageError, match="sf_pairs='own'"):
        sf_terms(*case.judged, np.zeros((USERS, 2)), case.membership, member, "own")


KEYS: dict[str, Any] = {"sf_z": 0.5, "sf_d": "signed", "sf_pairs": "in_group"}


def gendered(case: World) -> Groups:
    return Groups("user", "gender", ("F", "M", "X", "Y")[: case.membership.shape[1]], case.membership)


@pytest.mark.parametrize("d", ["signed", "largest"])
@fast
@given(WORLDS)
def test_the_largest_z_is_where_the_last_stereotype_goes(d: str, case: World) -> None:
    degree = stereotypes(*case.trained, case.membership, ITEMS).degree
    limit = largest_z(degree, d)
    compared = degree[~np.isnan(degree).all(1)]
    spread = np.std(np.nanmax(compared, axis=1)) if d == "largest" else np.nanstd(compared, axis=0).min()
    if math.isnan(limit) or spread < 1e-9:  # degrees that differ by rounding alone have no z to speak of
        return
    at, above = (stereotypes(*case.trained, case.membership, ITEMS, limit + step, d) for step in (-1e-6, 1e-6))
    assert at.member.any() and not above.member.any()


def test_a_threshold_above_every_item_is_refused_with_a_z_that_works() -> None:
    case = world(4, 2)
    with pytest.raises(
        UsageError, match=r"sf_z=9: no item is a stereotype of a group of gender; give sf_z=\S+ or"
    ) as no:
        histories({**KEYS, "sf_z": 9}, gendered(case), *case.trained, ITEMS)
    z = float(str(no.value).partition("give sf_z=")[2].split()[0])
    assert histories({**KEYS, "sf_z": z}, gendered(case), *case.trained, ITEMS).member.any()
    with pytest.raises(UsageError, match="two items"):
        histories(KEYS, gendered(case), np.array([1, 2]), np.array([1, 1]), ITEMS)


@fast
@given(WORLDS)
def test_rows_of_stereotypes_against_a_loop(case: World) -> None:
    try:
        known = histories(KEYS, gendered(case), *case.trained, ITEMS)
    except UsageError:
        return
    names = [f"i{item}" for item in range(ITEMS)]
    rows = {(row[0], row[1]): dict(zip(COLUMNS, row, strict=True))
            for row in stereotype_rows(known, names, *case.judged)}  # fmt: skip
    degrees = slow_degrees(case)
    expected = [(item, g) for item in range(ITEMS) for g in range(degrees.shape[1]) if not np.isnan(degrees[item, g])]
    assert set(rows) == {(names[item], known.groups.names[g]) for item, g in expected}
    for item, g in expected:
        row = rows[names[item], known.groups.names[g]]
        pairs = zip(*case.judged, strict=True)
        answers = [yes for user, judged, yes in pairs if judged == item and case.membership[user, g]]
        assert row["in_group_pairs"] == len(answers) and row["recommended_pairs"] == sum(answers)
        assert row["d"] == pytest.approx(degrees[item, g], abs=1e-12)
        assert row["threshold"] == known.stereotypes.threshold[g] and row["stereotype"] == known.member[item, g]


@fast
@given(WORLDS)
def test_what_pairs_add_sums_to_sf_over_the_recommended_ones(case: World) -> None:
    try:
        known = histories({**KEYS, "sf_pairs": "all"}, gendered(case), *case.trained, ITEMS)
    except UsageError:
        return
    users, items, yes = case.judged
    adding = known.pair_terms(users, items)
    whole = sf_terms(*case.judged, known.shares, case.membership, known.member, "all")
    for part, expected in zip(adding, whole, strict=True):
        np.testing.assert_allclose(part[yes].sum(0), expected.sum(0))


@fast
@given(WORLDS)
def test_pull_against_a_loop(case: World) -> None:
    member = stereotypes(*case.trained, case.membership, ITEMS, z=0.5).member
    users, items, _ = case.judged
    groups = member.shape[1]
    scores = np.random.default_rng(0).random((len(users), groups))
    expected = []
    for g in range(groups):
        others = [[s for o, s in enumerate(line) if o != g] for line in scores]
        raised = [scores[p, g] - sum(others[p]) / len(others[p]) for p, item in enumerate(items) if member[item, g]]
        expected.append(sum(raised) / len(raised) if raised else math.nan)
    terms_of_pull = pull_terms(users, items, scores, member, USERS)
    np.testing.assert_allclose(terms_of_pull.value(), expected, atol=1e-12)
    np.testing.assert_array_equal(terms_of_pull.denominator.sum(0), [member[items, g].sum() for g in range(groups)])


def test_a_word_that_moves_all_items_alike_pulls_nothing() -> None:
    member = np.array([[0, 0], [1, 0], [1, 0], [0, 1]], dtype=bool)
    users, items = np.array([1, 1, 2]), np.array([1, 2, 3])
    shifted = np.array([[0.9, 0.6], [0.7, 0.4], [0.8, 0.5]])  # the first word adds .3 everywhere
    assert float(pull(pull_terms(users, items, shifted, member, 3).value())) == pytest.approx(0)
    drawn = np.array([[0.9, 0.6], [0.7, 0.4], [0.5, 0.8]])  # each word adds .3 to its own items
    assert float(pull(pull_terms(users, items, drawn, member, 3).value())) == pytest.approx(0.3)


def test_pull_needs_stereotypes_of_two_groups() -> None:
    member = np.array([[0, 0], [1, 0]], dtype=bool)
    one_sided = pull_terms(np.array([1]), np.array([1]), np.array([[0.9, 0.1]]), member, 2).value()
    assert one_sided[0] == pytest.approx(0.8) and math.isnan(pull(one_sided))
