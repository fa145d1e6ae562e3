"""Asking P5 in words: answers against the plain loss, both roles of a probing prompt, questions and their examples."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from toy import toy_keys, write_toy

from recbole_fair import run
from recbole_fair.errors import UsageError
from recbole_fair.language.prefixes import joined
from recbole_fair.models.p5 import probing
from recbole_fair.models.p5.cfp import Step
from recbole_fair.models.p5.probing import ProbingPrompt, ValueWords
from recbole_fair.models.p5.prompts import Example, read_templates
from recbole_fair.probe import findings
from recbole_fair.runner import open_run
from recbole_fair.strategies.cfp import CounterfactualPrompt

KEYS: dict[str, Any] = {
    "tiny_width": 16, "max_train_prompts": 128, "max_history": 6, "epochs": 1, "num_candidates": 8, "rounds": 1,
    "prefix_length": 2, "prefix_width": 8, "prefix_hidden": 8, "joint_steps": 1, "recommend_steps": 1,
    "discriminate_steps": 1, "eval_args": {"split": {"LS": "valid_and_test"}}, "valid_metric": "NDCG@5",
    "bootstrap": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A CFP that a soft prompt trained, with its configuration and data."""
    home = tmp_path_factory.mktemp("probing")
    write_toy(home)
    run(**{**toy_keys(home, home / "p5", "P5"), **KEYS})
    more = {"sensitive_attribute": "gender", "base": str(home / "p5"), "discriminator": "soft_prompt"}
    assert run(**{**toy_keys(home, home / "cfp", "CFP"), **KEYS, **more}).status == "ok"
    config, data, trainer = open_run(home / "cfp")
    return config, data, trainer, trainer.model.eval()


@torch.no_grad()
def test_an_answers_likelihood_is_that_of_its_tokens_one_after_the_other(opened: Any) -> None:
    model = opened[-1]
    prompts, values = model.prompts_of([1, 2, 31], "test"), ["female", "a male"]
    answers = ValueWords(model, values)
    with model.steered():
        found = answers.log_likelihood(model, prompts)
        for row in range(3):
            for place, value in enumerate(values):
                tokens, past, total = model.wording.prompter.answer(value), [model.backbone.start], 0.0
                assert tokens[-1] == model.wording.prompter.end[0]
                for token in tokens:
                    logits = model.language(
                        inputs_embeds=model.language.get_input_embeddings()(prompts.tokens[[row]])
                        + model.whole_words(prompts.words[[row]]),
                        attention_mask=prompts.mask[[row]], decoder_input_ids=torch.tensor([past]),
                    ).logits  # fmt: skip
                    total += float(logits[0, -1].log_softmax(-1)[token])
                    past.append(token)
                assert float(found[row, place]) == pytest.approx(total, abs=1e-4)


def test_a_probing_prompt_stands_behind_the_models_own(opened: Any) -> None:
    model = opened[-1]
    own, more = model.key_values(), ProbingPrompt(model, ["F", "M"]).prompt()
    both = joined(own, more)
    assert {part: tensor.shape[-2] for part, tensor in both.items()} == dict.fromkeys(own, 2 + 5)
    assert torch.equal(both["cross"][..., :2, :], own["cross"])
    assert all(torch.equal(tensor, more[part]) for part, tensor in joined({}, more).items())


def gradients(module: torch.nn.Module) -> list[bool]:
    return [parameter.grad is not None and bool(parameter.grad.any()) for parameter in module.parameters()]


def test_in_each_role_one_side_alone_gets_a_gradient(opened: Any) -> None:
    model = opened[-1]
    prompt, prompts, classes = ProbingPrompt(model, ["F", "M"]), model.prompts_of([2, 31, 5], "test"), [0, 1, -1]
    model.zero_grad()
    before = [value.clone() for value in prompt.prompt.parameters()]
    prompt.attack(prompts, torch.tensor(classes))
    assert any(gradients(prompt.prompt)) and not any(gradients(model))
    assert any(not torch.equal(a, b) for a, b in zip(before, prompt.prompt.parameters(), strict=True))
    prompt.prompt.zero_grad()
    loss = prompt.loss(prompts, torch.tensor(classes))
    loss.backward()
    assert any(gradients(model.prompt)) and not any(gradients(prompt.prompt))
    torch.testing.assert_close(loss, -prompt.read(prompts)[[0, 1], [0, 1]].mean())  # the unknown one is left out
    model.zero_grad()


@pytest.mark.parametrize("discriminator", ["classifier", "soft_prompt"])
@pytest.mark.parametrize("place", ["user", "decoder"])
def test_the_prompt_gets_the_gradient_of_recommendation_less_lambda_reading(
    opened: Any, discriminator: str, place: str
) -> None:
    """Algorithm 1's joint update by hand; a flipped sign or a forgotten prompt would show."""
    config, data, _, model = opened
    given = {**config.final_config_dict, "discriminator": discriminator, "discriminate": place, "learning_rate": 0.0}
    attributes = {"gender": torch.from_numpy(model.attributes["gender"].of_user)}
    settings = type("Settings", (dict,), {"name": "CFP"})(given)
    strategy = CounterfactualPrompt(SimpleNamespace(config=settings, attributes=attributes))  # type: ignore[arg-type]
    strategy.prepare(model)
    batch, reader = next(iter(data.train)), strategy.adversaries["gender"]
    torch.manual_seed(4)
    strategy._improve(model, batch, ("gender",), Step("joint", 3.0, 1.0))
    found = [parameter.grad.clone() for parameter in model.prompt.parameters()]
    torch.manual_seed(4)
    rows = strategy._rows("gender", batch.users)
    model.zero_grad()
    with model.steered():
        states = model.encode(batch.prompts)
        shown = (
            batch.prompts[rows]
            if discriminator == "soft_prompt"
            else model.state_at(place, states, batch.prompts)[rows]
        )
        read = reader.loss(shown, attributes["gender"][batch.users[rows]])
        loss = model.writing_loss(states, batch) - 3.0 * read
    wanted = torch.autograd.grad(loss, list(model.prompt.parameters()))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    assert float(read) > 0
    model.zero_grad()


def test_a_soft_prompt_learns_to_read_what_histories_show(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the toy data a history is all comics or all noir, as its reader is a woman or a man."""
    model = opened[-1]
    monkeypatch.setattr(probing, "_STEPS", 120)
    classes = model.attributes["gender"].of_user
    users = np.flatnonzero(classes >= 0)[np.argsort(np.random.default_rng(0).random((classes >= 0).sum()))]
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    said = model.prompt_attackers["soft_prompt"]("gender", ["F", "M"], users[:28], classes[users[:28]], users[28:], 0)
    assert torch.equal(torch.rand(1), expected)
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-6)
    assert roc_auc_score(classes[users[28:]], said[:, 1]) > 0.9


def test_a_question_names_the_user_behind_as_many_answered_examples_as_fit(opened: Any) -> None:
    prompter = opened[-1].wording.prompter
    template = read_templates("p5-questions")["question_history"][0]
    examples = [Example(number, [1, 2], "male .") for number in range(1, 41)]
    whole = prompter.question(template, "gender", examples[:2], Example(7, [3]))
    text = [prompter.words.tokens(word) for word in ("male", "gender", "user_7", "user_1", "user_2")]
    spoken = " ".join(map(str, whole.tokens))
    assert [spoken.count(" ".join(map(str, word))) > 0 for word in text] == [True] * 5
    assert len(prompter.question(template, "gender", examples, Example(7, [3])).tokens) <= prompter.longest
    alone = prompter.question(template, "gender", (), Example(7, [3]))
    assert whole.tokens[-len(alone.tokens) :] == alone.tokens  # the question comes last, without its answer


@pytest.mark.parametrize("kind", ["question", "question_history", "examples", "examples_history"])
def test_questions_are_answered_by_probabilities(opened: Any, kind: str) -> None:
    model = opened[-1]
    seen, asked = np.arange(2, 12), np.array([1, 35])
    said = model.prompt_attackers[kind]("gender", ["F", "M"], seen, np.zeros(10, dtype=int), asked, 0)
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-6)
    again = model.prompt_attackers[kind]("gender", ["F", "M"], seen, np.ones(10, dtype=int), asked, 0)
    assert (said == again).all() == (not kind.startswith("examples"))  # only examples tell their values


def test_the_probe_takes_prompts_as_attackers_of_a_model_that_offers_them(opened: Any) -> None:
    config, data, trainer, _ = opened
    quick = {"probe": ["gender"], "probe_folds": 2, "probe_repeats": 2, "probe_shuffles": 2, "min_class_users": 10}
    for key, value in {**quick, "probe_attackers": ["logistic", "question"]}.items():
        config[key] = value
    probed = findings.probe_run(config, data, trainer)
    assert {"attr_auc[gender]", "attr_auc_question[gender]", "attr_auc_decoder[gender]"} <= probed.values.keys()
    assert len(probed.findings[0].attacks["question"].folds) == 2  # one draw
    config["probe_attackers"] = ["question", "logistic"]
    with pytest.raises(UsageError, match="name logistic or mlp first"):
        findings.check(config, data, trainer)
    with pytest.raises(UsageError, match="no such attacker of CFP"):
        findings.attackers_of(config, torch.nn.Linear(1, 1))
    config["probe"] = []


def test_a_value_that_begins_another_is_told_apart_by_its_end(opened: Any) -> None:
    trie = ValueWords(opened[-1], ["1", "12"]).trie
    assert len(trie.sequences) == 3
