"""MoS's trained part against plain loops over prompts, groups and experts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PhiConfig, PhiForCausalLM, Qwen2Config, Qwen2ForCausalLM, T5Config, T5ForConditionalGeneration

from recbole_fair.errors import UsageError
from recbole_fair.models.llm.soft_prompt import (
    DenseExperts,
    ExpertShares,
    LowRankExperts,
    MixtureOfStereotypes,
    Router,
    diversity_loss,
    masked_mean,
    stereotype_states,
)
from recbole_fair.models.llm.virtual_tokens import (
    Embedded,
    check_room,
    logits_after,
    position_limit,
    prepend,
    states_of,
)
from recbole_fair.training.optimiser import adafactor

WIDTH, GROUPS, BATCH = 64, 2, 5
LENGTHS = (7, 3, 9, 1, 6)


def t5() -> Any:
    torch.manual_seed(0)
    config = T5Config(d_model=WIDTH, d_kv=16, d_ff=96, num_layers=2, num_heads=4, vocab_size=120,
                      decoder_start_token_id=0, dropout_rate=0.0)  # fmt: skip
    return T5ForConditionalGeneration(config).eval().requires_grad_(False)


def qwen2() -> Any:
    torch.manual_seed(0)
    config = Qwen2Config(hidden_size=WIDTH, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, vocab_size=120, max_position_embeddings=64)  # fmt: skip
    return Qwen2ForCausalLM(config).eval().requires_grad_(False)


BACKBONES = pytest.mark.parametrize("backbone", [t5, qwen2])


def prompts(model: Any) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Embeddings of right-padded prompts, their mask and the words of two groups, of one token and of three."""
    torch.manual_seed(1)
    table = model.get_input_embeddings()
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    tokens = torch.randint(1, 120, mask.shape) * mask
    return table(tokens), mask, [table(torch.tensor([11])), table(torch.tensor([12, 13, 14]))]


def mixture(**keys: Any) -> MixtureOfStereotypes:
    torch.manual_seed(2)
    made = MixtureOfStereotypes(WIDTH, **keys)
    for parameter in made.parameters():  # nothing stays at 0 or the identity, so that every term counts
        nn.init.normal_(parameter, std=0.3)
    return made


def slow_probabilities(scores: list[float], top: int) -> list[float]:
    best = sorted(range(len(scores)), key=lambda n: -scores[n])[:top]
    below = sum(math.exp(scores[k]) for k in best)
    return [math.exp(score) / below if n in best else 0.0 for n, score in enumerate(scores)]


def slow_expert(experts: Any, n: int, context: Tensor) -> Tensor:
    if isinstance(experts, LowRankExperts):
        return experts.tokens[n] + (experts.up[n] @ (experts.down[n] @ context))
    return torch.stack([experts.weight[n, k] @ context + experts.bias[n, k] for k in range(5)])


@pytest.mark.parametrize("expert", ["low_rank", "dense"])
@pytest.mark.parametrize("reweighting", [True, False])
@pytest.mark.parametrize("top", [1, 2])
def test_routing_and_reweighting_against_a_loop_over_experts(expert: str, reweighting: bool, top: int) -> None:
    embeddings, mask, words = prompts(t5())
    made = mixture(expert=expert, routing=f"top{top}", reweighting=reweighting)
    soft = made(embeddings, mask, words)
    for b, length in enumerate(LENGTHS):
        real = embeddings[b, :length]
        routed = []
        for word in words:  # Eq. 5-7
            c_i = torch.cat([real, word]).mean(0)
            scores = (made.router.linear.weight @ c_i + made.router.linear.bias).tolist()
            routed.append(slow_probabilities(scores, top))
        mean = [sum(column) / GROUPS for column in zip(*routed, strict=True)]
        weights = torch.tensor(mean)
        if reweighting:  # Eq. 8
            weights = made.reweighting.weight @ weights + made.reweighting.bias
        torch.testing.assert_close(soft.weights[b], weights)
        expected = sum(weights[n] * slow_expert(made.experts, n, real.mean(0)) for n in range(4))  # Eq. 9
        torch.testing.assert_close(soft.tokens[b], expected, atol=1e-4, rtol=1e-4)
        for i in range(GROUPS):
            assert set(soft.chosen[b, i].tolist()) == {n for n, p in enumerate(routed[i]) if p}


def test_the_module_starts_as_the_plain_average_of_learned_tokens() -> None:
    embeddings, mask, words = prompts(t5())
    for expert in ("low_rank", "dense"):
        made = MixtureOfStereotypes(WIDTH, expert=expert)
        table = torch.randn(50, WIDTH)
        made.start_at_words(table)
        soft = made(embeddings, mask, words)
        learned = made.experts.tokens if expert == "low_rank" else made.experts.bias
        assert all((row == table).all(1).any() for row in learned.flatten(0, 1))
        met = torch.stack([learned[chosen.flatten()].mean(0) for chosen in soft.chosen])
        torch.testing.assert_close(soft.tokens, met)


@pytest.mark.parametrize("routing", ["top1", "stochastic"])
def test_as_printed_one_expert_s_probability_gives_the_router_no_gradient(routing: str) -> None:
    embeddings, mask, words = prompts(t5())
    made = mixture(routing=routing, router_gradient="printed")
    made(embeddings, mask, words).tokens.square().sum().backward()
    assert not made.router.linear.weight.grad.any() and not made.router.linear.bias.grad.any()
    assert made.experts.tokens.grad.any()


@pytest.mark.parametrize("routing", ["top1", "top2"])
def test_straight_through_has_the_printed_value_and_the_gradient_of_the_softmax(routing: str) -> None:
    inputs, towards = torch.randn(BATCH, GROUPS, WIDTH), torch.randn(BATCH, GROUPS, 4)
    straight, printed = (Router(WIDTH, 4, routing, gradient) for gradient in ("straight_through", "printed"))
    printed.load_state_dict(straight.state_dict())
    torch.testing.assert_close(straight(inputs).probabilities, printed(inputs).probabilities)
    (straight(inputs).probabilities * towards).sum().backward()
    scores = inputs @ straight.linear.weight.detach().T + straight.linear.bias.detach()
    p = scores.softmax(-1)
    by_score = p * (towards - (p * towards).sum(-1, keepdim=True))  # the softmax's Jacobian, written out
    torch.testing.assert_close(straight.linear.weight.grad, torch.einsum("bgn,bgd->nd", by_score, inputs))
    assert straight.linear.weight.grad.abs().max() > 1e-3


def test_top2_as_printed_has_the_gradient_of_the_softmax_over_two() -> None:
    router = Router(WIDTH, 4, "top2", "printed").double()
    inputs = torch.randn(1, 1, WIDTH, dtype=torch.float64)
    towards = torch.randn(4, dtype=torch.float64)
    (router(inputs).probabilities[0, 0] @ towards).backward()
    with torch.no_grad():
        for n in range(4):
            values = []
            for step in (1e-6, -1e-6):
                router.linear.bias[n] += step
                values.append(float(router(inputs).probabilities[0, 0] @ towards))
                router.linear.bias[n] -= step
            assert float(router.linear.bias.grad[n]) == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-7)


def test_stochastic_routing_draws_from_the_router_s_softmax_and_judges_by_its_mean() -> None:
    torch.manual_seed(3)
    router = Router(WIDTH, 4, "stochastic")
    inputs = torch.randn(1, 1, WIDTH).expand(20_000, 1, WIDTH)
    softmax = router.linear(inputs[0, 0]).softmax(-1)
    routed = router(inputs)
    counts = torch.bincount(routed.chosen.flatten(), minlength=4) / 20_000
    torch.testing.assert_close(counts, softmax, atol=0.015, rtol=0)
    torch.testing.assert_close(routed.probabilities.sum(-1), torch.ones(20_000, 1))
    assert set(routed.probabilities.detach().round(decimals=4).unique().tolist()) == {0.0, 1.0}
    router.eval()
    judged = router(inputs[:3])
    torch.testing.assert_close(judged.probabilities, softmax.expand(3, 1, 4))
    assert torch.equal(judged.probabilities, router(inputs[:3]).probabilities), "no draw in judging"


@BACKBONES
def test_stereotype_states_are_those_of_each_prompt_run_alone(backbone: Any) -> None:
    model = backbone()
    embeddings, mask, words = prompts(model)
    states = stereotype_states(states_of(model), embeddings, mask, words)
    assert states.shape == (BATCH, GROUPS, WIDTH)
    body = model.get_encoder() if model.config.is_encoder_decoder else model.model
    for b, length in enumerate(LENGTHS):
        for i, word in enumerate(words):
            alone = torch.cat([embeddings[b, :length], word])[None]
            expected = body(inputs_embeds=alone).last_hidden_state[0, length:].mean(0)
            torch.testing.assert_close(states[b, i], expected, atol=1e-4, rtol=1e-4)
    made = mixture(router_input="stereotype_states")
    scores = states @ made.router.linear.weight.T + made.router.linear.bias
    chosen = made(embeddings, mask, words, states_of(model)).chosen
    torch.testing.assert_close(chosen[..., 0], scores.argmax(-1))
    with pytest.raises(ValueError, match="reads the backbone"):
        made(embeddings, mask, words)


@BACKBONES
def test_stereotype_tokens_never_reach_the_recommender(backbone: Any) -> None:
    """They move the weights of the experts; every other number that the recommender reads stays the same."""
    model = backbone()
    embeddings, mask, words = prompts(model)
    read: list[dict[str, Any]] = []
    body = model.get_encoder() if model.config.is_encoder_decoder else model.model
    body.register_forward_pre_hook(lambda _, args, keys: read.append(keys), with_kwargs=True)
    made = mixture()
    other_words = [-40 * word.flip(0) for word in words]
    inputs = []
    for asked in (words, other_words):
        soft = made(embeddings, mask, asked)
        inputs.append((soft, prepend(soft.tokens, embeddings, mask)))
        logits_after(model, inputs[-1][1], [5, 6])
    (with_words, first), (without, second) = inputs
    assert not torch.equal(with_words.weights, without.weights), "else the test shows nothing"
    for seen, given in zip(read, (first, second), strict=True):
        assert seen["inputs_embeds"].shape == (BATCH, 5 + max(LENGTHS), WIDTH)
        torch.testing.assert_close(seen["inputs_embeds"][:, 5:], embeddings, atol=0, rtol=0)
        torch.testing.assert_close(seen["attention_mask"][:, 5:], mask)
        assert seen["attention_mask"][:, :5].all() and torch.equal(seen["inputs_embeds"], given.embeddings)
    with torch.no_grad():  # weights that hear nothing of the router: the words are without any effect
        made.reweighting.weight.zero_()
    bound = [prepend(made(embeddings, mask, asked).tokens, embeddings, mask) for asked in (words, other_words)]
    assert torch.equal(bound[0].embeddings, bound[1].embeddings)


@BACKBONES
def test_answers_are_those_of_the_whole_model_prompt_by_prompt(backbone: Any) -> None:
    model = backbone()
    embeddings, mask, words = prompts(model)
    soft = mixture()(embeddings, mask, words).tokens
    logits = logits_after(model, prepend(soft, embeddings, mask), [7, 3])
    for b, length in enumerate(LENGTHS):
        alone = torch.cat([soft[b], embeddings[b, :length]])[None]
        start = {"decoder_input_ids": torch.tensor([[0]])} if model.config.is_encoder_decoder else {}
        expected = model(inputs_embeds=alone, **start).logits[0, -1, [7, 3]]
        torch.testing.assert_close(logits[b], expected, atol=1e-4, rtol=1e-4)


def test_a_bias_of_the_output_layer_is_part_of_the_answers() -> None:
    sizes = {"hidden_size": WIDTH, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4}
    model = PhiForCausalLM(PhiConfig(vocab_size=120, pad_token_id=None, **sizes)).eval()
    nn.init.normal_(model.lm_head.bias)
    embeddings, mask, _ = prompts(model)
    last = model(inputs_embeds=embeddings, attention_mask=mask).logits[torch.arange(BATCH), mask.sum(1) - 1]
    torch.testing.assert_close(logits_after(model, Embedded(embeddings, mask), [7, 3]), last[:, [7, 3]])


@BACKBONES
def test_training_moves_the_mixture_and_leaves_the_backbone_bit_identical(backbone: Any) -> None:
    model = backbone().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    embeddings, mask, words = prompts(model)
    made = MixtureOfStereotypes(WIDTH)
    made.start_at_words(model.get_input_embeddings().weight)
    trained = {name: value.clone() for name, value in made.state_dict().items()}
    optimizer = adafactor([{"params": [*made.parameters(), *model.parameters()]}], 0.5, 0.0)
    labels = torch.tensor([0, 1, 0, 1, 1])
    for _ in range(3):
        optimizer.zero_grad()
        logits = logits_after(model, prepend(made(embeddings, mask, words).tokens, embeddings, mask), [7, 3])
        (nn.functional.cross_entropy(logits, labels) + 0.1 * made.diversity()).backward()
        optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    same = [name for name, value in made.state_dict().items() if torch.equal(value, trained[name])]
    assert not same, "every part is trained"


def test_padding_is_in_no_mean() -> None:
    embeddings, mask, _ = prompts(t5())
    spoilt = embeddings.masked_fill(mask[..., None] == 0, 1e6)
    torch.testing.assert_close(masked_mean(spoilt, mask), masked_mean(embeddings, mask))
    for b, length in enumerate(LENGTHS):
        torch.testing.assert_close(masked_mean(embeddings, mask)[b], embeddings[b, :length].mean(0))


def test_half_precision_embeddings_are_averaged_in_float32_and_the_soft_prompt_is_cast_back() -> None:
    embeddings, mask, words = prompts(t5())
    half = embeddings.to(torch.bfloat16)
    soft = mixture()(half, mask, [word.to(torch.bfloat16) for word in words])
    assert soft.tokens.dtype == torch.float32
    assert prepend(soft.tokens, half, mask).embeddings.dtype == torch.bfloat16


@pytest.mark.parametrize("div", ["unit", "printed", "hinge"])
def test_diversity_against_a_loop_over_pairs(div: str) -> None:
    experts = torch.randn(4, 30, dtype=torch.float64)
    vectors = [v / v.norm() for v in experts] if div == "unit" else list(experts)
    nearest = min(float(((vectors[i] - vectors[j]) ** 2).sum()) for i in range(4) for j in range(4) if i != j)
    expected = max(0.0, 50 - nearest) if div == "hinge" else -nearest
    assert float(diversity_loss(experts, div, margin=50.0)) == pytest.approx(expected)


def test_diversity_of_unit_vectors_is_bounded_and_as_printed_it_is_not() -> None:
    experts = torch.randn(4, 30)
    assert float(diversity_loss(1e4 * experts, "printed")) < -1e8
    torch.testing.assert_close(diversity_loss(1e4 * experts, "unit"), diversity_loss(experts, "unit"))
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert float(diversity_loss(opposite, "unit")) == -4.0, "the bound is reached"
    far = (10 * opposite).requires_grad_()
    diversity_loss(far, "hinge", margin=1.0).backward()
    assert not far.grad.any(), "far enough is far enough"
    equal = torch.ones(2, 3, requires_grad=True)
    diversity_loss(equal, "unit").backward()
    assert equal.grad.isfinite().all()


def test_the_mixture_s_diversity_covers_all_parameters_of_each_expert() -> None:
    made = mixture()
    flat = torch.stack([torch.cat([p[n].flatten() for p in made.experts.parameters()]) for n in range(4)])
    torch.testing.assert_close(made.diversity("printed"), diversity_loss(flat, "printed"))


@pytest.mark.parametrize(("keys", "count"), [
    ({}, 73_752),
    ({"reweighting": False}, 73_752 - 20),
    ({"expert": "dense"}, 4 * 5 * (768 * 768 + 768) + 768 * 4 + 4 + 20),
])  # fmt: skip
def test_trained_parameters_at_the_shape_of_t5_base(keys: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        made = MixtureOfStereotypes(768, **keys)
    assert sum(parameter.numel() for parameter in made.parameters()) == count


def test_expert_shares_by_group() -> None:
    shares = ExpertShares(("F", "M"), 3)
    assert all(math.isnan(share) for share in shares.by_group()["F"])
    shares.add(torch.tensor([[[0], [1]], [[0], [2]]]))
    shares.add(torch.tensor([[[1], [1]]]))
    assert shares.by_group() == {"F": pytest.approx([2 / 3, 1 / 3, 0]), "M": pytest.approx([0, 2 / 3, 1 / 3])}
    both = ExpertShares(("F",), 3)
    both.add(torch.tensor([[[0, 2]]]))
    assert both.by_group() == {"F": [0.5, 0.0, 0.5]}


def test_one_expert_is_no_mixture() -> None:
    with pytest.raises(UsageError, match="experts=1: a mixture needs at least 2"):
        MixtureOfStereotypes(8, experts=1)


def test_virtual_tokens_beyond_the_model_s_positions_are_refused() -> None:
    check_room(64, 59, 5, "virtual_tokens")
    check_room(position_limit(t5().config), 10_000, 5, "virtual_tokens")
    with pytest.raises(UsageError, match=r"max_prompt_tokens=60: .* 5 more .* 64 positions .* max_prompt_tokens=59"):
        check_room(position_limit(qwen2().config), 60, 5, "virtual_tokens")
    with pytest.raises(UsageError, match=r"positions are too few; give a smaller cot_tokens$"):
        check_room(64, 60, 50, "cot_tokens")
    with pytest.raises(UsageError, match=r"give max_prompt_tokens=64 or less, or another base_llm$"):
        check_room(64, 65, 0, "cot_tokens")


def test_the_dense_experts_hold_what_the_issue_says() -> None:
    with torch.device("meta"):
        made = DenseExperts(768, 4, 5)
    assert 11.8e6 < sum(parameter.numel() for parameter in made.parameters()) < 11.9e6
