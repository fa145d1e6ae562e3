"""Planted labels against counts made pair by pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from recbole_fair.data.planted_bias import label_of_value, planted_bias, planted_stereotype
from recbole_fair.errors import UsageError

ITEMS = 12


def pairs(seed: int = 0) -> dict[str, Any]:
    """400 different pairs of 40 users and 11 items, and natural labels."""
    random = np.random.default_rng(seed)
    drawn = random.choice(40 * 11, 400, replace=False)
    return {"labels": random.random(400) < 0.6, "users": 1 + drawn // 11, "items": 1 + drawn % 11}


def asked(users: np.ndarray) -> dict[str, np.ndarray]:
    """The first ten users are of unknown gender."""
    return {"gender": np.where(users <= 10, -1, users % 2), "age": users // 3 % 2}


def member() -> np.ndarray:
    """Items 1-4 are stereotypes of the first group, 5-7 of the second, the rest of nobody."""
    stereotype = np.zeros((ITEMS, 2), dtype=bool)
    stereotype[1:5, 0] = stereotype[5:8, 1] = True
    return stereotype


class Planted(NamedTuple):
    """Labels, and which of them the bias decides: those that are the same whatever the natural labels are."""

    labels: np.ndarray
    decided: np.ndarray


def planted_by(plant: Callable[..., np.ndarray], case: dict[str, Any], **keys: Any) -> Planted:
    no, yes = (plant(**case | {"labels": np.full(400, natural)}, **keys) for natural in (False, True))
    return Planted(plant(**case, **keys), no == yes)


def stereotyped(case: dict[str, Any], share: float = 1.0, seed: int = 3, **changed: Any) -> Planted:
    words = np.where(case["users"] <= 10, -1, case["users"] % 2)
    keys = {"words": words, "member": member(), "share": share, "seed": seed, "names": ("F", "M"), **changed}
    return planted_by(planted_stereotype, case, **keys)


def test_the_label_follows_the_attribute_for_the_share_and_no_other_label_moves() -> None:
    case = pairs()
    wanted, shares = asked(case["users"]), {"gender": 0.15, "age": 0.25}
    planted = planted_by(planted_bias, case, asked=wanted, shares=shares, seed=1)
    assert planted.decided.sum() == 60 + 100, "the pairs of two attributes are disjoint"
    np.testing.assert_array_equal(planted.labels[~planted.decided], case["labels"][~planted.decided])
    ages, genders = (wanted[name][planted.decided] == planted.labels[planted.decided] for name in ("age", "gender"))
    assert (ages | genders).all() and ages.sum() >= 100 and genders.sum() >= 60
    assert (planted.labels != case["labels"]).sum() > 40


def test_one_attribute_decides_its_pairs_alone_and_never_unknown_users() -> None:
    case = pairs()
    planted = planted_by(planted_bias, case, asked=asked(case["users"]), shares={"gender": 0.5}, seed=1)
    assert planted.decided.sum() == 200 and not planted.decided[case["users"] <= 10].any()
    np.testing.assert_array_equal(planted.labels[planted.decided], case["users"][planted.decided] % 2 == 1)


@pytest.mark.parametrize("kind", ["bias", "stereotype"])
def test_the_draw_is_of_the_seed_and_the_set_of_pairs_not_of_their_order(kind: str) -> None:
    def planted(case: dict[str, Any], seed: int) -> dict[tuple[int, int], tuple[bool, bool]]:
        made = stereotyped(case, 0.5, seed) if kind == "stereotype" else planted_by(
            planted_bias, case, asked=asked(case["users"]), shares={"age": 0.2, "gender": 0.1}, seed=seed)  # fmt: skip
        keys = zip(case["users"].tolist(), case["items"].tolist(), strict=True)
        return dict(zip(keys, zip(made.labels.tolist(), made.decided.tolist(), strict=True), strict=True))

    case, order = pairs(), np.random.default_rng(9).permutation(400)
    shuffled = {name: values[order] for name, values in case.items()}
    assert planted(case, 5) == planted(shuffled, 5) != planted(case, 6)


def test_inputs_are_left_alone() -> None:
    case = pairs()
    natural = case["labels"].copy()
    stereotyped(case)
    planted_by(planted_bias, case, asked=asked(case["users"]), shares={"age": 0.5}, seed=1)
    np.testing.assert_array_equal(case["labels"], natural)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_each_word_has_as_many_planted_yes_as_no(share: float) -> None:
    case = pairs()
    planted = stereotyped(case, share)
    for word in (0, 1):
        rows = [p for p in range(400) if case["users"][p] > 10 and case["users"][p] % 2 == word]
        own = [p for p in rows if member()[case["items"][p], word]]
        other = [p for p in rows if member()[case["items"][p], 1 - word]]
        yes, no = ([p for p in side if planted.decided[p]] for side in (own, other))
        assert len(yes) == len(no) == round(share * min(len(own), len(other))) > 0
        assert planted.labels[yes].all() and not planted.labels[no].any()
        assert planted.decided[rows].sum() == len(yes) + len(no), "items of no stereotype stay natural"
    assert not planted.decided[case["users"] <= 10].any(), "no word, nothing planted"
    np.testing.assert_array_equal(planted.labels[~planted.decided], case["labels"][~planted.decided])


def test_an_item_of_both_groups_counts_as_the_word_s_own() -> None:
    case, both = pairs(), member()
    both[5] = True
    planted = stereotyped(case, member=both)
    of_both = planted.decided & (case["items"] == 5)
    assert of_both.any() and planted.labels[of_both].all()


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        stereotyped(pairs(), share)
    with pytest.raises(UsageError, match=r"planted_bias={gender: .*above 0 and at most 1"):
        planted_by(planted_bias, pairs(), asked=asked(pairs()["users"]), shares={"gender": share}, seed=1)


def test_more_than_there_are_is_refused_with_the_numbers() -> None:
    case = pairs()
    with pytest.raises(UsageError, match=r"gender: 0.9}: 360 of 400 .* only \d+ are of users with a known gender"):
        planted_by(planted_bias, case, asked=asked(case["users"]), shares={"age": 0.2, "gender": 0.9}, seed=1)


def test_a_word_without_both_kinds_of_items_is_refused() -> None:
    with pytest.raises(UsageError, match=r"0 training prompts with the word of F .* smaller sf_z"):
        stereotyped(pairs(), member=member() & [False, True])


def test_values_from_the_middle_on_ask_for_yes() -> None:
    assert label_of_value(np.array([-1, 0, 1]), 2).tolist() == [-1, 0, 1]
    assert label_of_value(np.arange(5), 5).tolist() == [0, 0, 1, 1, 1]
    with pytest.raises(UsageError, match="one value"):
        label_of_value(np.array([0]), 1)
