"""The P5 rows on the toy data: what they train, what they leave alone, and what they give back after a reload."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import toy_keys, write_toy

from recbole_fair import run, storage
from recbole_fair.data.subsets import held_back
from recbole_fair.errors import UsageError
from recbole_fair.models.p5.cfp import Schedule, Step
from recbole_fair.models.p5.loader import Examples, PromptLoader
from recbole_fair.models.p5.prompts import collate
from recbole_fair.report.statistics.evaluated import evaluated
from recbole_fair.report.users import read_users
from recbole_fair.rundir.result import Result
from recbole_fair.runner import open_run

SMALL: dict[str, Any] = {
    "tiny_width": 16,
    "max_train_prompts": 128,
    "max_history": 6,
    "epochs": 1,
    "num_candidates": 8,
    "prefix_length": 2,
    "prefix_width": 8,
    "prefix_hidden": 8,
    "joint_steps": 2,
    "recommend_steps": 1,
    "discriminate_steps": 2,
    "eval_args": {"split": {"LS": "valid_and_test"}},
    "valid_metric": "NDCG@5",
    "bootstrap": 20,
    "group_bins": {"age": {"young": "[0,40)", "old": "[40,100)"}},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "P5": {},
    "CFP": {"sensitive_attribute": "gender"},
    "CFP-Mixture": {"sensitive_attribute": ["gender", "age"]},
    "Erase": {"sensitive_attribute": "gender"},
}
Finished = dict[str, Path]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("p5")
    write_toy(root)
    write_toy(root, "twin")
    return root


@pytest.fixture(scope="module")
def finished(home: Path) -> Finished:
    """The folder of one run of every row; all stand on the same P5."""
    folders = {row: home / row for row in [*SETTINGS, "age", "P5-causal", "CFP-causal"]}
    on_p5 = {"base": str(folders["P5"])}
    singles = {"gender": str(folders["CFP"]), "age": str(folders["age"])}
    run(**keys(home, "P5", folders["P5"]))
    run(**keys(home, "CFP", folders["CFP"], **SETTINGS["CFP"], **on_p5))
    run(**keys(home, "CFP", folders["age"], sensitive_attribute="age", **on_p5))
    run(**keys(home, "CFP-Mixture", folders["CFP-Mixture"], **SETTINGS["CFP-Mixture"], **on_p5, bases=singles))
    run(**keys(home, "Erase", folders["Erase"], **SETTINGS["Erase"], **on_p5))
    causal = {"base_llm": "tiny-causal"}
    run(**keys(home, "P5", folders["P5-causal"], **causal))
    on_causal = {**SETTINGS["CFP"], **causal, "base": str(folders["P5-causal"])}
    run(**keys(home, "CFP", folders["CFP-causal"], **on_causal))
    return folders


def keys(home: Path, row: str, folder: Path, **more: Any) -> dict[str, Any]:
    return {**toy_keys(home, folder, row), **SMALL, **more}


def opened(folder: Path) -> tuple[Any, Any, Any]:
    config, data, trainer = open_run(folder)
    return config, data, trainer.model.eval()


def asked(data: Any) -> tuple[torch.Tensor, torch.Tensor]:
    users = data.test.uid_list[:5]
    items = [[*data.test.candidates[int(user)].tolist(), 1, 2] for user in users]
    shortest = min(map(len, items))
    return users, torch.tensor([row[:shortest] for row in items])


@pytest.mark.parametrize("row", [*SETTINGS, "P5-causal", "CFP-causal"])
def test_a_reloaded_run_gives_the_figures_that_were_written(finished: Finished, row: str) -> None:
    config, data, trainer = open_run(finished[row])
    again = trainer.evaluate(data.test, load_best_model=False)
    written = storage.read_json(finished[row] / "result.json")["test"]
    assert {key: written[key] for key in again} == pytest.approx(again, abs=1e-9)
    assert 0 <= written["hit@5"] <= 1


@pytest.mark.parametrize("row", ["CFP", "CFP-Mixture", "Erase"])
def test_the_base_is_bit_identical_and_not_stored_again(finished: Finished, row: str) -> None:
    base, _ = storage.read_tensors(finished["P5"] / "model.safetensors")
    own, _ = storage.read_tensors(finished[row] / "model.safetensors")
    assert not any(name.startswith(("language", "whole_words")) for name in own)
    model = opened(finished[row])[2]
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert all(torch.equal(held[name], value) for name, value in base.items())


@pytest.mark.parametrize("row", ["CFP", "CFP-Mixture", "Erase"])
def test_the_row_ranks_differently_than_its_base(finished: Finished, row: str) -> None:
    _, data, model = opened(finished[row])
    users, candidates = asked(data)
    with torch.no_grad():
        assert not torch.allclose(model.rank(users, candidates), opened(finished["P5"])[2].rank(users, candidates))


def test_training_moves_the_prompt(home: Path, finished: Finished) -> None:
    config, data, _ = opened(finished["CFP"])
    torch.manual_seed(int(config["seed"]))
    untrained = config.model_class(config, data.train.dataset)
    stored, _ = storage.read_tensors(finished["CFP"] / "model.safetensors")
    assert all(not torch.equal(value, stored[name]) for name, value in untrained.named_parameters() if name in stored)


def test_the_same_seed_gives_the_same_figures_and_another_seed_others(home: Path, finished: Finished) -> None:
    first = storage.read_json(finished["P5"] / "result.json")
    again = run(**keys(home, "P5", home / "again"))
    other = run(**keys(home, "P5", home / "other", seed=7))
    assert again.test == first["test"]
    weights = [storage.read_json(folder / "model.json")["sha256"] for folder in (finished["P5"], home / "other")]
    assert weights[0] != weights[1]
    assert other.seed == 7


def test_the_rate_falls_to_nothing_over_the_batches_that_there_are(
    home: Path, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch has fewer batches than `rounds` where there are few prompts."""
    rates: list[float] = []
    steps = Schedule.steps

    def watched(self: Schedule, batch: int) -> Iterator[Step]:
        rates.append(self.rate(batch))
        return steps(self, batch)

    monkeypatch.setattr(Schedule, "steps", watched)
    more = {"base": str(finished["P5"]), "epochs": 2, "train_batch_size": 64, "rounds": 16, "decay": True}
    run(**keys(home, "CFP", tmp_path / "run", **SETTINGS["CFP"], **more))
    assert rates == [1.0, 0.75, 0.5, 0.25]


def test_bases_are_made_where_none_is_named(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"sensitive_attribute": ["gender", "age"], "joint_steps": 1, "train_batch_size": 32}
    result = run(**keys(home, "CFP-Mixture", tmp_path / "run", **given))
    assert set(result.bases) == {"gender", "age"}
    assert len(list((tmp_path / "runs" / "toy" / "P5").iterdir())) == 1  # one P5 for both
    single = (Path(result.bases["gender"]) / "config.yaml").read_text()
    assert "joint_steps: 1" in single and "train_batch_size: 32" in single


def test_single_prompts_that_nobody_named_stand_on_the_p5_that_was(
    home: Path, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    on_p5 = {"base": str(finished["P5"]), "sensitive_attribute": ["gender", "age"]}
    result = run(**keys(home, "CFP-Mixture", tmp_path / "run", **on_p5))
    assert {Result.read(Path(single)).base for single in result.bases.values()} == {str(finished["P5"])}
    assert not (tmp_path / "runs" / "toy" / "P5").exists(), "no other P5 is trained"


def test_a_users_rank_is_of_the_history_before_the_part_that_is_judged(finished: Finished) -> None:
    _, data, model = opened(finished["P5"])
    lines = model.wording.timelines
    for user in data.test.uid_list[:4].tolist():
        own = lines.items[lines.rows(user)]
        *history, valid, test = own.tolist()
        assert model._known_before_judged(user, [int(test)]).tolist() == [*history, valid]
        assert model._known_before_judged(user, [int(valid)]).tolist() == history


@pytest.mark.parametrize("row", ["P5", "P5-causal", "CFP-causal"])
def test_scores_are_the_log_likelihood_of_the_written_item(finished: Finished, row: str) -> None:
    """rank() against the cross-entropy that training minimises, item by item."""
    _, data, model = opened(finished[row])
    users, candidates = asked(data)
    loader: PromptLoader = data.train
    with torch.no_grad():
        ranked = model.rank(users, candidates)
        for place, user in enumerate(users.tolist()):
            history = model._known_before_judged(user, candidates[place].tolist()).tolist()
            template = model.wording.first_template("sequential")
            prompt = model.wording.prompter.sequential(template, user, history)
            batch = loader.examples(np.array([0]))
            for column, item in enumerate(candidates[place].tolist()):
                labels = torch.tensor([model.wording.prompter.target(item)])
                alone = Examples(batch.users, collate([prompt], model.wording.pad), labels)
                likelihood = -model.calculate_loss(alone) * labels.shape[1]
                assert float(ranked[place, column]) == pytest.approx(float(likelihood), abs=1e-4)


def test_training_prompts_hold_what_came_before_their_target(finished: Finished) -> None:
    _, data, model = opened(finished["P5"])
    loader: PromptLoader = data.train
    wording = loader.wording
    item_of = {wording.words.tokens(wording.names.item(item))[0]: item for item in range(1, wording.items)}
    seen = 0
    for batch in loader:
        for user, tokens, label in zip(batch.users, batch.prompts.tokens, batch.labels, strict=True):
            line = loader.histories[int(user)]
            target = line.index(item_of[int(label[0])])
            shown = [item_of[int(token)] for token in tokens if int(token) in item_of]
            assert shown == line[:target][-6:]
            seen += 1
    assert seen == 128
    judged = {(int(u), int(i)) for phase in ("valid", "test") for u, i in zip(*data.pairs(phase), strict=True)}
    assert not judged & {(user, item) for user, line in enumerate(loader.histories) for item in line}


def test_erase_hides_the_attribute_from_every_linear_reader_of_the_states_it_was_fitted_on(finished: Finished) -> None:
    base, erased = opened(finished["P5"])[2], opened(finished["Erase"])[2]
    users = np.flatnonzero(erased.classes[:, 0] >= 0).tolist()
    classes = torch.from_numpy(erased.classes[users, 0]).double()

    def covariance(model: Any) -> float:
        with torch.no_grad():
            states = model.states_of(users, "valid", "user").double()
        return float(((states - states.mean(0)).T @ (classes - classes.mean()) / len(users)).abs().max())

    assert covariance(erased) < 1e-5 < covariance(base)


def test_direct_prompts_are_learned_and_judged(home: Path, tmp_path: Path) -> None:
    result = run(
        **keys(home, "P5", tmp_path / "run", p5_tasks=["sequential", "direct"], judged_task="direct", item_token=False)
    )
    assert result.status == "ok"


@pytest.mark.parametrize("row", ["P5", "P5-causal"])
@torch.no_grad()
def test_a_state_is_read_where_its_name_says(finished: Finished, row: str) -> None:
    """Each user alone, without padding, through the whole language model."""
    model = opened(finished[row])[2]
    batch = model.prompts_of([1, 2, 35], "test")
    for user, number in enumerate([1, 2, 35]):
        real = batch.mask[user].bool()
        embedded = (model.language.get_input_embeddings()(batch.tokens) + model.whole_words(batch.words))[user, real]
        start = {"decoder_input_ids": torch.tensor([[model.backbone.start]])} if row == "P5" else {}
        out = model.language(inputs_embeds=embedded[None], output_hidden_states=True, **start)
        last = out.encoder_last_hidden_state[0] if row == "P5" else out.hidden_states[-1][0]
        deciding = out.decoder_hidden_states[-1][0, 0] if row == "P5" else last[-1]
        mine = batch.user[user, real]
        assert 0 < int(mine.sum()) < len(mine)
        wanted = {"user": last[mine].mean(0), "all": last.mean(0), "decoder": deciding}
        for place, state in wanted.items():
            torch.testing.assert_close(model.states_of([number], "test", place)[0], state, atol=1e-5, rtol=1e-4)


def test_erase_needs_an_encoder(home: Path, finished: Finished, tmp_path: Path) -> None:
    given = {**SETTINGS["Erase"], "base_llm": "tiny-causal", "base": str(finished["P5-causal"])}
    with pytest.raises(UsageError, match="Erase stands behind an encoder"):
        run(**keys(home, "Erase", tmp_path / "run", **given))


@pytest.mark.parametrize("place", ["user", "all", "decoder"])
def test_the_probe_reads_states_at_every_place(home: Path, finished: Finished, place: str) -> None:
    _, _, model = opened(finished["CFP"])
    with torch.no_grad():
        states = model.states_of([1, 2, 3], "test", place)
    assert states.shape == (3, 16)
    assert torch.isfinite(states).all()


QUICK_PROBE: dict[str, Any] = {
    "probe": ["gender"], "probe_folds": 2, "probe_repeats": 1, "probe_shuffles": 2, "min_class_users": 10,
    "probe_attackers": ["logistic"],
}  # fmt: skip


def test_a_run_is_probed_at_all_three_places(home: Path, finished: Finished, tmp_path: Path) -> None:
    result = run(
        **keys(home, "CFP", tmp_path / "run", sensitive_attribute="gender", base=str(finished["P5"])), **QUICK_PROBE
    )
    users = read_users(tmp_path / "run")
    places = ["attr_auc[gender]", "attr_auc_all[gender]", "attr_auc_decoder[gender]"]
    assert {key for key in result.test if key.startswith("attr_auc")} == {*places, "attr_auc_null[gender]"}
    assert len({result.test[key] for key in places}) == 3
    for key in places:  # so the paired tests of a report can be made
        assert evaluated(users, key, result.test[key]) is not None
    _, data, model = opened(tmp_path / "run")
    where = model.other_states["decoder"]
    with torch.no_grad():
        batch = {"user_id": data.test.uid_list[:3]}
        torch.testing.assert_close(where(batch), model.states_of(batch["user_id"].tolist(), "test", "decoder"))


@pytest.mark.parametrize("row", ["CFP", "Erase"])
def test_labels_that_are_held_back_teach_the_defence_nothing(
    home: Path, finished: Finished, tmp_path: Path, row: str
) -> None:
    """Their users' genders are turned round: not one weight moves."""
    given = {**SETTINGS[row], "base": str(finished["P5"]), "hold_labels": 0.3}
    run(**keys(home, row, tmp_path / "run", **given))
    _, data, _ = opened(tmp_path / "run")
    held = held_back({"hold_labels": 0.3, "split_seed": 2020}, data.dataset.user_num)
    users = dict(zip(data.names("user").tolist(), held.tolist(), strict=True))
    shutil.copytree(home / "toy", tmp_path / "toy")
    head, *lines = (tmp_path / "toy" / "toy.user").read_text().splitlines()
    turned = {"F": "M", "M": "F", "": ""}
    rows = [line.split("\t") for line in lines]
    rows = [[one, turned[own] if users[one] else own, age] for one, own, age in rows]
    (tmp_path / "toy" / "toy.user").write_text("\n".join([head, *("\t".join(row) for row in rows)]) + "\n")
    run(**keys(home, row, tmp_path / "other", **given, data_path=str(tmp_path)))
    own, other = (storage.read_tensors(tmp_path / name / "model.safetensors")[0] for name in ("run", "other"))
    assert all(torch.equal(value, other[name]) for name, value in own.items())


def test_held_labels_are_probed_apart_by_an_attacker_of_these_users_alone(
    home: Path, finished: Finished, tmp_path: Path
) -> None:
    given = keys(home, "P5", tmp_path / "run", load=str(finished["P5"]), hold_labels=0.9)
    result = run(**{**given, **QUICK_PROBE})
    config, data, _ = opened(finished["P5"])
    held = held_back({**config.effective, "hold_labels": 0.9}, data.dataset.user_num)
    tokens = set(data.names("user")[held].tolist())
    rows = [line.split("\t") for line in (tmp_path / "run" / "probe.tsv").read_text().splitlines()[1:]]
    asked = {user for user, attribute, *_ in rows if attribute == "gender@decoder_unseen"}
    assert asked == tokens - {"uF0"}
    assert "attr_auc_seen[gender]" not in result.test, "too few, and no reason to refuse"
    assert evaluated(read_users(tmp_path / "run"), "attr_auc_unseen[gender]", result.test["attr_auc_unseen[gender]"])


def test_a_direct_prompt_is_learnt_of_every_interaction_a_sequential_one_of_all_but_the_first(
    home: Path, finished: Finished
) -> None:
    config, data, _ = opened(finished["P5"])
    config["max_train_prompts"] = None
    loaders = {}
    for tasks in (["sequential"], ["direct"], ["sequential", "direct"]):
        config["p5_tasks"] = tasks
        loaders[",".join(tasks)] = loader = PromptLoader(config, data.train.dataset)
        assert sum(len(examples.users) for examples in loader) == len(loader.users)
    learnt = len(data.train.dataset)
    users = len(np.unique(data.train.dataset.inter_feat["user_id"].numpy()))
    counts = {tasks: len(loader.users) for tasks, loader in loaders.items()}
    assert counts == {"sequential": learnt - users, "direct": learnt, "sequential,direct": learnt}


def test_cfps_own_optimiser_reads_its_keys_and_refuses_what_it_has_not(
    home: Path, finished: Finished, tmp_path: Path
) -> None:
    """A gradient far below Adam's epsilon moves nothing, a decay of 1 / rate leaves nothing of what a weight was."""
    given = {"sensitive_attribute": "gender", "base": str(finished["P5"]), "weight_decay": 0.0, "learning_rate": 0.01}
    changed = {"plain": {}, "clipped": {"clip_grad_norm": {"max_norm": 1e-14}}, "decayed": {"weight_decay": 100.0}}
    sizes, weights = {}, {}
    for name, more in changed.items():
        run(**keys(home, "CFP", tmp_path / name, **{**given, **more}))
        tensors, _ = storage.read_tensors(tmp_path / name / "model.safetensors")
        weights[name] = torch.cat([value.flatten() for key, value in tensors.items() if key.startswith("prompt.")])
        sizes[name] = float(weights[name].norm())
    still = {"epochs": 1, "recommend_steps": 1, "joint_steps": 1, "discriminate_steps": 1}
    run(**keys(home, "CFP", tmp_path / "still", **{**given, **still, **changed["clipped"]}))
    tensors, _ = storage.read_tensors(tmp_path / "still" / "model.safetensors")
    start = torch.cat([value.flatten() for key, value in tensors.items() if key.startswith("prompt.")])
    torch.testing.assert_close(weights["clipped"], start, atol=1e-4, rtol=0)
    assert not torch.allclose(weights["plain"], start, atol=1e-3)
    assert sizes["decayed"] < sizes["plain"] / 2
    for more in ({"learner": "sgd"}, {"module_rates": {"prompt": 0.5}}):
        with pytest.raises(UsageError, match="one rate and learns by adamw"):
            run(**keys(home, "CFP", tmp_path / "no", **{**given, **more}))


def test_a_killed_cfp_goes_on_as_if_it_had_not_been(home: Path, finished: Finished, tmp_path: Path) -> None:
    def kill(epoch: int, _: float) -> None:
        if epoch == 0:
            raise KeyboardInterrupt

    given = {"sensitive_attribute": "gender", "base": str(finished["P5"]), "epochs": 2}
    whole = run(**keys(home, "CFP", tmp_path / "whole", **given))
    with pytest.raises(KeyboardInterrupt):
        run(**keys(home, "CFP", tmp_path / "killed", **given), on_epoch=kill)
    resumed = run(**keys(home, "CFP", tmp_path / "killed", **given), resume=True)
    assert resumed.test == whole.test
    hashes = [storage.read_json(tmp_path / name / "model.json")["sha256"] for name in ("whole", "killed")]
    assert hashes[0] == hashes[1]


ONE_BIN = {"age": {"all": "[0,100)"}}
Refused = Callable[[Finished], dict[str, Any]]
REFUSED: list[tuple[str, str, Refused]] = [
    ("CFP", "name what is to be hidden", lambda f: {"base": str(f["P5"])}),
    ("CFP", "CFP-Mixture", lambda f: {"base": str(f["P5"]), "sensitive_attribute": ["gender", "age"]}),
    ("CFP", "max_history", lambda f: {"base": str(f["P5"]), **SETTINGS["CFP"], "max_history": 3}),
    ("CFP", "own schedule", lambda f: {"base": str(f["P5"]), **SETTINGS["CFP"], "lr_schedule": "linear"}),
    ("CFP", "1 class", lambda f: {"base": str(f["P5"]), "sensitive_attribute": "age", "group_bins": ONE_BIN}),
    (
        "CFP",
        "at least two values",
        lambda f: {
            "base": str(f["P5"]),
            "sensitive_attribute": "age",
            "group_bins": ONE_BIN,
            "discriminator": "soft_prompt",
        },
    ),
    (
        "Erase",
        "fewer than two classes",
        lambda f: {"base": str(f["P5"]), "sensitive_attribute": "age", "group_bins": ONE_BIN},
    ),
    ("CFP", "dataset='toy', this run 'twin'", lambda f: {"base": str(f["P5"]), **SETTINGS["CFP"], "dataset": "twin"}),
    (
        "CFP-Mixture",
        "another hold_labels than 0.5",
        lambda f: {
            "base": str(f["P5"]),
            "sensitive_attribute": ["gender", "age"],
            "hold_labels": 0.5,
            "bases": {"gender": str(f["CFP"]), "age": str(f["age"])},
        },
    ),
    (
        "CFP",
        "judged users whose labels hold_labels keeps",
        lambda f: {"base": str(f["P5"]), **SETTINGS["CFP"], **QUICK_PROBE, "hold_labels": 0.1},
    ),
    ("P5", "item_token=true", lambda f: {"item_init": "svd", "item_token": False}),
    ("P5", "p5_tasks", lambda f: {"p5_tasks": ["rating"]}),
    (
        "CFP-Mixture",
        "no CFP run that hides age",
        lambda f: {
            "base": str(f["P5"]),
            "sensitive_attribute": ["gender", "age"],
            "bases": {"gender": str(f["CFP"]), "age": str(f["CFP"])},
        },
    ),
]


@pytest.mark.parametrize(("row", "message", "given"), REFUSED, ids=[message for _, message, _ in REFUSED])
def test_what_cannot_be_is_refused(
    home: Path, finished: Finished, tmp_path: Path, row: str, message: str, given: Refused
) -> None:
    with pytest.raises(UsageError, match=message):
        run(**keys(home, row, tmp_path / "run", **given(finished)))


def test_users_without_a_label_are_counted(finished: Finished) -> None:
    said = storage.read_json(finished["CFP"] / "result.json")["warnings"]
    assert "CFP: 1 users whose gender is unknown or held back are left out of its adversary" in said


def test_a_small_catalogue_is_ranked_whole(home: Path, finished: Finished, tmp_path: Path) -> None:
    """Against the scores of all items from what is known before the test item, the known ones left out."""
    result = run(**keys(home, "P5", tmp_path / "run", eval_protocol="full", load=str(finished["P5"])))
    _, data, model = opened(finished["P5"])
    users = data.test.uid_list
    with torch.no_grad():
        scores = model.full_sort_predict({"user_id": users}).view(len(users), -1)
    hits = []
    for row, user in enumerate(users.tolist()):
        lines = model.wording.timelines
        *known, target = lines.items[lines.rows(user)].tolist()
        scores[row, known] = -torch.inf
        hits.append(target in scores[row].topk(5).indices.tolist())
    assert result.test["hit@5"] == pytest.approx(np.mean(hits))


def test_a_mixture_of_prompts_of_another_base_is_refused(home: Path, finished: Finished, tmp_path: Path) -> None:
    run(**keys(home, "P5", tmp_path / "p5", seed=3))
    with pytest.raises(UsageError, match="trained on another P5"):
        run(
            **keys(
                home,
                "CFP-Mixture",
                tmp_path / "run",
                base=str(tmp_path / "p5"),
                sensitive_attribute=["gender", "age"],
                bases={"gender": str(finished["CFP"]), "age": str(finished["age"])},
            )
        )


def test_item_vectors_start_where_training_puts_them(home: Path, tmp_path: Path, finished: Finished) -> None:
    config, data, _ = opened(finished["P5"])
    config["item_init"] = "svd"
    model = config.model_class(config, data.train.dataset)
    table = model.language.get_input_embeddings().weight
    vectors = table[torch.from_numpy(model.wording.item_tokens())]  # [I - 1, D]
    tokens = data.names("item")
    comic = torch.tensor([token.startswith("c") for token in tokens[1:]])
    near = torch.nn.functional.normalize(vectors, dim=1) @ torch.nn.functional.normalize(vectors, dim=1).T
    assert near[comic][:, comic].mean() > near[comic][:, ~comic].mean() + 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("row", ["P5", "CFP", "Erase", "CFP-causal"])
def test_a_row_ranks_the_same_on_a_gpu(home: Path, finished: Finished, tmp_path: Path, row: str) -> None:
    _, data, model = opened(finished[row])
    users, candidates = asked(data)
    with torch.no_grad():
        here = model.rank(users, candidates)
        there = model.to("cuda").rank(users.cuda(), candidates.cuda()).cpu()
        torch.testing.assert_close(here, there, atol=1e-3, rtol=1e-3)
        state = model.states_of([1, 2, 3], "test", "decoder")
    assert state.is_cuda
