"""Padded, prefix-shared and one-at-a-time scores against each other and against the model's own logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import SIZES, tiny_llama, tiny_qwen2

from recbole_fair.errors import UsageError
from recbole_fair.language import adapters
from recbole_fair.models.llm.experts import mixture_of_experts
from recbole_fair.models.llm.scoring import (
    AnswerTokens,
    PairScorer,
    answer_states,
    batches,
    common_prefix,
    logits_of_states,
    pad,
    padded_tokens,
)

ANSWERS = AnswerTokens(yes=7, no=3)


@pytest.fixture(scope="module")
def users():
    """Prompts of 9 users in mixed order, some with long common prefixes, some alone, one twice the same."""
    draw = np.random.default_rng(0)
    prompts, owners = [], []
    for user in range(9):
        prefix = draw.integers(0, 60, draw.integers(2, 40)).tolist()
        for _ in range([1, 2, 5][user % 3]):
            prompts.append(prefix + draw.integers(0, 60, draw.integers(1, 9)).tolist())
            owners.append(user)
    prompts.append(list(prompts[-1]))
    owners.append(owners[-1])
    order = draw.permutation(len(prompts))
    return [prompts[row] for row in order], [owners[row] for row in order]


def one_at_a_time(model, prompts) -> torch.Tensor:
    """The whole vocabulary's logits at the last token, from the model's own forward."""
    with torch.no_grad():
        logits = torch.stack([model(input_ids=torch.tensor([prompt])).logits[0, -1] for prompt in prompts])
    return torch.softmax(logits[:, [7, 3]], 1)[:, 0]


def adapted(model):
    torch.manual_seed(3)
    model, _ = mixture_of_experts(model, experts=2, rank=2, alpha=4)
    for name, value in model.named_parameters():
        if "lora_" in name:
            value.data = torch.randn(value.shape) * 0.2
    return model.eval()


@pytest.mark.parametrize(
    "build", [tiny_qwen2, tiny_llama, lambda: adapted(tiny_qwen2())], ids=["qwen2", "llama", "peft"]
)
@pytest.mark.parametrize("max_tokens", [10_000, 150, 1])
@pytest.mark.parametrize("share", [True, False])
def test_batched_and_shared_scores_are_those_of_one_prompt_at_a_time(users, build, max_tokens, share) -> None:
    prompts, owners = users
    model = build()
    scorer = PairScorer(model, ANSWERS, max_tokens=max_tokens, share_prefixes=share)
    actual, expected = scorer.scores(prompts, owners), one_at_a_time(model, prompts)
    assert expected.std() > 0.05
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(scorer.scores(prompts), expected, atol=1e-5, rtol=0)


def test_a_group_with_a_wrong_prefix_would_be_seen(users, monkeypatch) -> None:
    prompts, owners = users
    wrong = "recbole_fair.models.llm.scoring.common_prefix"
    monkeypatch.setattr(wrong, lambda group: min(map(len, group)) - 1)
    model = tiny_qwen2()
    off = PairScorer(model, ANSWERS).scores(prompts, owners) - one_at_a_time(model, prompts)
    assert off.abs().max() > 1e-3


def test_sharing_runs_fewer_tokens_and_keeps_to_the_budget(users) -> None:
    prompts, owners = users
    seen: list[int] = []
    model = tiny_qwen2()
    model.model.register_forward_pre_hook(
        lambda module, args, inputs: seen.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    ran = {}
    for share in (True, False):
        scorer = PairScorer(model, ANSWERS, max_tokens=150, share_prefixes=share)
        seen.clear()
        scorer.scores(prompts, owners)
        ran[share] = sum(seen)
        assert max(seen) <= 150
    assert ran[True] < 0.7 * ran[False]
    scorer = PairScorer(model, ANSWERS, max_tokens=150)
    made = list(batches(prompts, scorer._parts(prompts, owners), scorer.max_tokens))
    assert sorted(row for batch in made for part in batch for row in part.rows) == list(range(len(prompts)))
    assert all(len(batch) == 1 or padded_tokens(prompts, batch) <= 150 for batch in made)
    assert any(len(batch) > 1 and batch[0].length for batch in made)  # prefixes of several users in one pass


def test_bf16_stays_near_float32(users) -> None:
    prompts, owners = users
    exact = PairScorer(tiny_qwen2(initializer_range=0.05), ANSWERS).logits(prompts, owners)
    half = PairScorer(tiny_qwen2(initializer_range=0.05).to(torch.bfloat16), ANSWERS).logits(prompts, owners)
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 0.05 * exact.abs().max()


def test_states_with_gradients_are_those_of_the_hidden_layer_and_train_an_adapter(users) -> None:
    prompts, _ = users
    model = adapters.lora(tiny_qwen2(), rank=2, alpha=2, targets=["q_proj"])
    batch = pad(prompts[:4])
    states = answer_states(model, batch)
    for row, prompt in enumerate(prompts[:4]):
        hidden = model(input_ids=torch.tensor([prompt]), output_hidden_states=True).hidden_states[-1][0, -1]
        torch.testing.assert_close(states[row], hidden, atol=1e-5, rtol=1e-5)
    loss = torch.nn.functional.cross_entropy(logits_of_states(model, states, ANSWERS), torch.tensor([0, 1, 0, 1]))
    loss.backward()
    trained = {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
    assert all(gradient is not None for gradient in trained.values())
    assert any(gradient.abs().sum() > 0 for gradient in trained.values())


def test_attribute_routers_get_the_indicators_of_each_pass(users) -> None:
    prompts, owners = users
    model, involved = mixture_of_experts(tiny_qwen2(), experts=2, rank=2, alpha=4, router="attribute", attributes=2)
    for name, value in model.named_parameters():
        if "lora_" in name:
            value.data = torch.randn(value.shape) * 0.5
    indicators = torch.tensor([[owner % 2, owner % 3 == 0] for owner in owners], dtype=torch.float)
    scorer = PairScorer(model, ANSWERS)
    actual = scorer.scores(prompts, owners, around=lambda rows: involved.using(indicators[rows]))
    model.eval()
    for row, prompt in enumerate(prompts):
        with involved.using(indicators[[row]]):
            assert actual[row].item() == pytest.approx(one_at_a_time(model, [prompt]).item(), abs=1e-5)


def test_a_training_model_is_scored_without_dropout_and_left_in_training(users) -> None:
    prompts, owners = users
    model = adapters.lora(tiny_qwen2(attention_dropout=0.5), rank=2, alpha=2, targets=["q_proj"], dropout=0.5).train()
    scorer = PairScorer(model, ANSWERS)
    assert torch.equal(scorer.scores(prompts, owners), scorer.scores(prompts, owners))
    assert model.training
    assert not scorer.scores(prompts).requires_grad


def test_a_checkpointed_model_is_scored(users) -> None:
    from recbole_fair.models.llm.experts import checkpoint_activations

    prompts, owners = users
    model = adapted(tiny_qwen2())
    checkpoint_activations(model)
    model.train()
    torch.testing.assert_close(
        PairScorer(model, ANSWERS).scores(prompts, owners), one_at_a_time(model.eval(), prompts), atol=1e-5, rtol=0
    )


def test_the_common_prefix_is_that_of_all_prompts_by_comparison() -> None:
    draw = np.random.default_rng(1)
    for _ in range(300):
        group = [draw.integers(0, 2, draw.integers(1, 7)).tolist() for _ in range(draw.integers(1, 4))]
        expected = 0
        while all(len(prompt) - 1 > expected for prompt in group) and len({prompt[expected] for prompt in group}) == 1:
            expected += 1
        assert common_prefix(group) == expected


def test_models_whose_logits_are_changed_afterwards_are_refused() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    capped = Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=16, final_logit_softcapping=0.05)).eval()
    with pytest.raises(UsageError, match="Gemma2ForCausalLM answers with logits"):
        PairScorer(capped, ANSWERS)


def test_an_empty_prompt_and_trained_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        PairScorer(tiny_qwen2(), ANSWERS).scores([[1, 2], []])
    with pytest.raises(UsageError, match="trained vectors before its prompts"):
        PairScorer(adapters.prompt_tuning(tiny_qwen2(), tokens=2), ANSWERS)


def test_no_prompts_have_no_scores() -> None:
    assert PairScorer(tiny_qwen2(), ANSWERS).scores([]).shape == (0,)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_scores_on_cuda_are_those_of_the_cpu(users) -> None:
    prompts, owners = users
    actual = PairScorer(adapted(tiny_qwen2()).cuda(), ANSWERS).scores(prompts, owners)
    torch.testing.assert_close(actual, one_at_a_time(adapted(tiny_qwen2()), prompts), atol=1e-4, rtol=0)
