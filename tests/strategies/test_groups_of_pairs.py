"""Which groups a strategy sees: of items, of users, or of both; in the data and in a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategy_toy import EVERY, GENDER, GENRE, ITEMS, PAIRS, USERS, batch, names_of, view

from recbole_fair.data import load
from recbole_fair.data.subsets import held_back
from recbole_fair.errors import UsageError
from recbole_fair.groups.pairs import of_pairs
from recbole_fair.host import InputType
from recbole_fair.settings.config import Config
from recbole_fair.strategies.base import group_means, sample_weights
from recbole_fair.training import view as training_view
from recbole_fair.training.view import _ids_of_rows

Toy = Callable[..., dict[str, Any]]


def crossed(user: int, item: int) -> list[str]:
    return [f"{gender}*{genre}" for gender in names_of(GENDER, user) for genre in names_of(GENRE, item)]


def test_groups_of_pairs_against_a_loop() -> None:
    groups = of_pairs("gender*genre", [GENDER, GENRE], USERS, ITEMS)
    users, items = np.array(PAIRS).T
    expected = Counter(name for user, item in PAIRS for name in crossed(user, item))
    assert dict(zip(groups.names, groups.counts(users, items).tolist(), strict=True)) == {
        name: expected[name] for name in groups.names
    }
    turned = of_pairs("genre*gender", [GENRE, GENDER], USERS, ITEMS)
    assert turned.names == groups.names, "users first, whatever the order in the key"


def test_membership_of_a_batch_against_a_loop() -> None:
    seen, rows = view(GENDER, GENRE), batch(40)
    for (user, item), found in zip(
        zip(rows["user_id"].tolist(), rows["item_id"].tolist(), strict=True),
        seen.membership(rows["user_id"], rows["item_id"]).tolist(),
        strict=True,
    ):
        assert found == [float(name in crossed(user, item)) for name in seen.groups.names]


def test_rows_that_are_negatives_belong_to_no_group() -> None:
    config = {"LABEL_FIELD": "label", "train_neg_sample_args": {"distribution": "uniform"},
              "MODEL_INPUT_TYPE": InputType.POINTWISE}  # fmt: skip
    rows = batch(6)
    rows["label"] = torch.tensor([1.0, 0, 1, 0, 0, 1])
    ids = _ids_of_rows(config, "user_id", "item_id")(rows)
    for groups in (GENDER, EVERY):
        assert (view(groups).membership(*ids).sum(1) == rows["label"]).all()


def test_absent_groups_leave_by_name_and_keep_the_others_in_place() -> None:
    pairs = np.array([pair for pair in PAIRS if "M*b" not in crossed(*pair)]).T
    groups = of_pairs("gender*genre", [GENDER, GENRE], USERS, ITEMS)
    present = groups.present(*pairs)
    assert present.absent == ("M*b",)
    assert present.names == tuple(name for name in groups.names if name not in present.absent)
    assert present.counts(*pairs).tolist() == groups.counts(*pairs)[groups.counts(*pairs) > 0].tolist()


@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 10**6))
def test_sample_weights_realise_the_group_weights(size: int, count: int, seed: int) -> None:
    """Overlapping groups, groups of nobody and samples of no group included."""
    drawn = np.random.default_rng(seed)
    membership = torch.from_numpy(drawn.random((size, count)) < 0.4).double()
    samples = torch.from_numpy(drawn.random(size))
    means, present = group_means(samples, membership)
    for group in range(count):
        inside = [samples[row].item() for row in range(size) if membership[row, group]]
        assert present[group].item() == bool(inside)
        assert means[group].item() == pytest.approx(np.mean(inside) if inside else 0.0)
    weights = torch.from_numpy(drawn.random(count)) * present
    weights = weights / weights.sum().clamp(min=1e-30)
    grouped = [row for row in range(size) if membership[row].any()]
    outside = sum(samples[row].item() for row in range(size) if row not in grouped)
    expected = (len(grouped) * float(weights @ means) + outside) / size
    got = (sample_weights(weights, membership) * samples).mean().item()
    assert got == pytest.approx(expected, abs=1e-12)


# --- from the configuration


def found(toy: Toy, **keys: Any) -> Any:
    config = Config(overrides=toy("ReweightMF", **keys))
    return training_view.fair_group(config, load.load(config))


def test_groups_of_users_and_products_from_a_configuration(toy: Toy) -> None:
    assert found(toy, fair_group="gender").names == ("F", "M")
    assert found(toy).names == ("popular", "rest"), "the first of item_groups"
    both = found(toy, fair_group="genre*gender")
    assert both.names == ("F*comic", "F*drawn", "M*noir")
    assert both.absent == ("F*noir", "M*comic", "M*drawn")
    binned = found(toy, fair_group="gender*age*genre", group_bins={"age": {"young": "[0,40)", "old": "[40,inf)"}})
    assert "F*old*comic" in binned.names and "M*old*noir" in binned.names


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"fair_group": "gendr"}, "Did you mean 'gender'"),
        ({"fair_group": "gender*gnre"}, "Did you mean 'genre'"),
        ({"fair_group": "age", "group_bins": {"age": {"all": "[0,100)", "none": "[200,300)"}}}, "none without"),
        ({"fair_group": "age", "group_bins": {"age": {"all": "[0,100)"}}}, "1 group(s) in training"),
        ({"item_groups": []}, "set fair_group"),
    ],
)
def test_groups_that_cannot_be_compared_are_refused(keys: dict[str, Any], says: str, toy: Toy) -> None:
    with pytest.raises(UsageError) as caught:
        found(toy, **keys)
    assert says in str(caught.value)


def test_groups_of_users_are_refused_where_their_labels_are_held_back(toy: Toy) -> None:
    with pytest.raises(UsageError, match="fair_group='gender' needs every user's label"):
        found(toy, fair_group="gender", hold_labels=0.5)
    assert found(toy, fair_group="genre", hold_labels=0.5).names == ("comic", "drawn", "noir")


def test_held_back_labels_are_unknown_to_a_strategy(toy: Toy) -> None:
    config = Config(overrides=toy("C-PMF", sensitive_attribute="gender", hold_labels=0.5))
    loaded = load.load(config)
    classes = training_view.training_view(config, loaded).attributes["gender"]
    held = held_back(config, loaded.dataset.user_num)
    assert held.sum() == 21 and not held[0]
    assert (classes[torch.from_numpy(held)] == -1).all()
    assert (classes[1:][torch.from_numpy(~held)[1:]] >= 0).sum() >= 20  # one user's gender is unknown


def test_the_view_holds_training_interactions_only(toy: Toy) -> None:
    config = Config(overrides=toy("ReweightMF", fair_group="gender"))
    loaded = load.load(config)
    seen = training_view.training_view(config, loaded)
    assert len(seen.users) == len(loaded.parts["train"]) < len(loaded.dataset)
    assert seen.items.tolist() == loaded.trained("")[1].tolist()
    assert seen.times is not None and len(seen.times) == len(seen.users)
