"""The probe: AUCs against loops and scikit-learn, planted leaks, what is left out, and where states come from."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from toy import FANS, toy_keys

from recbole_fair import cli, run
from recbole_fair.data.subsets import held_back
from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.models.erase import leace
from recbole_fair.probe import attack as attacks
from recbole_fair.probe import findings, states
from recbole_fair.probe.attack import Fold, Plan, attack, detectable_leak, fold_auc, null_aucs, told_from_chance
from recbole_fair.probe.targets import Target, target_of
from recbole_fair.runner import open_run
from recbole_fair.settings import keys
from recbole_fair.settings.config import Config

# --- AUC and the fold loop


def pairwise_auc(positive: Any, negative: Any, positive_weight: Any = None, negative_weight: Any = None) -> float:
    """By the definition: a double loop over pairs."""
    won = total = 0.0
    for place, high in enumerate(positive):
        for other, low in enumerate(negative):
            weight = 1.0 if positive_weight is None else positive_weight[place] * negative_weight[other]
            won += weight * (1.0 if high > low else 0.5 if high == low else 0.0)
            total += weight
    return won / total if total else float("nan")


def three_classes(users: int = 150) -> tuple[Any, Any]:
    generator = np.random.default_rng(3)
    classes = generator.choice(3, users, p=[0.5, 0.3, 0.2])
    return generator.normal(size=(users, 4)) + 0.5 * classes[:, None] * [1, 0, -1, 0], classes


@pytest.mark.parametrize("average", ["ovr", "ovo"])
def test_the_attack_is_a_plain_loop_over_stratified_folds(average: str) -> None:
    values, classes = three_classes()
    expected = []
    for repeat in range(2):
        for seen, held_out in StratifiedKFold(5, shuffle=True, random_state=7 + repeat).split(values, classes):
            scaler = StandardScaler().fit(values[seen])
            model = LogisticRegression(max_iter=1000).fit(scaler.transform(values[seen]), classes[seen])
            said = model.predict_proba(scaler.transform(values[held_out]))
            expected.append(roc_auc_score(classes[held_out], said, multi_class=average, average="macro"))
    made = attack(values, classes, "logistic", Plan(folds=5, repeats=2, average=average, seed=7))
    np.testing.assert_allclose(made.by_fold, expected)
    assert made.auc == pytest.approx(np.mean(expected))
    np.testing.assert_allclose(made.by_draw, [np.mean(expected[:5]), np.mean(expected[5:])])


def test_either_solver_finds_the_same_attack_on_collinear_states(monkeypatch: pytest.MonkeyPatch) -> None:
    values, classes = three_classes(600)
    nearly = np.concatenate(
        [values, values @ np.ones((4, 3)) + 1e-3 * np.random.default_rng(1).normal(size=(600, 3))], 1
    )
    newton = attack(nearly, classes, "logistic", Plan(repeats=1))
    monkeypatch.setattr("recbole_fair.probe.attack._NEWTON", 0)
    assert attack(nearly, classes, "logistic", Plan(repeats=1)).auc == pytest.approx(newton.auc, abs=0.002)


def test_every_user_is_held_out_once_a_draw_and_never_trained_on() -> None:
    values, classes = three_classes()
    made = attack(values, classes, "logistic", Plan(repeats=2))
    for folds in (made.folds[:10], made.folds[10:]):
        assert sorted(np.concatenate([fold.users for fold in folds])) == list(range(len(classes)))
    for fold in made.folds:
        np.testing.assert_allclose(fold.probabilities.sum(axis=1), 1)
        np.testing.assert_array_equal(fold.classes, classes[fold.users])


def test_a_held_out_user_moves_nobody_elses_score() -> None:
    values, classes = three_classes()
    plan = Plan(repeats=1)
    before = attack(values, classes, "logistic", plan).folds[0]
    values[before.users[0]] = 1e6  # enters neither the standardisation nor the training of its own fold
    after = attack(values, classes, "logistic", plan).folds[0]
    np.testing.assert_array_equal(after.probabilities[1:], before.probabilities[1:])
    assert not np.array_equal(after.probabilities[0], before.probabilities[0])


def test_the_scale_of_the_states_says_nothing() -> None:
    values, classes = three_classes()
    scaled = values * [1e4, 1e-4, 1, 7] + [0, 3, -5e3, 1]
    plain, other = (attack(found, classes, "logistic", Plan(repeats=1)).auc for found in (values, scaled))
    assert other == pytest.approx(plain, abs=1e-3)


def test_relabelled_classes_have_the_same_auc() -> None:
    values, classes = three_classes()
    fold = attack(values, classes, "logistic", Plan(repeats=1)).folds[0]
    order = np.array([2, 0, 1])
    turned = Fold(fold.users, np.argsort(order)[fold.classes], fold.probabilities[:, order])
    for average in ("ovr", "ovo"):
        np.testing.assert_allclose(fold_auc(turned, average), fold_auc(fold, average))


# --- leaks and chance


@pytest.mark.parametrize("attacker", list(attacks.ATTACKERS))
def test_a_planted_leak_is_found(attacker: str) -> None:
    generator = np.random.default_rng(0)
    classes = np.repeat([0, 1], [80, 40])
    values = generator.normal(size=(120, 8))
    values[:, 5] += 6 * classes
    assert attack(values, classes, attacker, Plan(repeats=1)).auc > 0.98


def test_the_mlp_sees_what_no_line_separates() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=(600, 2))
    classes = (values[:, 0] * values[:, 1] > 0).astype(int)
    linear, curved = (attack(values, classes, name, Plan(folds=5, repeats=1)).auc for name in ("logistic", "mlp"))
    assert abs(linear - 0.5) < 0.1
    assert curved > 0.9


def test_random_states_stay_within_chance_and_shuffling_hides_a_leak() -> None:
    generator = np.random.default_rng(5)
    classes = generator.choice(2, 200, p=[0.7, 0.3])
    values = generator.normal(size=(200, 6))
    null = null_aucs(values, classes, "logistic", Plan(repeats=1), 20)
    made = attack(values, classes, "logistic", Plan())
    assert abs(made.auc - null.mean()) < 2.5 * null.std(ddof=1)
    values[:, 0] += 5 * classes
    hidden = null_aucs(values, classes, "logistic", Plan(repeats=1), 20)
    assert abs(hidden.mean() - 0.5) < 0.05
    assert attack(values, classes, "logistic", Plan(repeats=1)).auc > detectable_leak(hidden) > told_from_chance(hidden)


def test_the_thresholds_hold_what_they_promise() -> None:
    """Of many nulls of 8 shuffles, one further shuffle exceeds the first threshold in 1 of 20 cases."""
    generator = np.random.default_rng(2)
    nulls, further = generator.normal(0.5, 0.03, (4000, 8)), generator.normal(0.5, 0.03, 4000)
    exceeded = np.mean([new > told_from_chance(null) for null, new in zip(nulls, further, strict=True)])
    assert exceeded == pytest.approx(0.05, abs=0.012)
    many = generator.normal(0.5, 0.03, 20000)
    leaks = generator.normal(detectable_leak(many), 0.03, 20000)
    assert np.mean(leaks > told_from_chance(many)) == pytest.approx(0.8, abs=0.02)


def test_the_interval_narrows_with_users_and_holds_the_point() -> None:
    widths = []
    for users in (100, 800):
        values, classes = three_classes(users)
        made = attack(values, classes, "logistic", Plan(folds=5, repeats=1))
        low, high = made.interval
        assert low < made.auc < high
        widths.append(high - low)
    assert widths[1] < 0.6 * widths[0]


def test_every_draw_of_a_single_splits_interval_has_as_many_users_as_were_held_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[np.ndarray] = []

    def watched(fold: Fold, average: str, weights: np.ndarray | None = None) -> np.ndarray:
        if weights is not None:
            drawn.append(weights[:, fold.users].sum(axis=1))
        return fold_auc(fold, average, weights)

    monkeypatch.setattr("recbole_fair.probe.attack.fold_auc", watched)
    values, classes = three_classes(100)
    assert np.isfinite(attack(values, classes, "logistic", Plan(split="single", repeats=1)).interval).all()
    (users,) = drawn
    assert (users == 10).all()


def test_a_class_nobody_held_out_or_trained_on_leaves_the_macro() -> None:
    said = np.array([[0.6, 0.3, np.nan, 0.1], [0.3, 0.5, np.nan, 0.2], [0.5, 0.4, np.nan, 0.1]])
    fold = Fold(np.arange(3), np.array([0, 1, 2]), said)  # nobody of class 3 here, nobody of class 2 in training
    assert fold.present.tolist() == [0, 1]
    expected = [pairwise_auc([0.6], [0.3, 0.5]), pairwise_auc([0.5], [0.3, 0.4])]
    assert fold_auc(fold, "ovr")[0] == pytest.approx(np.mean(expected))
    lonely = Fold(np.arange(2), np.array([0, 0]), said[:2])
    assert np.isnan(fold_auc(lonely, "ovr")).all()
    assert np.isnan(attacks.Attack((lonely,), Plan("single", repeats=1)).auc)


def test_a_single_split_holds_out_a_tenth() -> None:
    values, classes = three_classes()
    made = attack(values, classes, "logistic", Plan("single", repeats=3))
    assert [len(fold.users) for fold in made.folds] == [15, 15, 15]
    assert len({tuple(fold.users) for fold in made.folds}) == 3


# --- whom it is asked about


def grouping_of(sizes: dict[str, int], unknown: int = 0) -> tuple[Groups, Any]:
    classes = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    membership = np.zeros((1 + len(classes) + unknown, len(sizes)), dtype=bool)
    membership[1 + np.arange(len(classes)), classes] = True
    return Groups("user", "job", tuple(sizes), membership), np.arange(1, len(membership))


def asked(least: int = 20, small: str = "leave_out") -> Any:
    return {"min_class_users": least, "small_classes": small}


def test_small_classes_are_left_out_by_name_and_unknown_users_counted() -> None:
    groups, users = grouping_of({"a": 30, "b": 19, "c": 20}, unknown=4)
    groups.membership[1, 2] = True  # two values
    target = target_of(asked(), groups, users)
    assert target.names == ("a", "c")
    assert target.sizes.tolist() == [29, 20]
    assert users[target.users].tolist() == [*range(2, 31), *range(50, 70)]
    assert target.notes == (
        "5 of 73 users left out: no single known value",
        "classes of fewer than 20 users left out: b (19)",
    )


def test_small_classes_may_be_merged() -> None:
    groups, users = grouping_of({"a": 30, "b": 12, "c": 40, "d": 11})
    target = target_of(asked(small="merge"), groups, users)
    assert target.names == ("a", "c", "small classes")
    assert target.sizes.tolist() == [30, 40, 23]
    assert target.notes == ("classes of fewer than 20 users merged: b (12), d (11)",)
    still_small, users = grouping_of({"a": 30, "b": 3, "c": 40, "d": 0})
    target = target_of(asked(small="merge"), still_small, users)
    assert target.names == ("a", "c")
    assert target.notes[-1] == "classes of fewer than 20 users left out: small classes (3)"


def test_those_whose_labels_a_defence_had_and_the_others_are_attacked_apart() -> None:
    groups, users = grouping_of({"a": 60, "b": 60}, unknown=3)
    held = held_back({"hold_labels": 0.5, "split_seed": 3}, len(groups.membership))
    targets = findings._targets({**asked(), "hold_labels": 0.5, "split_seed": 3}, groups, users)
    labeled = groups.membership.any(axis=1)
    for whose, wanted in {"": labeled, "seen": labeled & ~held, "unseen": labeled & held}.items():
        assert users[targets[whose].users].tolist() == np.flatnonzero(wanted).tolist()
    assert set(findings._targets({**asked(), "hold_labels": 0.0}, groups, users)) == {""}


@pytest.mark.parametrize("sizes", [{"a": 50}, {"a": 50, "b": 19}, {"a": 3, "b": 4}])
def test_fewer_than_two_classes_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="job: a probe needs two classes of at least min_class_users=20"):
        target_of(asked(), *grouping_of(sizes))


# --- states of trained models


@pytest.fixture(scope="module")
def opened(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`opened(model)`: a trained toy run, opened; each model is trained once."""
    kept: dict[str, Any] = {}

    def one(model: str, **more: Any) -> Any:
        if model not in kept:
            folder = tmp_path_factory.mktemp(model) / "run"
            run(**toy_keys(toy_root, folder, model, **{"epochs": 2, "embedding_size": 16, **more}))
            kept[model] = (folder, *open_run(folder))
        return kept[model]

    return one


def rows_by_user(found: states.States, users: int) -> torch.Tensor:
    table = torch.zeros(users, found.values.shape[1], dtype=torch.float64)
    table[torch.from_numpy(found.users)] = torch.from_numpy(found.values)
    return table


def full_scores(data: Any, trainer: Any) -> torch.Tensor:
    with torch.no_grad():
        batch = data.test.collate_fn(range(len(data.test.uid_list)))[0].to(trainer.device)
        return trainer.model.full_sort_predict(batch).view(len(batch), -1).double()


@pytest.mark.parametrize("model", ["MF", "LightGCN", "NGCF", "SGL", "SASRec", "GRU4Rec", "HGN", "AlphaRec", "BERT4Rec"])
def test_states_are_what_the_model_scores_with(model: str, opened: Callable[..., Any]) -> None:
    """states @ item vectors = the model's own scores, so no other vector could have been read."""
    _, _, data, trainer = opened(model)
    found = torch.from_numpy(states.user_states(trainer, data).values)
    own, bias = trainer.model, 0.0
    with torch.no_grad():
        if model == "AlphaRec":
            found, items = torch.nn.functional.normalize(found, dim=1), own.unit_vectors()[1]
        elif model in ("LightGCN", "NGCF"):
            items = own.forward()[1]
        elif model == "SGL":
            items = own.forward(own.train_graph)[1]
        elif model == "HGN":
            items = own.item_embedding_for_prediction.weight
        else:
            items = own.item_embedding.weight[: own.n_items]
            bias = own.output_bias if model == "BERT4Rec" else 0.0
        scores = found @ items.double().T + bias
    torch.testing.assert_close(scores, full_scores(data, trainer), atol=1e-4, rtol=1e-4)


def test_an_auto_encoders_latent_mean_decodes_to_its_scores(opened: Callable[..., Any]) -> None:
    _, _, data, trainer = opened("MultVAE")
    found = states.user_states(trainer, data)
    with torch.no_grad():
        scores = trainer.model.decoder(torch.from_numpy(found.values).float())
    torch.testing.assert_close(scores.double(), full_scores(data, trainer), atol=1e-5, rtol=1e-4)


def test_a_denoising_encoder_and_tables_are_found(opened: Callable[..., Any]) -> None:
    _, _, data, trainer = opened("MultiDAE")
    found = states.user_states(trainer, data)
    with torch.no_grad():
        scores = trainer.model.decoder(torch.from_numpy(found.values).float())
    torch.testing.assert_close(scores.double(), full_scores(data, trainer), atol=1e-5, rtol=1e-4)
    _, _, data, trainer = opened("NeuMF")
    found = states.user_states(trainer, data)
    tables = trainer.model.user_mf_embedding.weight, trainer.model.user_mlp_embedding.weight
    expected = torch.cat(tables, dim=1)[torch.from_numpy(found.users)].detach().double()
    torch.testing.assert_close(torch.from_numpy(found.values), expected)


def test_states_follow_the_weights_not_what_was_kept_for_scoring(opened: Callable[..., Any]) -> None:
    _, _, data, trainer = opened("LightGCN")
    full_scores(data, trainer)  # fills the propagated vectors that RecBole keeps
    with torch.no_grad():
        trainer.model.user_embedding.weight.mul_(2)
        trainer.model.item_embedding.weight.mul_(2)
        expected = trainer.model.forward()[0][data.test.uid_list].double()
    found = states.user_states(trainer, data)
    torch.testing.assert_close(torch.from_numpy(found.values), expected)
    assert "forward" not in vars(trainer.model)


@pytest.mark.parametrize("model", ["EASE", "Pop", "ItemKNN", "FISM"])
def test_models_without_user_states_are_refused(model: str, opened: Callable[..., Any]) -> None:
    _, _, data, trainer = opened(model)
    with pytest.raises(UsageError, match=f"{model} knows users by no vector"):
        states.user_states(trainer, data)


def test_a_models_own_user_states_come_first(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, data, trainer = opened("MF")

    def own(batch):
        return torch.stack([batch["user_id"].float()] * 2, dim=1)

    monkeypatch.setattr(trainer.model, "user_states", own, raising=False)
    found = states.user_states(trainer, data)
    assert found.source == "user_states()"
    np.testing.assert_array_equal(found.values, np.stack([found.users] * 2, axis=1))
    monkeypatch.setattr(trainer.model, "user_states", lambda batch: own(batch) / (batch["user_id"] > 5)[:, None])
    with pytest.raises(UsageError, match="the states of 5 users are not finite"):
        states.user_states(trainer, data)


def test_with_as_many_users_as_items_only_the_name_tells_whose_table_it_is() -> None:
    model = torch.nn.Module()
    model.user_table, model.item_table = torch.nn.Embedding(7, 2), torch.nn.Embedding(7, 3)
    square = SimpleNamespace(user_num=7, item_num=7, uid_field="user_id")
    read = states._tables(model, square)
    assert read is not None
    torch.testing.assert_close(read({"user_id": torch.tensor([3])}), model.user_table.weight[[3]])
    assert states._tables(model, SimpleNamespace(user_num=8, item_num=7, uid_field="user_id")) is None


# --- a run's probe, and the command

QUICK = {"min_class_users": 10, "probe_shuffles": 2, "probe_attackers": ["logistic"], "probe_repeats": 1}


def probed(opened: Any, **more: Any) -> tuple[Any, findings.Probed]:
    _, config, data, trainer = opened
    for key, value in {"probe": ["gender"], **QUICK, **more}.items():
        config[key] = value
    return data, findings.probe_run(config, data, trainer)


def test_trained_taste_gives_gender_away(toy_root: Path, tmp_path: Path) -> None:
    keys = toy_keys(toy_root, tmp_path / "run", "MF", epochs=25, learning_rate=0.01)
    run(**keys)
    _, found = probed((None, *open_run(tmp_path / "run")), probe_attackers=["logistic", "mlp"], probe_shuffles=5)
    assert found.values["attr_auc[gender]"] > 0.97
    keys = ["attr_auc[gender]", "attr_auc_mlp[gender]", "attr_auc_null[gender]"]
    assert list(found.values) == keys == list(found.intervals)
    low, high = found.intervals["attr_auc_null[gender]"]
    assert low <= found.values["attr_auc_null[gender]"] <= high
    assert found.notes == ["attr_auc[gender]: 1 of 42 users left out: no single known value"]
    assert f"{sum(FANS.values()) - 1} users (F {FANS['F'] - 1}, M {FANS['M']})" in found.table


def test_the_chosen_attacker_counts_whichever_is_stronger(opened: Callable[..., Any]) -> None:
    _, one = probed(opened("MF"), probe_attackers=["logistic", "mlp"])
    _, other = probed(opened("MF"), probe_attackers=["mlp", "logistic"])
    assert one.values["attr_auc[gender]"] == other.values["attr_auc_logistic[gender]"]
    assert one.values["attr_auc_mlp[gender]"] == other.values["attr_auc[gender]"]


def test_states_fitted_on_labels_contradict_them_and_the_figure_says_so() -> None:
    """LEACE on pure noise, and on a planted leak fitted on half: those it was fitted on are far below chance."""
    random = np.random.default_rng(0)
    classes = random.integers(0, 2, 900)
    plan = Plan("cv", 5, 1, "ovr", 1)

    def auc(states: np.ndarray, of: np.ndarray) -> float:
        return attack(states[of], classes[of], "logistic", plan).auc

    def erased(states: np.ndarray, by: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(states)
        return leace(given[by], torch.from_numpy(classes[by]))(given).numpy()

    everyone, half = np.arange(900), np.arange(450)
    noise = random.normal(size=(900, 48))
    assert 0.4 < auc(noise, everyone) < 0.6
    assert auc(erased(noise, everyone), everyone) < 0.3
    leaking = noise + 0.1 * (classes[:, None] - 0.5) * np.sign(random.normal(size=48)) * 2
    after = erased(leaking, half)
    assert auc(after, half) < 0.3 < 0.5 < auc(after, np.arange(450, 900))
    found = findings.Finding(
        Target("gender", ("F", "M"), everyone, classes, ()),
        {"logistic": attack(erased(noise, everyone), classes, "logistic", plan)}, np.empty(0),
    )  # fmt: skip
    assert any("below chance" in note and "attr_auc_unseen" in note for note in found.notes)


def test_an_undefined_auc_is_none(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = Fold(np.arange(2), np.zeros(2, dtype=int), np.ones((2, 2)) / 2)
    monkeypatch.setattr(findings, "attack", lambda *_: attacks.Attack((nobody,), Plan("single", repeats=1)))
    _, found = probed(opened("MF"))
    assert found.values["attr_auc[gender]"] is None
    assert found.intervals["attr_auc[gender]"] is None
    assert "left out of its macro: M" in found.notes[-1]
    assert "gender        logistic (chosen)       -" in found.table


def test_all_training_seeds_share_the_folds(opened: Callable[..., Any]) -> None:
    _, config, _, _ = opened("MF")
    assert findings.plan_of(config).seed == config["split_seed"]


def test_check_refuses_before_training_and_draws_nothing(opened: Callable[..., Any]) -> None:
    _, config, data, trainer = opened("MacridVAE")  # draws random numbers even when it only scores
    for key, value in {**QUICK, "probe": ["gender"]}.items():
        config[key] = value
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    findings.check(config, data, trainer)
    assert torch.equal(torch.rand(1), expected)
    config["min_class_users"] = 20
    with pytest.raises(UsageError, match="found F; 1 of 42 users left out"):
        findings.check(config, data, trainer)
    _, config, data, trainer = opened("EASE")
    findings.check(config, data, trainer)  # nothing asked
    config["probe"], config["min_class_users"] = ["gender"], 10
    with pytest.raises(UsageError, match="EASE knows users by no vector"):
        findings.check(config, data, trainer)


def command(folder: Path, *options: str) -> int:
    quick = ["--min_class_users=10", "--probe_shuffles=2", "--probe_attackers=logistic"]
    return cli.main(["probe", str(folder), *quick, *options])


def test_the_auc_can_be_recomputed_from_probe_tsv(
    opened: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = opened("SASRec")[0]
    assert command(folder, "--sensitive_attribute=gender", "--probe_repeats=2") == 0
    with (folder / "probe.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert list(rows[0]) == ["user_id", "attribute", "fold", "class", "score"]
    assert {row["attribute"] for row in rows} == {"gender"}
    assert "uF0" not in {row["user_id"] for row in rows}  # its gender is unknown
    by_fold: dict[int, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        mine = row["user_id"].startswith(f"u{row['class']}")
        by_fold[int(row["fold"])][row["class"]].append((mine, float(row["score"])))
    assert sorted(by_fold) == list(range(1, 21))
    aucs = [
        pairwise_auc([score for mine, score in told if mine], [score for mine, score in told if not mine])
        for fold in by_fold.values()
        for told in fold.values()
    ]
    assert f"gender        logistic (chosen)  {np.mean(aucs):.4f}" in capsys.readouterr().out


def test_the_command_removes_what_a_killed_probe_left(opened: Callable[..., Any]) -> None:
    folder = opened("MF")[0]
    leftover = folder / "probe.tsv.1.partial"
    leftover.mkdir()
    (leftover / "probe.tsv").write_text("half")
    assert command(folder, "--sensitive_attribute=gender", "--probe_repeats=1") == 0
    assert not leftover.exists()


def test_the_command_refuses_what_it_cannot_probe(
    opened: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = opened("MF")[0]
    for options, message in [
        ([], "name the attribute, as in --sensitive_attribute=gender"),
        (["--sensitive_attribute=gendr"], "sensitive_attribute='gendr': the data has no such field. Did you mean"),
        (["--sensitive_attribute=title"], "sensitive_attribute='title': is a field of items"),
        (["--sensitive_attribute=age"], "age: a probe needs two classes of at least min_class_users=10"),
        (["--sensitive_attribute=gender", "--probe_folds=11"], "probe_folds=11: out of bounds"),
        (["--sensitive_attribute=gender", "--topk=3"], "does not take --topk"),
    ]:
        assert command(folder, *options) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["probe", str(folder), "--sensitive_attribute=gender", "--probe_attackers=svm"]) == 2
    assert "probe_attackers='svm': no such attacker" in capsys.readouterr().err
    assert cli.main(["probe", str(folder), "--sensitive_attribute=gender", "--probe_attackers=[]"]) == 2
    assert "name at least one of logistic, mlp" in capsys.readouterr().err
    assert cli.main(["probe"]) == 2
    assert "give one run directory" in capsys.readouterr().err
    assert command(tmp_path, "--sensitive_attribute=gender") == 2
    assert "no finished run" in capsys.readouterr().err
    assert cli.main(["probe", "--help"]) == 0
    assert "--sensitive_attribute=gender" in capsys.readouterr().out


def test_bins_given_to_the_command_are_the_classes(
    opened: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    bins = "--group_bins={age: {young: '[0,35)', old: '[35,inf)'}}"
    assert command(opened("MF")[0], "--sensitive_attribute=age", bins) == 0
    assert "42 users (young 15, old 27)" in capsys.readouterr().out


def test_the_default_is_the_sound_reading(toy: Callable[..., Any]) -> None:
    given = toy("MF")
    config = Config(given.pop("model"), given.pop("dataset"), overrides=given)
    plan = findings.plan_of(config)
    assert (plan.split, plan.folds, plan.average) == ("cv", 10, "ovr")
    assert findings.attackers_of(config)[0] == "logistic"
    assert keys.declared()["probe_folds"]["max"] <= keys.declared()["min_class_users"]["min"]  # no fold lacks a class
