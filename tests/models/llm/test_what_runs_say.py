"""What a run with prompts must not hide: planted labels, cut histories, missing answers, other wordings, collapse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_yesno_rows import quick

from recbole_fair import run
from recbole_fair.errors import UsageError
from recbole_fair.evaluation.answered import AnswerEvaluator
from recbole_fair.evaluation.asking import answered
from recbole_fair.groups.variants import NONE, OWN, Variant
from recbole_fair.metrics.formulas import Terms
from recbole_fair.models.llm import yesno
from recbole_fair.rundir.result import Result
from recbole_fair.runner import open_run

Toy = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("says")


@pytest.fixture
def asked(toy: Toy, here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a row in the module's folder, so that all stand on the bases that are there already."""
    monkeypatch.chdir(here)
    return lambda name, run_dir, **more: run(**quick(toy, name, run_dir=str(here / run_dir), **more))


def test_a_result_counts_what_was_learnt_planted_and_asked(asked: Callable[..., Result]) -> None:
    result = asked("Ins-Tuning", "planted", planted_bias={"gender": 0.5}, max_train_prompts=30)
    _, loaded, trainer = open_run(Path(result.run_dir))
    pairs, lines = loaded.train.pairs, trainer.model.inputs.timelines
    flips = sum(bool(label) != bool(lines.liked[row]) for label, row in zip(pairs.labels, pairs.rows, strict=True))
    assert result.prompts["planted_flips"] == flips > 0
    assert result.prompts["training"] == len(pairs) == 30
    assert [len(batch) for batch in loaded.train] == [8, 8, 7, 7], "train_batch_size at most, and evenly"
    assert result.prompts["training"] + result.prompts["training_left_out"] == len(loaded.parts["train"])
    judged = len(loaded.test.labels)
    users = np.array([user for user, _ in loaded.test.labels])
    repeated = sum(trainer.model.repeats(users, variant)[1].sum() for variant in trainer.evaluator.variants)
    assert repeated == judged, "each pair's own gender is given under actual already"
    assert result.prompts["judged_prompts"] == judged * len(trainer.evaluator.variants), "and once more for flip_null"
    assert result.prompts["judged_left_out"] == len(loaded.parts["test"]) - judged > 0
    assert f"planted_flips {flips}" in Result.read(Path(result.run_dir)).table()


def test_a_result_counts_histories_that_were_cut(asked: Callable[..., Result]) -> None:
    fitting = asked("Ins-Tuning", "whole")
    assert fitting.prompts["training_shortened"] == fitting.prompts["judged_items_cut"] == 0
    _, loaded, trainer = open_run(Path(fitting.run_dir))
    trainer.model.encode_training(loaded.train.pairs)
    longest = max(len(prompt) for row in trainer.model._token_ids.values() for prompt in row)
    result = asked("Ins-Tuning", "cut", max_prompt_tokens=longest - 3)
    for part in ("training", "judged"):
        assert 0 < result.prompts[f"{part}_shortened"] <= result.prompts[f"{part}_prompts"]
        assert result.prompts[f"{part}_items_cut"] >= result.prompts[f"{part}_shortened"]


@pytest.mark.parametrize("row", ["Ins-Tuning", "Blind", "Averaged"])
def test_prompts_that_repeat_are_asked_once_with_the_scores_of_each(
    asked: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, row: str
) -> None:
    two = {"sensitive_attribute": ["gender"], "user_groups": ["gender", "age"]}
    _, loaded, trainer = open_run(Path(asked(row, f"repeats-{row}", **two).run_dir))
    model, variants = trainer.model, trainer.evaluator.variants
    assert {variant.attribute for variant in variants} == {"", "*", "gender", "age"}
    saving, counts = answered(model, loaded.test, variants, True, False), []
    counts.append(model.judged_counts()["judged_prompts"])
    monkeypatch.setattr(type(model), "repeats", lambda _, users, variant: (variant, np.zeros(len(users), dtype=bool)))
    each = answered(model, loaded.test, variants, True, False)
    counts.append(model.judged_counts()["judged_prompts"])
    assert list(saving.scores) == list(each.scores) == list(variants)
    for variant in variants:
        np.testing.assert_allclose(saving.scores[variant], each.scores[variant], atol=1e-6)
    assert counts[0] < counts[1]


def test_judged_prompts_are_written_once_a_run_and_counted_each_time(
    asked: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, loaded, trainer = open_run(Path(asked("Ins-Tuning", "whole").run_dir))
    prompts = trainer.model.prompts
    users, items = np.array(list(loaded.test.labels)).T
    before = prompts.cut["judged"].prompts
    first = prompts.judged(users, items, OWN)
    with monkeypatch.context() as patch:
        patch.setattr(prompts.encoder, "encode", None)
        assert prompts.judged(users, items, OWN) == first
        assert prompts.cut["judged"].prompts == before + 2 * len(users)
        with pytest.raises(TypeError, match="not callable"):
            prompts.judged(users, items, NONE)
    monkeypatch.setattr("recbole_fair.models.llm.pairs._MOST_KEPT", 0)
    assert prompts.judged(users[:2], items[:2], OWN) == first[:2], "without room they are written again"


def test_users_of_whom_all_is_asked_have_no_history_and_the_result_says_so(asked: Callable[..., Result]) -> None:
    some = asked("Ins-Tuning", "whole")
    assert some.prompts["judged_without_history"] == 0
    assert not any("show no history" in note for note in some.warnings)
    every = asked("Ins-Tuning", "all", targets_per_user=None)
    assert every.prompts["judged_without_history"] == every.prompts["judged_prompts"] > 0
    assert any("show no history: all that is known of most users is asked for" in note for note in every.warnings)


def test_texts_without_an_answer_are_counted_and_count_as_no(
    asked: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yesno, "last_answer", lambda *_: None)
    result = asked("CoT", "cot", cot_tokens=1)
    assert result.prompts["unanswered"] == result.prompts["judged_prompts"] > 0
    assert result.test["yes_share"] == 0


def test_a_text_answers_in_the_words_of_its_template() -> None:
    model: Any = torch.nn.Identity()
    model.generate = lambda input_ids, **_: torch.cat([input_ids, input_ids], dim=1)
    texts = {1: "Gern gesehen, also Ja", 2: "Nein", 3: "Yes"}
    row = SimpleNamespace(
        language_model=model, device="cpu", new_tokens=1, unanswered=0, template=SimpleNamespace(yes="Ja", no="Nein"),
        tokenizer=SimpleNamespace(decode=lambda tokens: texts[tokens[0]]),
    )  # fmt: skip
    assert yesno.ChainOfThought._written(row, [[1], [2], [3]]) == [1, 0, 0]
    assert row.unanswered == 1


def test_the_spread_over_wordings_is_that_of_runs_with_each_wording(asked: Callable[..., Result]) -> None:
    words = {"gender": {"F": ["woman", "Ms Smith"], "M": ["man", "Mr Smith"]}}
    more = {"planted_bias": {"gender": 0.9}, "epochs": 6, "max_train_prompts": None, "max_eval_prompts": None}
    base = asked("YesNo-Base", "wb", attribute_words=words, learning_rate=0.01, **{**more, "epochs": 8},
                 train_batch_size=32).run_dir  # fmt: skip
    results = [asked("LLM-Rec", f"w{n}", attribute_words=words, wording=n, base=base, **more) for n in (0, 1)]
    one, other = (result.test for result in results)
    assert one != other
    for name, (low, high) in results[0].wordings.items():
        assert (low, high) == pytest.approx(sorted((one[name], other[name])), abs=1e-9), name
    assert results[0].wordings.keys() >= {"auc", "f1", "flip[gender]"}
    assert "over all wordings: " in results[0].table()


def test_beside_the_figures_stand_those_of_no_model_and_of_the_base(asked: Callable[..., Result]) -> None:
    result = asked("CF", "beside")
    _, loaded, _ = open_run(Path(result.run_dir))
    labels = list(loaded.test.labels.values())
    share = np.mean(labels)
    assert result.beside["yes_always"]["f1"] == pytest.approx(2 * share / (1 + share))
    train = loaded.parts["train"].inter_feat
    liked = {}
    for item, rating in zip(train["item_id"].tolist(), train["rating"].tolist(), strict=True):
        liked.setdefault(item, []).append(rating >= 4)
    every = np.mean([one for of_item in liked.values() for one in of_item])
    said = [np.mean(liked.get(item, [every])) >= 0.5 for _, item in loaded.test.labels]
    both = sum(yes and label for yes, label in zip(said, labels, strict=True))
    assert result.beside["item_mean"]["f1"] == pytest.approx(2 * both / (sum(said) + sum(labels)))
    base = Result.read(Path(result.base)).test
    assert result.beside["base"] == {name: value for name, value in base.items() if value is not None}


def test_a_difference_that_dominates_ends_as_collapse(asked: Callable[..., Result]) -> None:
    more = {"distance": "raw", "answer_weight": 0.0, "diff_weight": 100.0, "learning_rate": 0.3, "epochs": 4}
    result = asked("Diff", "collapse", **more, lora_r=8)
    assert result.status == "collapsed"
    assert any("of the answers are Yes" in warning for warning in result.warnings)


def test_an_attribute_that_a_user_lacks_is_left_out_of_its_clause(asked: Callable[..., Result]) -> None:
    _, loaded, trainer = open_run(Path(asked("LLM-Rec", "unknown").run_dir))
    user = loaded.names("user").tolist().index("uF0")  # no gender, age 20
    prompts = trainer.model.prompts
    assert prompts.words(user, OWN) == ("young",)
    assert prompts.words(user, NONE) == ()
    assert prompts.words(user, Variant("gender", "M")) == ("M", "young")
    assert prompts.words(user, Variant("gender", "M"), ["gender"]) == ("M",)


def test_prompts_longer_than_the_model_are_refused(asked: Callable[..., Result]) -> None:
    with pytest.raises(UsageError, match=r"max_prompt_tokens=40000: .* positions are too few; give max_prompt_tokens="):
        asked("LLM-Rec", "long", max_prompt_tokens=40_000)


@pytest.mark.parametrize(
    ("share", "base", "says"),
    [
        (0.95, None, "95.0% of the answers are Yes"),
        (0.05, {"yes_share": 0.1}, "5.0% of the answers are Yes"),
        (0.75, {"yes_share": 0.5}, "75.0% of the answers are Yes, 50.0% of its base's"),
        (0.29, {"yes_share": 0.5}, "29.0% of the answers are Yes, 50.0% of its base's"),
        (0.69, {"yes_share": 0.5}, None),
        (0.75, {"yes_share": None}, None),
        (0.75, {}, None),
    ],
)
def test_collapse_is_one_answer_or_a_share_of_yes_far_from_the_bases(
    share: float, base: dict[str, float | None] | None, says: str | None
) -> None:
    table = SimpleNamespace(terms=lambda *_, **__: Terms(np.array([[share]]), np.array([[1.0]])))
    reason = AnswerEvaluator.collapse(SimpleNamespace(table=table), base or {})
    assert (says in reason) if says else reason is None
