"""Every row of the MoS family through a whole run on the toy data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loops import rows as read_rows
from toy import toy_keys

from recbole_fair import bases, registry, runner
from recbole_fair.errors import UsageError
from recbole_fair.groups.variants import NONE, OWN, Variant
from recbole_fair.models.llm.mos import Blind, MoS
from recbole_fair.models.llm.stereotype_prompts import asked
from recbole_fair.report.assemble import Options, assemble
from recbole_fair.report.charts.degrees import read_degrees
from recbole_fair.settings.config import Config
from recbole_fair.storage import read_tensors
from recbole_fair.training.trainer import FairTrainer

ROWS = [row.name for row in registry.MODELS.values() if row.family == "mos" and row.name != "MoS-Base"]
FIGURES = ("auc", "f1", "precision", "recall", "sf", "sf_in", "sf_every", "pull", "flip[gender]")
# Small, and a threshold at which some items of either taste are a stereotype and some are not.
KEYS: dict[str, Any] = {
    "likes": "[4,inf)", "valid_metric": "AUC", "sf_z": 0.85, "epochs": 1, "max_train_prompts": 48,
    "max_eval_prompts": 48, "train_batch_size": 24, "bootstrap": 0, "tiny_width": 16, "tiny_layers": 1,
    "tiny_vocabulary": 400,
}  # fmt: skip

Keys = Callable[..., dict[str, Any]]
Frozen = dict[str, torch.Tensor]


class Trained:
    """A finished run, and its language model's own weights before and after training."""

    def __init__(self, result: Any, before: Frozen, after: Frozen) -> None:
        self.result, self.before, self.after = result, before, after

    @property
    def folder(self) -> Path:
        return Path(self.result.run_dir)


def frozen(model: Any) -> Frozen:
    weights = model.bare.named_parameters()
    return {name: value.detach().clone() for name, value in weights if ".lora_" not in name}


def train(keys: dict[str, Any]) -> Trained:
    seen: list[Frozen] = []
    plain = FairTrainer.fit

    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(frozen(self.model))
        fitted = plain(self, *arguments, **options)
        seen.append(frozen(self.model))
        return fitted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FairTrainer, "fit", watched)
        return Trained(runner.run(**keys), *seen)


def test_a_backbone_that_changes_its_logits_is_refused(
    toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = MoS._language

    def capped(self: MoS, *arguments: Any) -> Any:
        model = plain(self, *arguments)
        model.get_output_embeddings().register_forward_hook(lambda _layer, _inputs, logits: logits.tanh() / 9)
        return model

    monkeypatch.setattr(MoS, "_language", capped)
    keys = {**toy_keys(toy_root, tmp_path / "run", "MoS-Base"), **KEYS, "backbone": "causal"}
    with pytest.raises(UsageError, match="answers with logits"):
        runner.run(**keys)


@pytest.fixture(scope="module")
def base(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train({**toy_keys(toy_root, tmp_path_factory.mktemp("base") / "run", "MoS-Base"), **KEYS})


@pytest.fixture(scope="module")
def rows(toy_root: Path, tmp_path_factory: pytest.TempPathFactory, base: Trained) -> Iterator[Callable[[str], Trained]]:
    made: dict[str, Trained] = {}

    def row(name: str) -> Trained:
        if name not in made:
            keys = toy_keys(toy_root, tmp_path_factory.mktemp(name) / "run", name)
            made[name] = train({**keys, **KEYS, "base": str(base.folder)})
        return made[name]

    yield row


@pytest.fixture
def keys(toy: Keys, base: Trained) -> Keys:
    return lambda name, **more: toy(name, **{**KEYS, "base": str(base.folder), **more})


def model_of(folder: Path) -> Any:
    return runner.open_run(folder)[2].model


@pytest.mark.parametrize("name", ROWS)
def test_every_row_trains_and_leaves_the_language_model_as_the_base_made_it(
    name: str, rows: Callable[[str], Trained], base: Trained
) -> None:
    row = rows(name)
    assert row.result.status in ("ok", "collapsed"), row.result.error
    assert all(isinstance(row.result.test[figure], float) for figure in FIGURES), row.result.test
    assert row.before.keys() == row.after.keys()
    assert all(torch.equal(row.before[part], row.after[part]) for part in row.before)
    made, _ = read_tensors(base.folder / "model.safetensors")
    ours = sorted(row.after.values(), key=lambda value: (value.numel(), float(value.double().sum())))
    theirs = sorted(made.values(), key=lambda value: (value.numel(), float(value.double().sum())))
    assert len(ours) - len(theirs) in (0, 1)  # PEFT names tied embeddings once, too
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    stored, _ = read_tensors(row.folder / "model.safetensors")
    assert not any("shared" in part or "embed_tokens" in part for part in stored)  # only what was tuned


def test_the_base_learns(base: Trained) -> None:
    assert any(not torch.equal(base.before[part], base.after[part]) for part in base.before)
    assert base.result.parameters["trainable"] == base.result.parameters["total"]


@pytest.mark.parametrize("name", ["MoS-stochastic", "LoRA"])
def test_the_same_seed_gives_the_same_figures(
    name: str, rows: Callable[[str], Trained], keys: Keys, tmp_path: Path
) -> None:
    again = runner.run(**keys(name, run_dir=str(tmp_path / "again")))
    assert again.test == rows(name).result.test
    assert again.valid == rows(name).result.valid


@pytest.mark.parametrize("name", ["MoS", "MoS-stochastic", "Prompt-Tuning", "P-Tuning", "LoRA"])
def test_a_reloaded_row_answers_as_the_run_did(name: str, rows: Callable[[str], Trained]) -> None:
    _, data, trainer = runner.open_run(rows(name).folder)
    trainer.evaluate(data.valid, load_best_model=False)
    again = trainer.evaluate(data.test, load_best_model=False)
    assert {key: value for key, value in again.items() if key in FIGURES} == {
        key: value for key, value in rows(name).result.test.items() if key in FIGURES
    }


def test_answers_depend_neither_on_order_nor_on_company(rows: Callable[[str], Trained]) -> None:
    _, data, trainer = runner.open_run(rows("MoS").folder)
    users, items = np.array(list(data.test.labels)).T[:, :12]
    model, variant = trainer.model, Variant("gender", "F")
    together = model.answer(torch.tensor(users), torch.tensor(items), variant)
    backwards = model.answer(torch.tensor(users[::-1].copy()), torch.tensor(items[::-1].copy()), variant).flip(0)
    alone = torch.cat(
        [model.answer(torch.tensor([u]), torch.tensor([i]), variant) for u, i in zip(users, items, strict=True)]
    )
    torch.testing.assert_close(together, backwards)
    torch.testing.assert_close(together, alone)
    assert not torch.equal(together, model.answer(torch.tensor(users), torch.tensor(items), NONE))


def test_a_judged_prompt_shows_the_latest_titles_before_the_judged_part(rows: Callable[[str], Trained]) -> None:
    _, data, trainer = runner.open_run(rows("MoS").folder)
    model, (user, item) = trainer.model, next(iter(data.test.labels))
    titles = model.inputs.titles
    past = []
    for phase in ("train", "valid"):
        part = data.parts[phase].inter_feat
        mine = part["user_id"].numpy() == user
        columns = (part[name].numpy()[mine] for name in ("timestamp", "item_id", "rating"))
        past += list(zip(*columns, strict=True))
    latest = sorted(past)[-10:]
    likes = ", ".join(f'"{titles[int(i)]}"' for _, i, rating in latest if rating >= 4) or "none"
    dislikes = ", ".join(f'"{titles[int(i)]}"' for _, i, rating in latest if rating < 4) or "none"
    wanted = (
        "Given a M user's interaction history, identify whether this user will like the target item. "
        f'Answer "Yes" or "No".\nUser likes: {likes}\nUser dislikes: {dislikes}\nTarget item: "{titles[item]}"\nAnswer:'
    )
    (tokens,) = model.prompts.judged(np.array([user]), np.array([item]), Variant("gender", "M"))
    assert model.prompts.encoder.tokenizer.decode(tokens) == wanted


def test_l_fair_is_eq_4_with_probabilities_over_the_training_pairs(rows: Callable[[str], Trained]) -> None:
    config, data, trainer = runner.open_run(rows("MoS").folder)
    model, batch = trainer.model.eval(), asked(config, trainer.model.inputs)
    model.running.sums.zero_()
    model.running.batches.zero_()
    users, items = data.pairs("train")
    gender = model.attribute.of_user
    degree = np.zeros((len(model.inputs.titles), 2))
    pairs = sorted(set(zip(users.tolist(), items.tolist(), strict=True)))
    for g in (0, 1):
        size = len({user for user, _ in pairs if gender[user] == g})
        for user, item in pairs:
            degree[item, g] += (gender[user] == g) / size
    signed = degree - degree[:, ::-1]
    seen = np.unique(items)
    threshold = signed[seen].mean(0) + 0.85 * signed[seen].std(0)
    member = signed >= threshold
    member[np.setdiff1d(np.arange(len(member)), seen)] = False
    above, below = np.zeros(2), np.zeros(2)
    for user, row, value in zip(batch.users, batch.rows, batch.values, strict=True):
        prompt = model._prompt(int(user), int(row), model.variant(int(value)))
        with torch.no_grad():
            yes = float(model._logits(model._embedded([prompt])).softmax(-1)[0, 0])
        g = gender[user]
        if g < 0:
            continue
        own = [member[item, g] for other, item in pairs if other == user]
        above[g] += yes * np.mean(own)
        below[g] += yes * member[model.inputs.timelines.items[row], g]
    present = below > 0
    wanted = abs(1 - np.mean(above[present] / np.maximum(below[present], 1)))
    assert wanted > 0.01
    assert float(model.calculate_loss(batch)["fair"].detach()) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("name", ["TALLRec--", "P-Tuning", "TALLRec"])
def test_what_peft_tunes_is_read_as_peft_itself_reads_it(name: str, rows: Callable[[str], Trained]) -> None:
    model = model_of(rows(name).folder)
    prompt = [5, 6, 7, 8, 9, *model.ending]
    ids = torch.tensor([prompt])
    with torch.no_grad():
        ours = model._logits(model._embedded([[5, 6, 7, 8, 9]]))
        start = torch.tensor([[model.bare.config.decoder_start_token_id]])
        output = model.language_model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=start)
    torch.testing.assert_close(ours, output.logits[:, 0, list(model.answers)])


def test_stereotypes_csv_says_which_items_are_whose_and_what_became_of_them(rows: Callable[[str], Trained]) -> None:
    row = rows("MoS")
    lines = read_rows(row.folder / "stereotypes.csv")
    _, data, trainer = runner.open_run(row.folder)
    histories, names = trainer.model.histories, data.names("item").tolist()
    gender, threshold = trainer.model.attribute.of_user, row.result.threshold
    predictions = [each for each in read_rows(row.folder / "predictions.tsv", "\t") if each["variant"] == "none"]
    users = {name: n for n, name in enumerate(data.names("user").tolist())}
    trained = set(data.pairs("train")[1].tolist())
    assert {(line["item_id"], line["group"]) for line in lines} == {(names[i], g) for i in trained for g in "FM"}
    for line in lines:
        item, g = names.index(line["item_id"]), "FM".index(line["group"])
        assert float(line["d"]) == pytest.approx(histories.stereotypes.degree[item, g])
        assert bool(int(line["stereotype"])) == (float(line["d"]) >= float(line["threshold"]))
        own = [
            each for each in predictions if each["item_id"] == line["item_id"] and gender[users[each["user_id"]]] == g
        ]
        assert int(line["in_group_pairs"]) == len(own)
        assert int(line["recommended_pairs"]) == sum(float(each["score"]) >= threshold for each in own)
    for group in row.result.group_rows:
        if group["field"] == "gender" and group["group"] in "FM":
            own = [line for line in lines if line["group"] == group["group"] and line["stereotype"] == "1"]
            assert group["in_group_pairs"] == sum(int(line["in_group_pairs"]) for line in own)
            assert group["in_group_recommended"] == sum(int(line["recommended_pairs"]) for line in own)
            shares = [group[f"expert_{n}"] for n in range(1, 5)]
            assert sum(shares) == pytest.approx(1) and min(shares) >= 0
    assert "expert_1" not in (rows("LoRA").folder / "groups.csv").read_text()


def test_answers_are_judged_by_whose_stereotype_an_item_is(rows: Callable[[str], Trained]) -> None:
    row = rows("MoS")
    predictions = [each for each in read_rows(row.folder / "predictions.tsv", "\t") if each["variant"] == "actual"]
    lines = read_rows(row.folder / "stereotypes.csv")
    those = [line for line in lines if line["stereotype"] == "1"]
    items = {f"of {group}": {line["item_id"] for line in those if line["group"] == group} for group in "FM"}
    items["of none"] = {line["item_id"] for line in lines} - items["of F"] - items["of M"]
    found = {group["group"]: group["auc"] for group in row.result.group_rows if group["field"] == "stereotypes"}
    assert found.keys() == items.keys()
    for name, own in items.items():
        yes, no = ([float(each["score"]) for each in predictions if each["item_id"] in own and each["label"] == label]
                   for label in "10")  # fmt: skip
        pairs = [(one > other) + 0.5 * (one == other) for one in yes for other in no]
        assert found[name] == (pytest.approx(np.mean(pairs)) if pairs else None)
    assert any(value is not None for value in found.values())


def test_a_report_draws_the_degrees_and_their_thresholds(rows: Callable[[str], Trained], tmp_path: Path) -> None:
    row = rows("MoS")
    (block,) = assemble([row.folder], Options()).blocks
    chart = next(chart for chart in block.charts if chart.name == "stereotypes")
    lines = read_rows(row.folder / "stereotypes.csv")
    for group, count, mean, _, threshold, stereotypes in chart.rows:
        own = [line for line in lines if line["group"] == group]
        assert (int(count), int(stereotypes)) == (len(own), sum(int(line["stereotype"]) for line in own))
        assert float(threshold) == pytest.approx(float(own[0]["threshold"]), abs=1e-4)
        assert float(mean) == pytest.approx(np.mean([float(line["d"]) for line in own]), abs=1e-4)
    (tmp_path / "stereotypes.csv").write_text("item_id,group\na,F\n")
    with pytest.raises(UsageError, match=r"stereotypes\.csv: damaged"):
        read_degrees(tmp_path / "stereotypes.csv")


def test_blind_is_the_base_asked_without_words(rows: Callable[[str], Trained]) -> None:
    blind = rows("MoS-Blind")
    assert blind.result.test["pull"] == blind.result.test["flip[gender]"] == 0
    stored, _ = read_tensors(blind.folder / "model.safetensors")
    assert stored.keys() == {"fake_loss"}
    assert blind.result.prompts.keys() == {
        "judged_prompts", "judged_shortened", "judged_items_cut", "judged_without_history", "judged_left_out"
    }, "nothing was learnt"  # fmt: skip


@pytest.mark.parametrize("kind", ["explicit", "counterfactual"])
def test_sf_is_read_at_the_kind_of_prompt_that_is_trained_on(kind: str, keys: Keys) -> None:
    """Against the metric over the scores of predictions.tsv, each pair taken from the variant of its user's word."""
    result = runner.run(**keys("TALLRec", stereotype_prompt=kind, metrics=["AUC", "SF"]))
    _, data, trainer = runner.open_run(Path(result.run_dir))
    histories, gender = trainer.model.histories, trainer.model.attribute.of_user
    users, items = ({name: n for n, name in enumerate(data.names(side).tolist())} for side in ("user", "item"))
    scores = {
        (users[line["user_id"]], items[line["item_id"]], line["variant"]): float(line["score"])
        for line in read_rows(Path(result.run_dir) / "predictions.tsv", "\t")
    }
    above, below = np.zeros(2), np.zeros(2)
    for user, item in data.test.labels:
        g = gender[user]
        word = "none" if g < 0 else f"gender={'FM'[g if kind == 'explicit' else 1 - g]}"
        if g >= 0 and scores[user, item, word] >= result.threshold:
            above[g] += histories.shares[user, g]
            below[g] += histories.member[item, g]
    present = below > 0
    assert result.test["sf"] == pytest.approx(1 - np.mean(above[present] / below[present]))


@pytest.mark.parametrize("kind", ["implicit", "explicit", "counterfactual"])
def test_answers_in_use_are_those_to_the_kind_of_prompt_that_is_trained_on(kind: str, keys: Keys) -> None:
    """AUC, threshold and figures by group with it; no sensitive_attribute is needed, and one does not change it."""
    result = runner.run(**keys("TALLRec", stereotype_prompt=kind, metrics=["AUC", "SF", "Flip"]))
    _, data, trainer = runner.open_run(Path(result.run_dir))
    model = trainer.model
    users, items = (torch.tensor(side) for side in zip(*data.test.labels, strict=True))
    used = model.answer(users, items, OWN)
    for value, variant in enumerate((Variant("gender", "F"), Variant("gender", "M"), NONE)):
        told = {"implicit": 2, "explicit": value, "counterfactual": 1 - value}[kind] if value < 2 else 2
        own = model.attribute.of_user[users.numpy()] == (value if value < 2 else -1)
        asked = (Variant("gender", "F"), Variant("gender", "M"), NONE)[told]
        assert torch.allclose(used[own], model.answer(users, items, asked)[own], atol=1e-6), variant
        other, same = model.repeats(users.numpy(), asked if told < 2 else OWN)
        assert same[own].all() and other == (OWN if told < 2 else NONE)
    likes = np.array(list(data.test.labels.values()))
    ahead = used.numpy()[likes][:, None] - used.numpy()[~likes][None]
    assert result.test["auc"] == pytest.approx(((ahead > 0) + 0.5 * (ahead == 0)).mean(), abs=1e-5)


def test_what_is_frozen_trains_without_dropout_and_lora_with_its_own(keys: Keys) -> None:
    result = runner.run(**keys("LoRA", lora_dropout=0.1))
    _, _, trainer = runner.open_run(Path(result.run_dir))
    model = trainer.model.train()
    assert {name.rpartition(".")[0].endswith("lora_dropout") for name, part in model.bare.named_modules()
            if part.training and isinstance(part, torch.nn.Dropout)} == {True}  # fmt: skip
    assert not model.bare.training and not any(
        part.training for name, part in model.bare.named_modules() if "lora_dropout" not in name
    )


def test_sf_names_its_grouping_the_groups_left_out_and_those_with_few_pairs(
    toy: Keys, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # other groupings, other words, so a base of its own
    ages = {"group_bins": {"age": {"young": "[0,40)", "old": "[40,inf)"}}}
    few = {**KEYS, "max_eval_prompts": 20}
    always = runner.run(**toy("MoS-Blind", **few, user_groups=["gender", "age"], **ages, yes_threshold=0.0))
    assert "sf: over gender, the first of user_groups" in always.warnings
    counts = {row["group"]: row["in_group_recommended"] for row in always.group_rows if row["group"] in ("F", "M")}
    assert max(counts.values()) > 0
    for group, count in counts.items():
        said = f"sf: {count} recommended pairs of {group} with its own stereotypes; below 30 it is noise"
        assert (said in always.warnings) == (0 < count < 30)
    never = runner.run(**keys("MoS-Blind", yes_threshold=1.0, run_dir=str(tmp_path / "never")))
    assert "sf: no recommended stereotype item for F, M; left out" in never.warnings


@pytest.mark.parametrize("name", ["MoS", "P-Tuning", "MoS-top2"])
def test_a_rows_twin_on_l_rec_alone_is_the_row_without_l_fair(name: str, keys: Keys) -> None:
    result = runner.run(**keys(name, fair_loss="none"))
    parts = {line["metric"] for line in read_rows(Path(result.run_dir) / "history.csv")}
    assert {"rec", "fair"} & parts == {"rec"}


def test_a_decoder_alone_serves_as_backbone(keys: Keys, toy: Keys, tmp_path: Path) -> None:
    made = runner.run(**toy("MoS-Base", **KEYS, backbone="causal"))
    more = {"base": made.run_dir, "backbone": "causal", "router_input": "stereotype_states"}
    row = runner.run(**keys("MoS", **more, run_dir=str(tmp_path / "row")))
    assert all(isinstance(row.test[figure], float) for figure in FIGURES)


def test_a_run_may_train_on_several_kinds_of_prompts_with_a_planted_stereotype(keys: Keys) -> None:
    kinds = ["explicit", "counterfactual"]
    row = runner.run(**keys("LoRA", stereotype_prompt=kinds, planted_stereotype=1.0, keep="last"))
    assert row.status in ("ok", "collapsed")
    config, _, trainer = runner.open_run(Path(row.run_dir))
    inputs = trainer.model.inputs
    every = asked(config.replaced(max_train_prompts=None), inputs)
    natural = asked(config.replaced(max_train_prompts=None, planted_stereotype=0.0), inputs)
    assert (every.labels != natural.labels).any()
    assert (asked(config.replaced(max_train_prompts=None, seed=7), inputs).labels == every.labels).all()


def test_a_base_is_asked_for_with_all_that_its_prompts_depend_on(toy: Keys) -> None:
    given = {"planted_stereotype": 0.5, "stereotype_prompt": "explicit", "history_length": 3, "user_groups": ["gender"]}
    (request,) = bases.bases_of(Config(overrides=toy("MoS", **KEYS, **given)))
    assert isinstance(request, bases.Request)
    assert request.model == "MoS-Base"
    wanted = {**given, **{key: KEYS[key] for key in ("likes", "sf_z", "max_train_prompts", "tiny_width")}}
    assert {key: request.config[key] for key in wanted} == wanted
    assert request.config["adapter"] == "none"


def test_a_pre_trained_language_model_needs_no_base(toy: Keys, tmp_path: Path) -> None:
    from recbole_fair.language import tiny

    texts = ['User likes: "Funny comic number 1", "Dark city night 2" Answer: Yes No' for _ in range(20)]
    tiny.write(tmp_path / "llm", "seq2seq", texts, seed=1, width=16, layers=1, vocabulary=400)
    more = {"base_llm": str(tmp_path / "llm"), "max_train_prompts": 24, "max_eval_prompts": 24}
    row = runner.run(**toy("MoS", **{**KEYS, **more}))
    assert row.base is None
    assert isinstance(row.test["auc"], float)


def test_a_model_without_an_encoder_is_refused_where_one_is_asked_for(toy: Keys, tmp_path: Path) -> None:
    from recbole_fair.language import tiny

    tiny.write(tmp_path / "llm", "causal", ["Answer: Yes No"] * 9, seed=1, width=16, layers=1, vocabulary=400)
    with pytest.raises(UsageError, match="name an encoder-decoder"):
        runner.run(**toy("MoS", **{**KEYS, "base_llm": str(tmp_path / "llm"), "backbone": "seq2seq"}))


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("MoS", {"planted_stereotype": 0.5}, "implicit prompts carry no word"),
        ("MoS", {"stereotype_prompt": "explicitly"}, "stereotype_prompt='explicitly'.*Did you mean 'explicit'"),
        ("MoS", {"stereotype_prompt": []}, "stereotype_prompt=''"),
        ("MoS", {"user_groups": ["gender*age"]}, "must be a single user field"),
        ("MoS", {"group_bins": {"gender": {"all": ["F", "M"]}}}, "has the one value"),
        ("MoS", {"sf_z": 90}, "no item is a stereotype"),
        ("MoS", {"fair_loss": "up5"}, "take model=UP5-Loss"),
        ("UP5-Loss", {"fair_loss": "none"}, "has its adversary for L_fair; take model=MoS"),
        ("MoS", {"num_experts": 1}, "needs at least 2"),
        ("MoS", {"adapter": "experts"}, "adapter=experts: MoS takes none, frozen, mos"),
        ("MoS", {"tiny_width": 32}, "another data set, model or size"),
        ("IFairLRS", {"history_length": 0}, "no training prompt has a history"),
        ("LoRA", {"lora_targets": ["query"]}, "no linear layer"),
    ],
)
def test_what_cannot_be_is_refused_before_training(name: str, more: dict[str, Any], message: str, keys: Keys) -> None:
    with pytest.raises(UsageError, match=message):
        runner.run(**keys(name, **more))


def test_the_model_is_one_class_and_a_control() -> None:
    assert {registry.load(registry.MODELS[name].target) for name in ROWS} == {MoS, Blind}


@pytest.mark.parametrize(("fair", "plain"), [("LoRA", "TALLRec"), ("Prompt-Tuning", "TALLRec--")])
def test_l_fair_moves_what_its_twin_without_it_leaves(fair: str, plain: str, rows: Callable[[str], Trained]) -> None:
    tuned, twin = (read_tensors(rows(name).folder / "model.safetensors")[0] for name in (fair, plain))
    assert twin.keys() == {name for name in tuned if not name.startswith("running.")}
    assert any(not torch.equal(tuned[name], value) for name, value in twin.items())
