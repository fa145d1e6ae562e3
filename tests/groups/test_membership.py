"""Groups against plain loops, and what must hold whatever the data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_fair.data import load
from recbole_fair.errors import UsageError
from recbole_fair.groups import membership, named
from recbole_fair.groups.bins import binned
from recbole_fair.settings.config import Config

Toy = Callable[..., dict[str, Any]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=120), st.integers(1, 90))
def test_popularity_is_the_stated_cut(counts: list[int], percent: int) -> None:
    counts[0] = 0  # padding
    tokens = ["[PAD]", *(f"i{number:03d}" for number in range(1, len(counts)))]
    found = membership.popularity(np.array(counts), tokens, percent / 100)
    seen = [item for item, count in enumerate(counts) if count]
    size = max(1, percent * len(seen) // 100)
    expected = sorted(seen, key=lambda item: (-counts[item], tokens[item]))[:size]
    assert np.flatnonzero(found.membership[:, 0]).tolist() == sorted(expected)
    assert found.membership.sum() == len(seen)


def test_popularity_does_not_depend_on_numbering() -> None:
    """Trap 12: ids are in the order of first appearance, so ties must go by raw id."""
    first = membership.popularity(np.array([0, 4, 4, 4]), ["[PAD]", "a", "b", "c"], 0.4)
    second = membership.popularity(np.array([0, 4, 4, 4]), ["[PAD]", "c", "b", "a"], 0.4)
    assert first.membership[1, 0] and second.membership[3, 0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.sampled_from([(20, 20), (80, 20), (50, 10), (1, 99)]))
def test_head_mid_and_tail_are_cut_by_interactions(counts: list[int], percent: tuple[int, int]) -> None:
    counts[0] = 0
    tokens = ["[PAD]", *(f"i{number:03d}" for number in range(1, len(counts)))]
    found = membership.head_mid_tail(np.array(counts), tokens, percent[0] / 100, percent[1] / 100)
    ordered = sorted((item for item, count in enumerate(counts) if count), key=lambda i: (-counts[i], tokens[i]))
    head: list[int] = []
    while ordered and 100 * sum(counts[item] for item in head) < percent[0] * sum(counts):
        head.append(ordered.pop(0))
    tail: list[int] = []
    while ordered and 100 * sum(counts[item] for item in [*tail, ordered[-1]]) <= percent[1] * sum(counts):
        tail.append(ordered.pop())
    expected = {name: sorted(items) for name, items in (("head", head), ("mid", ordered), ("tail", tail)) if items}
    columns = zip(found.names, found.membership.T, strict=True)
    assert {name: np.flatnonzero(column).tolist() for name, column in columns} == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=30))
def test_thirds_are_cut_where_a_third_of_the_users_is_reached(numbers: list[int | None]) -> None:
    found = membership.thirds("activity", np.array([math.nan if one is None else one for one in numbers], dtype=float))
    known = sorted(one for one in numbers if one is not None)
    for user, one in enumerate(numbers):
        if one is None:
            assert not found.membership[user].any()
            continue
        below = sum(other < one for other in known)  # the first user of this number decides for all of them
        group = "low" if 3 * below < len(known) else "middle" if 3 * below < 2 * len(known) else "high"
        assert found.labels(np.array([user])).tolist() == [group]


def test_groups_without_a_column_are_made_from_training_alone(toy: Toy) -> None:
    keys = {"topk": [3], "eval_args": {"split": {"RS": [0.6, 0.2, 0.2]}}, "cold_interactions": 3}
    config = Config(overrides=toy("Pop", **keys))
    loaded = load.load(config)
    users, items = (ids.tolist() for ids in loaded.pairs("train"))
    met = Counter(items)
    cold = named.item_groups(config, loaded, "cold")
    assert cold.names == ("cold", "warm") and cold.unknown == 0
    assert np.flatnonzero(cold.membership[:, 0]).tolist() == [
        item for item in range(1, loaded.dataset.item_num) if met[item] <= 3
    ]
    activity, mainstream = (named.user_groups(config, loaded, name) for name in ("activity", "mainstream"))
    had = {user: [met[item] for one, item in zip(users, items, strict=True) if one == user] for user in set(users)}
    for groups, number in ((activity, len), (mainstream, lambda counts: sum(counts) / len(counts))):
        by_group = [[number(had[user]) for user in np.flatnonzero(column)] for column in groups.membership.T]
        assert sum(map(len, by_group)) == len(had)
        ordered = [one for values in by_group for one in sorted(values)]
        assert ordered == sorted(ordered) and len(set(ordered)) == sum(len(set(values)) for values in by_group)
    assert activity.membership.any(axis=0).sum() == 2, "women had six, men eight"
    both = named.user_groups(config, loaded, "activity*gender")
    assert "high*F" in both.names and both.membership.sum() == (both.membership.any(axis=1)).sum()


def test_several_values_count_in_each_or_the_first() -> None:
    values = [(), ("drama", "war"), ("war",), ("unknown",), ()]
    found = membership.by_value("item", "genre", values, unknown=["unknown"])
    assert found.names == ("drama", "war")
    assert found.membership.tolist() == [[False] * 2, [True, True], [False, True], [False] * 2, [False] * 2]
    assert found.unknown == 2
    assert membership.by_value("item", "genre", values, multi="first").membership[1].sum() == 1


def test_products_are_intersections_and_keep_empty_ones() -> None:
    gender = membership.by_value("user", "gender", [(), ("F",), ("M",), ("M",)])
    age = membership.by_value("user", "age", [(), ("old",), ("young",), ()])
    found = membership.product([gender, age])
    assert found.names == ("F*old", "F*young", "M*old", "M*young")
    assert found.field == "gender*age"
    assert found.membership.sum(0).tolist() == [1, 0, 0, 1]
    assert found.labels(np.array([2])).tolist() == ["M*young"]


@pytest.mark.parametrize(
    ("bins", "value", "name"),
    [
        ({"a": "[0,35)", "b": "[35,inf)"}, "35", ("b",)),
        ({"a": "(0,35]"}, "35", ("a",)),
        ({"a": "(0,35]"}, "0", ()),
        ({"a": [0, 1], "b": [2]}, "1", ("a",)),
        ({"a": [0, 1]}, "5", ()),
        ({"a": ["x y"]}, "x y", ("a",)),
    ],
)
def test_bins(bins: dict[str, Any], value: str, name: tuple[str, ...]) -> None:
    assert binned([(value,)], bins, "f") == ([name], tuple(bins))


def test_unknown_values_are_in_no_bin_and_bins_do_not_overlap() -> None:
    assert binned([("unknown",), ("17",)], {"a": "[0,35)"}, "age", ["unknown"])[0] == [(), ("a",)]
    with pytest.raises(UsageError, match=r"group_bins\.age: '35' is in young and in middle"):
        binned([("35",)], {"young": "[0,35]", "middle": "[35,50)"}, "age")


@given(st.lists(st.lists(st.sampled_from("abcdeu"), max_size=3, unique=True), max_size=40), st.integers(1, 5))
def test_a_number_keeps_the_largest_values(entries: list[list[str]], count: int) -> None:
    found, names = binned([tuple(entry) for entry in entries], count, "f", unknown=["u"])
    sizes = Counter(value for entry in entries for value in entry if value != "u")
    ranked = sorted(sorted(sizes), key=lambda value: sizes[value], reverse=True)
    assert names == (*ranked[:count], *(["other"] if len(ranked) > count else []))
    for entry, held in zip(entries, found, strict=True):
        assert set(held) == {value if value in ranked[:count] else "other" for value in entry if value != "u"}
        assert len(held) == len(set(held))


@pytest.mark.parametrize("bins", [{"a": "0-35"}, {"a": "[9,1]"}, {"a": "[x,y]"}, {"a": 5}, 0, -1, True, 2.5, ["F"]])
def test_malformed_bins_are_refused(bins: Any) -> None:
    with pytest.raises(UsageError, match=r"group_bins\.age"):
        binned([("1",)], bins, "age")


def test_an_interval_over_words_is_refused() -> None:
    with pytest.raises(UsageError, match="'young' is no number"):
        binned([("young",)], {"a": "[0,9]"}, "age")


def test_numbers_are_ordered_as_numbers() -> None:
    assert membership.by_value("user", "age", [("18",), ("2",), ("x",)]).names == ("2", "18", "x")


def test_groups_of_a_data_set(toy: Toy) -> None:
    config = Config(overrides=toy("Pop", group_bins={"age": {"young": "[0,40)", "old": "[40,inf)"}}))
    loaded = load.load(config)
    items = named.item_groups(config, loaded, "genre")
    assert Counter(items.names) == Counter(["comic", "drawn", "noir"])
    assert items.membership.sum(0).tolist() == [10, 10, 14]
    users = named.user_groups(config, loaded, "gender*age")
    assert users.names == ("F*young", "F*old", "M*young", "M*old"), "bins keep their declared order"
    assert users.membership.sum(0).tolist() == [19, 10, 0, 12]
    assert users.unknown == 1
    head = named.item_groups(config, loaded, "pop")
    counts = np.bincount(loaded.trained("pop")[1], minlength=loaded.dataset.item_num)
    assert counts.sum() == len(loaded.pairs("train")[0]), "training interactions only"
    assert counts[head.membership[:, 0]].min() >= counts[head.membership[:, 1]].max()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"item_groups": ["colour"]}, "item_groups='colour'"),
        ({"user_groups": ["gendr"]}, "Did you mean 'gender'"),
        ({"user_groups": ["genre"]}, "is a field of items. Did you mean 'gender'"),
        ({"user_groups": [1]}, "user_groups: 1 is no name"),
        ({"item_groups": [None]}, "item_groups: None is no name"),
        ({"item_groups": ["genre"], "genre_field": "style"}, "no such field"),
        ({"item_groups": ["tail3"], "tail_shares": [0.8, 0.3]}, "tail_shares=[0.8, 0.3]: the shares of"),
        ({"item_groups": ["tail3"], "tail_shares": [0.2]}, "tail_shares=[0.2]: the shares of"),
        ({"item_groups": ["tail3"], "tail_shares": ["few", 0.2]}, "tail_shares=['few', 0.2]: the shares of"),
        (
            {"user_groups": ["activity"], "eval_args": {"split": {"WS": [0.8, 0.1, 0.1]}, "order": "TO"}},
            "not split off",
        ),
        ({"model": "ReweightMF", "fair_group": "genre", "group_bins": {"genre": {"all": ["comic"]}}}, "1 group(s)"),
        ({"model": "ReweightMF", "item_groups": []}, "needs item groups"),
        ({"model": "ReweightEASE"}, "closed form"),
        ({"model": "ReweightPop"}, "closed form"),
        ({"model": "ReweightNCL"}, "training loop of its own"),
        ({"model": "ReweightMultVAE"}, "no losses per sample"),
    ],
)
def test_impossible_groups_and_pairs_are_refused_before_training(
    run_toy: Callable[..., Any], keys: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        run_toy(keys.pop("model", "Pop"), **keys)
    assert says in str(caught.value)


def test_numbers_are_groups_by_what_was_read_and_gaps_are_unknown(toy_root: Any, toy: Toy, tmp_path: Any) -> None:
    """RecBole fills gaps in numbers by their mean and scales them to [0, 1]; groups must see neither."""
    folder = tmp_path / "root" / "toy"
    folder.mkdir(parents=True)
    for file in (toy_root / "toy").glob("toy.*"):
        text = file.read_text()
        if file.suffix == ".user":
            lines = text.replace("age:token", "age:float").splitlines()
            text = "\n".join([lines[0], *(f"{line.rsplit(chr(9), 1)[0]}\t" for line in lines[1:6]), *lines[6:]]) + "\n"
        (folder / file.name).write_text(text)
    bins = {"age": {"young": "[0,40)", "old": "[40,100)"}}
    config = Config(overrides=toy("Pop", data_path=str(tmp_path / "root"), user_groups=["age"], group_bins=bins))
    found = named.user_groups(config, load.load(config), "age")
    assert found.membership.sum(0).tolist() == [15, 22], "ages 20-39 less five unknown, 40-61"
    assert found.unknown == 5
    assert not found.membership[0].any()
