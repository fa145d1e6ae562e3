"""A split by users, and seeded subsets of what is asked and learnt from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recbole_fair import registry, run
from recbole_fair.data import load, subsets
from recbole_fair.errors import UsageError
from recbole_fair.settings.config import Config

Toy = Callable[..., dict[str, Any]]
US = {"eval_args": {"split": {"US": [0.7, 0.1, 0.2]}}}
LABELED = {
    "eval_protocol": "labeled", "likes": "[4,inf)", "metrics": ["AUC", "F1"], "valid_metric": "AUC",
    "item_groups": [], "user_groups": [],
}  # fmt: skip


def loaded(keys: dict[str, Any]) -> load.Data:
    return load.load(Config(overrides=keys))


def users_of(data: load.Data) -> dict[str, set[str]]:
    return {phase: set(data.names("user")[data.pairs(phase)[0]].tolist()) for phase in data.parts}


@pytest.mark.parametrize("order", ["TO", "RO"])
def test_each_user_stands_wholly_in_one_part(order: str, toy: Toy) -> None:
    data = loaded(toy("Pop", eval_args={"split": {"US": [7, 1, 2]}, "order": order}))
    users = users_of(data)
    assert [len(users[phase]) for phase in ("train", "valid", "test")] == [30, 4, 8], "floor(.1 * 42), floor(.2 * 42)"
    assert len(set.union(*users.values())) == 42, "no user stands in two parts"
    assert sum(len(data.pairs(phase)[0]) for phase in data.parts) == 468, "no row is lost"


def test_the_seed_of_the_split_draws_the_users_and_nothing_else_does(toy: Toy, toy_root: Any, tmp_path: Any) -> None:
    first = users_of(loaded(toy("Pop", **US)))
    assert users_of(loaded(toy("Random", seed=7, **US))) == first
    assert users_of(loaded(toy("Pop", split_seed=7, **US))) != first
    folder = tmp_path / "reversed" / "toy"
    folder.mkdir(parents=True)
    for file in (toy_root / "toy").glob("toy.*"):
        head, *rows = file.read_text().splitlines()
        (folder / file.name).write_text("\n".join([head, *rows[::-1]]) + "\n")
    assert users_of(loaded(toy("Pop", data_path=str(folder.parent), **US))) == first, "nor the order of the file"


def test_popularity_of_training_users_is_judged_on_new_ones(toy: Toy) -> None:
    result = run(**toy("Pop", save_recommendations=True, **US))
    assert result.status == "ok" and 0 < result.test["recall@5"] < 1


@pytest.mark.parametrize("model", ["MF", "SASRec", "AlphaRec", "EASE"])
def test_models_that_know_trained_users_only_are_refused(model: str, toy: Toy) -> None:
    with pytest.raises(UsageError, match=f"{model} knows only those it has seen"):
        run(**toy(model, **US))


def test_a_model_that_declares_it_is_judged_on_new_users(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.load(registry.MODELS["MF"].target), "scores_new_users", True, raising=False)
    assert loaded(toy("MF", **US)).test.uid_list.numel() == 8


@pytest.mark.parametrize(
    "split",
    [
        {"US": [0.5, 0.5]},
        {"US": [0.7, 0.1, 0.1, 0.1]},
        {"US": [0.7, 0.3, 0]},
        {"US": "valid"},
        {"RS": [0.5, 0.5]},
        {"RS": [1, float("inf"), 1]},
        {"RS": [1, 1, 1], "US": [1, 1, 1]},
        {"XS": [1, 1, 1]},
        {},
    ],
)
def test_malformed_splits_are_refused(split: dict[str, Any], toy: Toy) -> None:
    with pytest.raises(UsageError, match=r"eval_args\.split"):
        Config(overrides=toy("Pop", eval_args={"split": split}))


# --- subsets


def pairs_of(data: load.Data) -> list[set[tuple[int, int]]]:
    return [set(loader.labels) for loader in (data.valid, data.test)]


def test_so_many_labeled_pairs_are_judged_and_the_digest_knows(toy: Toy) -> None:
    whole, some, more = (
        loaded(toy("MF", **LABELED, **keys)) for keys in ({}, {"max_eval_prompts": 20}, {"max_eval_prompts": 40})
    )
    assert [len(pairs) for pairs in pairs_of(some)] == [20, 20]
    for few, many, all_of in zip(pairs_of(some), pairs_of(more), pairs_of(whole), strict=True):
        assert few < many < all_of, "a smaller subset is part of a larger one"
    assert all(some.test.labels[pair] == whole.test.labels[pair] for pair in pairs_of(some)[1])
    assert len({data.asked for data in (whole, some, more)}) == 3
    assert some.split_digest() == whole.split_digest(), "the split is the same, what is asked of it is not"
    other = loaded(toy("Pop", seed=5, **LABELED, max_eval_prompts=20))
    assert other.asked == some.asked, "all models and seeds are asked the same"
    assert loaded(toy("MF", split_seed=9, **LABELED, max_eval_prompts=20)).asked != some.asked


def test_so_many_users_are_ranked_for_among_candidates(toy: Toy) -> None:
    keys = {"eval_protocol": "candidates", "num_candidates": 5}
    whole, some = loaded(toy("MF", **keys)), loaded(toy("MF", **keys, max_eval_prompts=6))
    assert some.test.uid_list.numel() == 6 and whole.test.uid_list.numel() == 42
    assert {user for user, _ in some.test.pairs()} <= {user for user, _ in whole.test.pairs()}
    assert some.asked != whole.asked
    result = run(**toy("MF", **keys, max_eval_prompts=6))
    assert result.data["candidates"] == some.asked


def test_a_limit_enters_the_hash_only_where_it_is_set(toy: Toy) -> None:
    digests = [
        Config(overrides=toy("MF", **LABELED, **keys)).hash("data")
        for keys in ({}, {"max_eval_prompts": None}, {"max_eval_prompts": 20})
    ]
    assert digests[0] == digests[1] != digests[2]


def test_limits_that_nothing_reads_are_named(toy: Toy) -> None:
    config = Config(overrides=toy("MF", max_eval_prompts=20, max_train_prompts=20))
    assert config.unused == ["max_eval_prompts", "max_train_prompts"], "full ranking of an id model asks no prompts"
    with pytest.raises(UsageError, match="out of bounds"):
        Config(overrides=toy("MF", **LABELED, max_eval_prompts=0))


def test_training_prompts_are_a_seeded_subset() -> None:
    config = {"max_train_prompts": 30, "split_seed": 4}
    chosen = subsets.training_prompts(config, 100)
    assert len(set(chosen.tolist())) == 30 and (np.diff(chosen) > 0).all() and chosen.max() < 100
    assert (chosen == subsets.training_prompts(dict(config), 100)).all()
    assert (chosen != subsets.training_prompts({**config, "split_seed": 5}, 100)).any()
    assert (subsets.training_prompts({**config, "max_train_prompts": None}, 7) == np.arange(7)).all()
    assert (subsets.training_prompts(config, 7) == np.arange(7)).all(), "fewer than the limit: all"
