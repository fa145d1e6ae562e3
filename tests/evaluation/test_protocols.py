"""Candidates and labeled pairs: what is asked is fixed by the split alone, and figures follow from the files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loops
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from planted import run_planted
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from recbole_fair.data import candidates, load
from recbole_fair.errors import TrainingError, UsageError
from recbole_fair.metrics.answer_table import choose_threshold
from recbole_fair.rundir.result import Result
from recbole_fair.runner import open_run, run
from recbole_fair.settings.config import Config

Toy = Callable[..., dict[str, Any]]
Ratings = dict[str, list[tuple[str, float]]]  # user -> (item, rating), oldest first

CANDIDATES = {"eval_protocol": "candidates", "num_candidates": 6, "save_recommendations": True}
LABELED = {"eval_protocol": "labeled", "valid_metric": "AUC", "likes": "[4,inf)"}
OF_GENDERS = [
    "AUC",
    "F1",
    "Precision",
    "Recall",
    "Yes_Share",
    "GD",
    "GD_Between",
    "Rate",
    "Rate_Sq",
    "GD_Gap",
    "Gap_F1",
]


def mixed(user: str, item: str, _: int) -> float:
    """Scores without a tie or a pattern."""
    return math.sin(sum(ord(sign) * (place + 3) ** 2 for place, sign in enumerate(f"{user}|{item}")))


# --- candidates


def drawn(folder: Path, split: str) -> loops.Sets:
    found: loops.Sets = {}
    for row in loops.rows(folder / "candidates.tsv", "\t"):
        if row["split"] == split:
            assert row["item_id"] not in found.setdefault(row["user_id"], set()), "no candidate twice"
            found[row["user_id"]].add(row["item_id"])
    return found


@pytest.mark.parametrize("count", [1, 6, 500])
def test_candidates_are_real_and_unseen_and_as_many_as_there_are(count: int, toy: Toy, toy_root: Path) -> None:
    result = run_planted(toy, mixed, **{**CANDIDATES, "num_candidates": count})
    folder = Path(result.run_dir)
    everything, judged = set(loops.atomic(toy_root / "toy" / "toy.item")), loops.judged(folder)
    for split in ("valid", "test"):
        found = drawn(folder, split)
        assert found.keys() == judged.test.keys()
        for user, items in found.items():
            unseen = everything - judged.known[user] - judged.test[user]
            assert items <= unseen
            assert len(items) == min(count, len(unseen))
    assert drawn(folder, "valid") != drawn(folder, "test") or count == 500


def test_candidates_depend_on_the_split_seed_and_on_nothing_else(toy: Toy, tmp_path: Path) -> None:
    def of(name: str, model: str, **more: Any) -> tuple[Result, str]:
        result = run(**toy(model, run_dir=str(tmp_path / name), **{**CANDIDATES, "epochs": 1, **more}))
        stored = json.loads((tmp_path / name / "result.json").read_text())
        assert stored["data"]["candidates"] == result.data["candidates"] is not None
        return result, (tmp_path / name / "candidates.tsv").read_text()

    first, text = of("a", "MF")
    for name, model, more in (("b", "SASRec", {}), ("c", "LightGCN", {"seed": 7}), ("d", "MF", {"topk": [2, 5]})):
        other, same = of(name, model, **more)
        assert (other.data["candidates"], same) == (first.data["candidates"], text)
    for name, more in (("e", {"split_seed": 3}), ("f", {"num_candidates": 5})):
        other, differs = of(name, "MF", **more)
        assert other.data["candidates"] != first.data["candidates"] and differs != text
    assert run(**toy("MF", run_dir=str(tmp_path / "full"))).data["candidates"] is None


def ranked(folder: Path, scores: dict[str, dict[str, float]]) -> loops.Judged:
    """The files of a run with lists made anew: test items and candidates by falling score."""
    judged, asked = loops.judged(folder), drawn(folder, "test")
    stored = dict(judged.lists)
    judged.lists = {
        user: sorted(liked | asked[user], key=lambda item: -scores[user][item]) for user, liked in judged.test.items()
    }
    for user, listed in stored.items():
        assert judged.lists[user][: len(listed)] == listed
    return judged


@pytest.mark.parametrize("model", ["SASRec", "MF", "Planted"])
def test_figures_follow_from_candidates_and_scores_by_a_double_loop(model: str, toy: Toy, toy_root: Path) -> None:
    keys = {**CANDIDATES, "metrics": ["Recall", "NDCG", "Hit", "MRR", "CV", "MIN", "Gap_NDCG"]}
    result = run_planted(toy, mixed, **keys) if model == "Planted" else run(**toy(model, **keys))
    _, loaded, trainer = open_run(Path(result.run_dir))
    batch = loaded.test.collate_fn(range(len(loaded.test.uid_list)))[0]
    with torch.no_grad():
        matrix = trainer.model.full_sort_predict(batch).view(len(batch), -1)
    users, items = loaded.names("user"), loaded.names("item")
    scores = {
        str(users[user]): dict(zip(items.tolist(), row.tolist(), strict=True))
        for user, row in zip(loaded.test.uid_list.tolist(), matrix, strict=True)
    }
    judged = ranked(Path(result.run_dir), scores)
    genres = loops.members(loops.atomic(toy_root / "toy" / "toy.item"), "genre", several=True)
    genders = loops.members(loops.atomic(toy_root / "toy" / "toy.user"), "gender")
    expected = loops.figures(judged, [3, 5], {"pop": loops.popular(judged), "genre": genres}, {"gender": genders})
    for key, value in result.test.items():
        assert value == pytest.approx(expected.test[key], abs=1e-9), key


def test_fewer_candidates_than_k_leave_places_empty(toy: Toy) -> None:
    result = run_planted(toy, mixed, **{**CANDIDATES, "num_candidates": 1, "topk": [5]})
    judged = loops.judged(Path(result.run_dir))
    assert {len(listed) for listed in judged.lists.values()} == {3}, "two test items and one candidate"
    assert result.test["recall@5"] == 1
    assert result.test["precision@5"] == pytest.approx(2 / 5, abs=1e-12)


@hypothesis_settings(max_examples=80, deadline=None)
@given(st.integers(2, 60), st.integers(1, 70), st.randoms(use_true_random=False))
def test_draws_are_different_unseen_items(item_num: int, count: int, random: Any) -> None:
    seen = np.array(sorted(random.sample(range(1, item_num), random.randrange(item_num))), dtype=np.int64)
    found = candidates.draw(seen, item_num, count, np.random.default_rng(random.randrange(1 << 30)))
    assert len(set(found.tolist())) == len(found) == min(count, item_num - 1 - len(seen))
    assert not set(found.tolist()) & {0, *seen.tolist()}
    assert all(0 < item < item_num for item in found)


@pytest.mark.parametrize("count", [4, 40], ids=["few of many", "most of them"])
def test_draws_favour_no_item(count: int) -> None:
    """Both ways of drawing: each of 50 unseen items is drawn in a share count / 50, within five standard errors."""
    rng, seen, rounds = np.random.default_rng(1), np.arange(1, 11), 4000
    times = np.bincount(np.concatenate([candidates.draw(seen, 61, count, rng) for _ in range(rounds)]), minlength=61)
    share = count / 50
    assert not times[:11].any()
    assert (abs(times[11:] / rounds - share) < 5 * math.sqrt(share * (1 - share) / rounds)).all()


# --- labeled pairs: figures


def ratings_of(path: Path) -> Ratings:
    found: Ratings = {}
    for row in sorted(loops.rows(path, "\t"), key=lambda row: float(row["timestamp:float"])):
        found.setdefault(row["user_id:token"], []).append((row["item_id:token"], float(row["rating:float"])))
    return found


def pairs_of(ratings: Ratings, phase: str) -> dict[tuple[str, str], float]:
    """The toy data's parts are a user's rows by time: the last two are test, the two before them validation."""
    cut = slice(-2, None) if phase == "test" else slice(-4, -2)
    return {(user, item): rating for user, rows in ratings.items() for item, rating in rows[cut]}


@pytest.fixture
def ratings(toy_root: Path) -> Ratings:
    return ratings_of(toy_root / "toy" / "toy.inter")


def predictions(folder: Path) -> list[tuple[str, str, bool, float]]:
    rows = loops.rows(folder / "predictions.tsv", "\t")
    assert {row["variant"] for row in rows} == {"none"}
    return [(row["user_id"], row["item_id"], row["label"] == "1", float(row["score"])) for row in rows]


def answer_figures(rows: list[tuple[str, str, bool, float]], threshold: float) -> dict[str, float]:
    """By scikit-learn, on the rows of a group or of all."""
    labels, yes, scores = [row[2] for row in rows], [row[3] >= threshold for row in rows], [row[3] for row in rows]
    return {
        "f1": float(f1_score(labels, yes)),
        "precision": float(precision_score(labels, yes, zero_division=np.nan)),
        "recall": float(recall_score(labels, yes, zero_division=np.nan)),
        "auc": float(roc_auc_score(labels, scores)),
        "yes_share": sum(yes) / len(yes),
    }


@pytest.mark.parametrize("model", ["MF", "SASRec", "EASE"])
@pytest.mark.parametrize("rule", ["share", "f1"])
def test_answers_follow_from_predictions_and_threshold(
    model: str, rule: str, toy: Toy, toy_root: Path, ratings: Ratings
) -> None:
    result = run(**toy(model, **LABELED, yes_threshold=rule, metrics=OF_GENDERS))
    folder = Path(result.run_dir)
    rows = predictions(folder)
    assert {(user, item): label for user, item, label, _ in rows} == {
        pair: rating >= 4 for pair, rating in pairs_of(ratings, "test").items()
    }
    overall = answer_figures(rows, result.threshold)
    for key, value in overall.items():
        assert result.test[key] == pytest.approx(value, abs=1e-12), key
    genders = loops.members(loops.atomic(toy_root / "toy" / "toy.user"), "gender")
    given = {}
    for gender, own in genders.items():
        figures = answer_figures([row for row in rows if row[0] in own], result.threshold)
        given[gender] = figures["f1"]
        cell = next(row for row in result.group_rows if row["group"] == gender)
        assert all(cell[key] == pytest.approx(value, abs=1e-12) for key, value in figures.items())
    base, count = overall["f1"], len(given)
    expected = {
        "gd_between": math.sqrt(sum((value - base) ** 2 for value in given.values()) / count),
        **dict.fromkeys(("gd", "rate", "rate_sq", "gd_gap"), 0.0),  # these models read no prompt
        "gap_f1": max(given.values()) - min(given.values()),
    }
    for key, value in expected.items():
        assert result.test[f"{key}[gender]"] == pytest.approx(value, abs=1e-12), key
    counts = loops.rows(folder / "users.csv")
    assert sum(float(row["tp"]) + float(row["fp"]) for row in counts) == overall["yes_share"] * len(rows)


def test_planted_answers_have_the_gd_worked_out_by_hand(toy: Toy, ratings: Ratings) -> None:
    """Of each user one test pair is liked and one is not. Women get the right answers: F1 1. Men get two Yes: 12 right,
    12 wrong, F1 24/36 = 2/3. Together (uF0 too, whose gender is unknown): 42 right, 12 wrong, F1 84/96 = 7/8.
    """
    known = {pair: rating for user, rows in ratings.items() for pair, rating in (((user, i), r) for i, r in rows)}

    def answers(user: str, item: str, _: int) -> float:
        return known.get((user, item), 0.0) if user[1] == "F" else 5.0

    result = run_planted(toy, answers, **LABELED, yes_threshold=3.5, metrics=OF_GENDERS)
    given, base = (1.0, 2 / 3), 7 / 8
    expected = {
        "f1": base,
        "precision": 42 / 54,
        "recall": 1.0,
        "yes_share": 54 / 84,
        "gd_between[gender]": math.sqrt(((given[0] - base) ** 2 + (given[1] - base) ** 2) / 2),
        **dict.fromkeys(("gd[gender]", "rate[gender]", "rate_sq[gender]", "gd_gap[gender]"), 0.0),
        "gap_f1[gender]": 1 / 3,
    }
    for key, value in expected.items():
        assert result.test[key] == pytest.approx(value, abs=1e-12), key
    assert (result.status, result.threshold) == ("ok", 3.5)


def test_every_metric_of_answers_runs_and_follows_from_the_predictions(toy: Toy, toy_root: Path) -> None:
    """Those of ratings compare two groups of users who rated the same items: here by age."""
    names = ["AUC", "F1", "Gap_AUC", "Gap_Yes_Share", "Value_Unfairness", "Absolute_Unfairness", "Under_Unfairness",
             "Over_Unfairness", "Non_Parity", "Differential_Fairness"]  # fmt: skip
    bins = {"age": {"young": "[0,40)", "old": "[40,inf)"}, "gender": {"F": ["F"], "M": ["M"], "X": ["X"]}}
    keys = {"metrics": names, "user_groups": ["age", "gender"], "group_bins": bins}
    result = run_planted(toy, mixed, **LABELED, **keys)
    table = loops.atomic(toy_root / "toy" / "toy.user")
    sides = [
        [row for row in predictions(Path(result.run_dir)) if (float(table[row[0]]["age"]) < 40) is young]
        for young in (True, False)
    ]
    errors = [{item: loops.mean(s - y for _, i, y, s in side if i == item) for _, item, _, _ in side} for side in sides]
    both = errors[0].keys() & errors[1].keys()
    assert both
    value = loops.mean(abs(errors[0][item] - errors[1][item]) for item in both)
    under = loops.mean(abs(max(0, -errors[0][item]) - max(0, -errors[1][item])) for item in both)
    assert result.test["value_unfairness[age]"] == pytest.approx(value, abs=1e-9)
    assert result.test["under_unfairness[age]"] == pytest.approx(under, abs=1e-9)
    means = [loops.mean(score for *_, score in side) for side in sides]
    assert result.test["non_parity[age]"] == pytest.approx(abs(means[0] - means[1]), abs=1e-9)
    shares = [(sum(s >= result.threshold for *_, s in side) + 0.5) / (len(side) + 1) for side in sides]
    epsilon = max(abs(math.log(shares[0] / shares[1])), abs(math.log((1 - shares[0]) / (1 - shares[1]))))
    assert result.test["differential_fairness[age]"] == pytest.approx(epsilon, abs=1e-9)
    assert result.interval["value_unfairness[age]"] is None and result.interval["gap_auc[age]"] is not None
    for name in ("value_unfairness", "non_parity"):
        assert result.test[f"{name}[gender]"] is None, "between two groups only"


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    middle = loops.mean(values)
    return middle, math.sqrt(loops.mean((value - middle) ** 2 for value in values))


@pytest.mark.parametrize("pairs", ["in_group", "out_group", "all"])
def test_sf_follows_from_predictions_and_training_rows(pairs: str, toy: Toy, toy_root: Path, ratings: Ratings) -> None:
    """MoS, Eq. 1-4, by plain loops: between users of even and odd age, of whom both read comics and noir."""
    keys = {"metrics": ["AUC", "SF", "SF_Every", "SF_In"], "user_groups": ["age"], "sf_z": 0.5, "sf_pairs": pairs}
    bins = {"age": {"even": list(range(20, 62, 2)), "odd": list(range(21, 62, 2))}}
    result = run_planted(toy, mixed, **LABELED, **keys, group_bins=bins)
    table, history = (
        loops.atomic(toy_root / "toy" / "toy.user"),
        {u: {i for i, _ in r[:-4]} for u, r in ratings.items()},
    )
    group_of = {user: "odd" if int(row["age"]) % 2 else "even" for user, row in table.items()}
    share = {
        group: {
            item: loops.mean(item in history[user] for user in history if group_of[user] == group)
            for item in set().union(*history.values())
        }
        for group in ("even", "odd")
    }
    fractions: dict[str, list[float]] = {"sf": [], "sf_every": [], "sf_in": []}
    asked = [(user, item, score >= result.threshold) for user, item, _, score in predictions(Path(result.run_dir))]
    for group, other in (("even", "odd"), ("odd", "even")):
        degree = {item: share[group][item] - share[other][item] for item in share[group]}
        middle, deviation = mean_and_deviation(list(degree.values()))
        typical = {item for item, value in degree.items() if value >= middle + 0.5 * deviation}
        known = {user: len(items & typical) / len(items) for user, items in history.items()}
        speaks = {"in_group": {group}, "out_group": {other}, "all": {group, other}}[pairs]
        for name, everything in (("sf", False), ("sf_every", True)):
            counted = [(u, i) for u, i, yes in asked if (yes or everything) and group_of[u] in speaks]
            fractions[name].append(sum(known[u] for u, _ in counted) / sum(i in typical for _, i in counted))
        fractions["sf_in"].append(
            loops.mean(known[u] for u, i, yes in asked if yes and group_of[u] == group and i in typical)
        )
    for name, both in fractions.items():
        assert result.test[name] == pytest.approx(1 - loops.mean(both), abs=1e-9), name
        low, high = result.interval[name] or (-math.inf, 1)
        assert low <= 1 - loops.mean(both) <= high <= 1, "the bound of SF; a resampling may meet no stereotype at all"
    assert not any("noise adds" in warning and "sf" in warning for warning in result.warnings), "no disparity"


# --- labeled pairs: the threshold


@pytest.mark.parametrize("rule", ["share", "f1"])
def test_the_threshold_is_chosen_on_validation_and_best_there(rule: str, toy: Toy, ratings: Ratings) -> None:
    result = run_planted(toy, mixed, **LABELED, yes_threshold=rule)
    asked = [(np.float32(mixed(*pair, 0)), rating >= 4) for pair, rating in pairs_of(ratings, "valid").items()]
    if rule == "share":
        assert sum(score >= result.threshold for score, _ in asked) == sum(label for _, label in asked)
    labels = [label for _, label in asked]
    f1 = {score: f1_score(labels, [other >= score for other, _ in asked]) for score, _ in asked}
    if rule == "f1":
        assert f1[np.float32(result.threshold)] == max(f1.values())
    assert result.valid["f1"] == pytest.approx(f1[np.float32(result.threshold)], abs=1e-12)


@pytest.mark.parametrize("rule", ["share", "f1"])
def test_labels_of_test_do_not_move_the_threshold(rule: str, toy: Toy, toy_root: Path, tmp_path: Path) -> None:
    """Planted: the same data but for the ratings of each user's last two rows."""
    folder = tmp_path / "data" / "toy"
    folder.mkdir(parents=True)
    for file in (toy_root / "toy").glob("toy.*"):
        (folder / file.name).write_text(file.read_text())
    lines = (folder / "toy.inter").read_text().splitlines()
    owner = [line.split("\t")[0] for line in lines]
    for place, line in enumerate(lines[1:], start=1):
        if owner.count(owner[place]) - owner[:place].count(owner[place]) <= 2:
            user, item, rating, time = line.split("\t")
            lines[place] = "\t".join([user, item, str(8 - int(rating)), time])
    (folder / "toy.inter").write_text("\n".join(lines) + "\n")
    before = run_planted(toy, mixed, **LABELED, yes_threshold=rule)
    keys = {"data_path": str(tmp_path / "data"), "run_dir": str(tmp_path / "other")}
    after = run_planted(toy, mixed, **LABELED, yes_threshold=rule, **keys)
    assert (after.threshold, after.valid) == (before.threshold, before.valid)
    assert after.test["f1"] != before.test["f1"]
    assert after.data["candidates"] != before.data["candidates"], "the digest covers labels"


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=25))
def test_the_best_f1_is_found_among_ties(pairs: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([float(score) for score, _ in pairs]), np.array([label for _, label in pairs])
    found = choose_threshold("f1", scores, labels)
    reached = {cut: f1_score(labels, scores >= cut, zero_division=0.0) for cut in set(scores.tolist())}
    assert reached[found] == max(reached.values())


def test_test_is_not_judged_before_validation(toy: Toy) -> None:
    """A run that is opened again has no threshold yet, and NaN would answer No to everything."""
    _, loaded, trainer = open_run(Path(run(**toy("MF", **LABELED)).run_dir))
    with pytest.raises(UsageError, match="judge validation first"):
        trainer.evaluate(loaded.test, load_best_model=False)
    trainer.evaluate(loaded.valid, load_best_model=False)
    assert trainer.evaluate(loaded.test, load_best_model=False)["yes_share"] > 0


def test_always_yes_is_collapse_and_not_fairness(toy: Toy) -> None:
    result = run_planted(toy, mixed, **LABELED, yes_threshold=-10.0)
    assert (result.test["yes_share"], result.test["recall"]) == (1, 1)
    assert result.test["f1"] == pytest.approx(2 * 0.5 / 1.5, abs=1e-12), "2p / (1 + p) at a share p of likes"
    assert result.test["gd[gender]"] == pytest.approx(0, abs=1e-12)
    assert result.status == "collapsed"
    assert any("100.0% of the answers are Yes" in warning for warning in result.warnings)
    stored = json.loads((Path(result.run_dir) / "result.json").read_text())
    assert (stored["status"], stored["error"]) == ("collapsed", None)
    again = run_planted(toy, mixed, **LABELED, yes_threshold=-10.0)
    assert again.test == result.test, "collapsed is finished"


def test_never_yes_is_collapse_with_undefined_figures(toy: Toy) -> None:
    result = run_planted(toy, mixed, **LABELED, yes_threshold=10.0)
    assert (result.test["yes_share"], result.test["f1"], result.test["recall"]) == (0, 0, 0)
    for key in ("precision", "rate[gender]", "rate_sq[gender]"):
        assert result.test[key] is None
        assert sum(warning.startswith(f"{key} is undefined on test") for warning in result.warnings) == 1
    assert result.test["auc"] is not None
    assert result.status == "collapsed"


def test_a_lopsided_answer_within_bounds_is_no_collapse(toy: Toy, ratings: Ratings) -> None:
    scores = sorted(np.float32(mixed(*pair, 0)) for pair in pairs_of(ratings, "test"))
    result = run_planted(toy, mixed, **LABELED, yes_threshold=float(scores[len(scores) // 8]))
    assert 0.85 < result.test["yes_share"] < 0.9 and result.status == "ok"


@pytest.mark.parametrize("name", ["F1", "Yes_AUC", "recall", "GD[gender]", "Gap_F1[gender]", "Non_Parity[gender]"])
def test_training_may_stop_by_any_metric_of_answers(name: str, toy: Toy) -> None:
    """Under the name by which it is listed, or by which RecBole has registered it."""
    result = run(**toy("MF", **{**LABELED, "valid_metric": name}, epochs=1))
    history = loops.rows(Path(result.run_dir) / "history.csv")
    assert f"valid {name.lower().removeprefix('yes_')}" in {row["metric"] for row in history}


# --- labeled pairs: what is asked and what is learnt


def test_only_the_latest_targets_of_each_user_are_asked(toy: Toy, ratings: Ratings) -> None:
    result = run_planted(toy, mixed, **{**LABELED, "likes": "[4,4.5)"}, targets_per_user=1)
    asked = {(user, item): label for user, item, label, _ in predictions(Path(result.run_dir))}
    assert asked == {(user, rows[-1][0]): rows[-1][1] == 4 for user, rows in ratings.items()}


def test_a_model_learns_from_likes_and_is_judged_on_all(toy: Toy) -> None:
    liked = load.load(Config(overrides=toy("MF", **LABELED)))
    every = load.load(Config(overrides=toy("MF", **LABELED, learn_from="all")))
    for loaded, least in ((liked, 4), (every, 3)):
        assert float(loaded.train.dataset.inter_feat["rating"].min()) == least
        assert float(loaded.parts["train"].inter_feat["rating"].min()) == 3, "masks and groups see every row"
        assert set(loaded.test.labels.values()) == {True, False}
    assert liked.test.labels == every.test.labels and liked.asked == every.asked
    reads = load.load(Config(overrides=toy("SASRec", **LABELED)))
    disliked = {
        (user, item)
        for feat in (reads.parts[part].inter_feat for part in ("train", "valid"))
        for user, item, rating in zip(*(feat[name].tolist() for name in ("user_id", "item_id", "rating")), strict=True)
        if rating < 4
    }
    histories = zip(reads.test.uid_list.tolist(), reads.test.user_df["item_id_list"].tolist(), strict=True)
    assert not disliked & {(user, item) for user, items in histories for item in items}


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec", "MF"])
def test_a_user_who_liked_nothing_is_asked_all_the_same(model: str, toy: Toy, toy_root: Path, tmp_path: Path) -> None:
    """A sequential model then reads an empty history, whose last place RecBole's models look up."""
    folder = tmp_path / "data" / "toy"
    folder.mkdir(parents=True)
    for file in (toy_root / "toy").glob("toy.*"):
        lines = [line.split("\t") for line in file.read_text().splitlines()]
        sour = [[*row[:2], "1", row[3]] if row[0] in ("uF1", "uM3") and len(row) == 4 else row for row in lines]
        (folder / file.name).write_text("\n".join("\t".join(row) for row in sour) + "\n")
    result = run(**toy(model, data_path=str(tmp_path / "data"), epochs=1, **LABELED))
    assert {"uF1", "uM3"} <= {row[0] for row in predictions(Path(result.run_dir))}


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"likes": None}, "likes='[4,inf)'"),
        ({"likes": "[1,inf)"}, "all of the valid pairs are liked"),
        ({"likes": "[7,inf)"}, "none of the valid pairs are liked"),
        ({"likes": "four"}, "likes='four'"),
        ({"RATING_FIELD": "stars"}, "toy has no ratings (a field stars in .inter"),
        ({"load_col": {"inter": ["user_id", "item_id", "timestamp"], "user": ["user_id", "gender"],
                       "item": ["item_id", "genre"]}}, "no field 'rating'"),
        ({"normalize_all": True}, "normalize_all=False"),
        ({"metrics": ["NDCG"]}, "NDCG judges lists"),
        ({"metrics": ["CV"]}, "CV judges lists"),
        ({"valid_metric": "AUC@5"}, "a metric of answers"),
        ({"valid_metric": "GD[pop]"}, "user groupings, ['gender']"),
        ({"valid_metric": "AUC[gender]"}, "has no [grouping]"),
        ({"valid_metric": "SF"}, "neither side of it is better"),
        ({"valid_metric": "Yes_Share"}, "neither side of it is better"),
        ({"yes_threshold": "best"}, "yes_threshold='best'"),
        ({"targets_per_user": 0}, "targets_per_user=0"),
        ({"eval_protocol": "sampled"}, "eval_protocol='sampled'"),
        ({"eval_protocol": "full"}, "valid_metric='AUC'"),
        ({"eval_protocol": "full", "valid_metric": "NDCG@5", "metrics": ["RMSE"]}, "eval_protocol=labeled"),
        ({"eval_protocol": "full", "valid_metric": "NDCG@5", "metrics": ["GD"]}, "eval_protocol=labeled"),
        ({"eval_protocol": "candidates", "valid_metric": "NDCG@5", "num_candidates": 0}, "num_candidates=0"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_before_training(keys: dict[str, Any], says: str, toy: Toy) -> None:
    with pytest.raises(UsageError) as caught:
        run(**toy("MF", **{**LABELED, **keys}))
    assert says in str(caught.value)
    assert not Path(toy("MF")["run_dir"]).exists()


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_no_answer(wrong: float, toy: Toy) -> None:
    with pytest.raises(TrainingError, match="NaN or infinity"):
        run_planted(toy, lambda user, _, __: wrong if user == "uM3" else 1.0, **LABELED)
