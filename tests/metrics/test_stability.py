"""Similarity of lists under several prompts: against plain double loops and lists worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_fair.groups.membership import Groups
from recbole_fair.groups.variants import NONE, Variant
from recbole_fair.metrics import declared
from recbole_fair.metrics.list_table import RankingTable
from recbole_fair.metrics.stability import PromptedLists, jaccard, prag, serp

pytestmark = pytest.mark.newest


def drawn(seed: int, users: int, depth: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Two lists a user, with gaps, some empty, some the same."""
    random = np.random.default_rng(seed)
    both = np.zeros((2, users, depth), dtype=np.int64)
    for listed in both.reshape(-1, depth):
        places = np.flatnonzero(random.random(depth) < random.choice([0.0, 0.3, 0.9]))[:items]
        listed[places] = random.choice(np.arange(1, items + 1), len(places), replace=False)
    same = random.random(users) < 0.3
    both[1, same] = both[0, same]
    return both[0], both[1]


def by_loops(plain: list[int], prompted: list[int]) -> tuple[float, float, float]:
    depth = len(plain)
    first, second = [item for item in plain if item], [item for item in prompted if item]
    if not first and not second:
        return math.nan, math.nan, math.nan
    common = [item for item in second if item in first]
    above = below = 0
    for rank, item in enumerate(prompted, start=1):
        if item:
            below += depth - rank + 1
            above += depth - rank + 1 if item in first else 0
    agreeing = pairs = 0
    for one, item in enumerate(second):
        for other in second[one + 1 :]:
            pairs += 1
            if item in first and (other not in first or first.index(item) < first.index(other)):
                agreeing += 1
    same = float(plain == prompted)
    return (
        len(common) / len(set(first) | set(second)),
        above / below if below else same,
        agreeing / pairs if pairs else same,
    )


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 6), st.integers(1, 9))
def test_similarities_are_those_of_the_loops(seed: int, users: int, depth: int, items: int) -> None:
    plain, prompted = drawn(seed, users, depth, items)
    expected = [by_loops(*both) for both in zip(plain.tolist(), prompted.tolist(), strict=True)]
    values = np.stack([of(plain, prompted) for of in (jaccard, serp, prag)], axis=1)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_identical_lists_have_one_and_lists_without_a_common_item_zero() -> None:
    ten = np.arange(1, 21)[None]
    for of in (jaccard, serp, prag):
        assert of(ten, ten) == [1.0]
        assert of(ten, ten + 20) == [0.0]


def test_a_list_worked_by_hand() -> None:
    plain, prompted = np.array([[1, 2, 3, 4]]), np.array([[2, 1, 9, 4]])
    assert jaccard(plain, prompted) == pytest.approx([3 / 5])
    assert serp(plain, prompted) == pytest.approx([(4 + 3 + 1) / 10])
    # of the pairs 21 29 24 19 14 94 the second, third, fourth and fifth agree
    assert prag(plain, prompted) == pytest.approx([4 / 6])
    # as the paper divides: K (K + 1); identical lists would have 6 / 20
    assert prag(plain, plain) * 6 / 20 == pytest.approx([(4 - 1) / (2 * (4 + 1))])


def test_a_reversed_list_has_all_items_and_no_pair_in_order() -> None:
    plain = np.array([[1, 2, 3, 4, 5]])
    assert [of(plain, plain[:, ::-1])[0] for of in (jaccard, serp, prag)] == [1.0, 1.0, 0.0]


def table() -> tuple[RankingTable, dict[str, np.ndarray]]:
    lists = {name: drawn(seed, 40, 5, 8)[0] for seed, name in enumerate(("none", "F", "M", "X", "again"))}
    prompted = {NONE: lists["none"], **{Variant("gender", name): lists[name] for name in "FMX"}}
    groups = Groups("user", "gender", ("F", "M", "X"), np.ones((41, 3), dtype=bool))
    made = RankingTable(
        users=np.arange(1, 41), lists=lists["none"], scores=np.zeros((40, 5)), topk=[3, 5], per_user={},
        groups={"gender": groups}, prompted=PromptedLists(lists["none"], prompted, lists["again"]),
    )  # fmt: skip
    return made, lists


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize(("place", "name"), list(enumerate(["Jaccard", "SERP", "PRAG"])))
def test_figures_are_those_of_the_loops(k: int, place: int, name: str) -> None:
    made, lists = table()
    cut = {key: of[:, :k].tolist() for key, of in lists.items()}
    each = {
        key: [by_loops(*both)[place] for both in zip(cut["none"], cut[key], strict=True)]
        for key in ("F", "M", "X", "again")
    }
    means = {key: sum(one for one in of if one == one) / sum(one == one for one in of) for key, of in each.items()}
    values = [means[key] for key in "FMX"]
    mean = sum(values) / 3
    expected = {
        f"{name}@{k}[gender]": mean,
        f"SNSR_{name}@{k}[gender]": max(values) - min(values),
        f"SNSV_{name}@{k}[gender]": math.sqrt(sum((value - mean) ** 2 for value in values) / 3),
        f"{name}_Null@{k}": means["again"],
        f"{name}_Drop@{k}[gender]": means["again"] - mean,
    }
    for key, value in expected.items():
        assert declared.METRICS[key.partition("@")[0].lower()].values(made)[key.lower()] == pytest.approx(value), key
