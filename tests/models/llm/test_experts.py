"""The mixture of LoRA experts against a loop over experts, PEFT's own LoRA and autograd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tiny_models import tiny_qwen2
from torch import Tensor

from recbole_fair.errors import UsageError
from recbole_fair.language import adapters
from recbole_fair.models.llm.experts import (
    ExpertLinear,
    Involved,
    checkpoint_activations,
    mixture_of_experts,
)
from recbole_fair.storage import read_tensors, write_tensors
from recbole_fair.training import checkpoint

IDS = torch.arange(18).reshape(3, 6)
SIZES: dict[str, Any] = {"experts": 3, "rank": 4, "alpha": 8}
INDICATORS = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])


def filled(model: PeftModel, seed: int = 1) -> PeftModel:
    """Give B numbers other than its zeros, so that the experts say something."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        if "lora_" in name:
            value.data = torch.randn(value.shape, generator=generator) * 0.3
    return model


def frozen(model: PeftModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.named_parameters() if not value.requires_grad}


def layers(model: PeftModel) -> list[ExpertLinear]:
    return adapters.only_layers_of(model, ExpertLinear)


def loop(layer: ExpertLinear, x: Tensor, router_input: Tensor, rank: int, alpha: float) -> Tensor:
    """Eq. (10)-(12), one token and one expert at a time."""
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    result = layer.base_layer(x).clone()
    for p in range(x.shape[0]):
        for t in range(x.shape[1]):
            scores = layer.lora_router["default"].weight @ router_input[p, t]
            weights = scores.exp() / scores.exp().sum()
            for j in range(layer.experts):
                own = slice(j * rank, (j + 1) * rank)
                result[p, t] += weights[j] * (alpha / rank) * (b[:, own] @ (a[own] @ x[p, t]))
    return result


def test_a_layer_equals_the_loop_over_tokens_and_experts() -> None:
    model, involved = mixture_of_experts(tiny_qwen2(), **SIZES)
    assert involved is None
    filled(model)
    x = torch.randn(2, 5, 64)
    for layer in layers(model):
        if layer.in_features == 64:
            torch.testing.assert_close(layer(x), loop(layer, x, x, 4, 8.0), atol=1e-5, rtol=1e-5)
    assert len(layers(model)) == 6


def test_an_attribute_router_equals_the_loop_with_indicators_as_its_input() -> None:
    model, involved = mixture_of_experts(tiny_qwen2(), **SIZES, router="attribute", attributes=2)
    filled(model)
    x, layer = torch.randn(3, 5, 64), layers(model)[0]
    with involved.using(INDICATORS):
        actual = layer(x)
    expected = loop(layer, x, INDICATORS.unsqueeze(1).expand(3, 5, 2), 4, 8.0)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_one_expert_is_the_lora_of_peft() -> None:
    mixture, _ = mixture_of_experts(tiny_qwen2(), experts=1, rank=4, alpha=8)
    plain = adapters.lora(tiny_qwen2(), rank=4, alpha=8, targets=("gate_proj", "up_proj", "down_proj"))
    filled(mixture)
    state = {name: value for name, value in mixture.state_dict().items() if "lora_router" not in name}
    plain.load_state_dict(state)
    assert torch.equal(mixture(input_ids=IDS).logits, plain(input_ids=IDS).logits)


def test_a_new_mixture_changes_nothing_and_a_disabled_one_is_the_base() -> None:
    model, _ = mixture_of_experts(tiny_qwen2(), **SIZES)
    base = tiny_qwen2()(input_ids=IDS).logits
    assert torch.equal(model(input_ids=IDS).logits, base)
    filled(model)
    assert not torch.allclose(model(input_ids=IDS).logits, base)
    with model.disable_adapter():
        assert torch.equal(model(input_ids=IDS).logits, base)


def test_the_gradient_of_the_router_is_that_of_a_finite_difference() -> None:
    model, _ = mixture_of_experts(tiny_qwen2(), **SIZES)
    filled(model).double()
    layer, x = layers(model)[0], torch.randn(2, 3, 64, dtype=torch.double)
    weight = layer.lora_router["default"].weight

    def value(w: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"lora_router.default.weight": w}, (x,)).square().sum()

    assert torch.autograd.gradcheck(value, (weight.detach().requires_grad_(),), atol=1e-4)
    layer(x).square().sum().backward()
    assert weight.grad.abs().sum() > 0


def test_dropout_meets_the_experts_and_not_the_router() -> None:
    model, _ = mixture_of_experts(tiny_qwen2(), **SIZES, dropout=0.5)
    filled(model).train()
    layer, x = layers(model)[0], torch.randn(2, 3, 64)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.gate(x), layer.gate(x))
    torch.testing.assert_close(layer.gate(x).sum(-1), torch.ones(2, 3))


def test_trained_parameters_are_the_experts_and_their_routers() -> None:
    model, _ = mixture_of_experts(tiny_qwen2(), **SIZES)
    a_layer = (64 * 12 + 12 * 96 + 3 * 64) * 2 + (96 * 12 + 12 * 64 + 3 * 96)
    assert sum(value.numel() for value in model.parameters() if value.requires_grad) == 2 * a_layer
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert sum("lora_router" in name for name in trained) == 6


def test_training_leaves_the_base_bit_identical_and_its_tensors_reload_to_equal_outputs(tmp_path: Path) -> None:
    model, _ = mixture_of_experts(tiny_qwen2(), **SIZES, dropout=0.1)
    base = frozen(model)
    optimizer = torch.optim.Adam([value for value in model.parameters() if value.requires_grad], lr=0.05)
    model.train()
    routers = [layer.lora_router["default"].weight.clone() for layer in layers(model)]
    for _ in range(3):
        optimizer.zero_grad()
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    model.eval()
    assert all(torch.equal(value, base[name]) for name, value in frozen(model).items())
    for before, layer in zip(routers, layers(model), strict=True):
        assert not torch.equal(before, layer.lora_router["default"].weight)
    write_tensors(tmp_path / "experts.safetensors", checkpoint.model_state(model, {}), {})
    torch.manual_seed(9)
    again, _ = mixture_of_experts(tiny_qwen2(), **SIZES)
    stored, _ = read_tensors(tmp_path / "experts.safetensors")
    checkpoint.load_model_state(again, stored, tmp_path)
    assert torch.equal(again(input_ids=IDS).logits, model(input_ids=IDS).logits)
    fewer, _ = mixture_of_experts(tiny_qwen2(), experts=2, rank=6, alpha=12)
    with pytest.raises(UsageError, match="does not fit this model"):
        checkpoint.load_model_state(fewer, stored, tmp_path)


@pytest.mark.parametrize("router", ["token", "attribute"])
def test_gradients_are_the_same_when_blocks_are_computed_again_in_backward(router: str) -> None:
    gradients = []
    for checkpointed in (False, True):
        model, involved = mixture_of_experts(tiny_qwen2(), **SIZES, router=router, attributes=2)
        filled(model).train()
        if checkpointed:
            checkpoint_activations(model, involved)
        using = (involved or Involved()).using
        with using(INDICATORS):
            first = model(input_ids=IDS).logits.square().mean()
        with using(torch.zeros(3, 2)):  # a second pass before backward: the first's indicators must come back
            second = model(input_ids=IDS.flip(0)).logits.square().mean()
        (first + 2 * second).backward()
        gradients.append([value.grad for value in model.parameters() if value.requires_grad])
    for expected, actual in zip(*gradients, strict=True):
        assert expected.abs().sum() > 0
        torch.testing.assert_close(actual, expected)


def test_blocks_are_really_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, involved = mixture_of_experts(tiny_qwen2(), **SIZES, router="attribute", attributes=2)
    checkpoint_activations(model, involved)
    asked = []
    plain = Involved.indicators
    monkeypatch.setattr(Involved, "indicators", lambda self, prompts: asked.append(1) or plain(self, prompts))
    with involved.using(INDICATORS):
        loss = model.train()(input_ids=IDS).logits.mean()
    forward = len(asked)
    loss.backward()
    assert (forward, len(asked)) == (6, 12)


def test_an_attribute_router_refuses_a_pass_without_indicators_or_with_those_of_another_batch() -> None:
    model, involved = mixture_of_experts(tiny_qwen2(), **SIZES, router="attribute", attributes=2)
    with pytest.raises(RuntimeError, match="around each forward pass"):
        model(input_ids=IDS)
    with involved.using(INDICATORS), pytest.raises(RuntimeError, match="3 rows of indicators for a batch of 2"):
        model(input_ids=IDS[:2])
    with pytest.raises(RuntimeError, match="around each forward pass"):  # the block is over
        model(input_ids=IDS)
    with pytest.raises(UsageError, match="needs sensitive attributes"):
        mixture_of_experts(tiny_qwen2(), **SIZES, router="attribute")


def test_merging_is_refused_and_leaves_the_base_alone() -> None:
    model, _ = mixture_of_experts(tiny_qwen2(), **SIZES)
    base = frozen(filled(model))
    for merge in (model.merge_adapter, model.merge_and_unload, lambda: layers(model)[0].get_delta_weight("default")):
        with pytest.raises(UsageError, match="depends on the input"):
            merge()
    assert all(torch.equal(value, base[name]) for name, value in frozen(model).items())
    with pytest.raises(UsageError, match="one adapter for the whole batch"):
        model.eval()(input_ids=IDS, adapter_names=["default"] * 3)


def test_a_layer_that_would_become_a_plain_lora_is_refused() -> None:
    model = tiny_qwen2()
    plain = adapters.lora(model, rank=2, alpha=2, targets=["up_proj"])
    with pytest.raises(UsageError, match="not a ExpertLinear"):
        adapters.only_layers_of(plain, ExpertLinear)


def test_experts_of_a_half_precision_base() -> None:
    model, _ = mixture_of_experts(tiny_qwen2().to(torch.bfloat16), **SIZES)
    exact, _ = mixture_of_experts(tiny_qwen2(), **SIZES)
    for value, reference in zip(filled(model).parameters(), filled(exact).parameters(), strict=True):
        assert value.shape == reference.shape
    half = model(input_ids=IDS).logits
    assert half.dtype == torch.bfloat16
    assert (half.float() - exact(input_ids=IDS).logits).abs().mean() < 0.05 * exact(input_ids=IDS).logits.abs().mean()
