"""Adapters through the door to PEFT, against plain counts and the base as it was."""

from __future__ import annotations

import warnings

import pytest
import torch
from peft import PeftModel
from tiny_models import tiny_qwen2
from torch import nn

from recbole_fair.errors import UsageError
from recbole_fair.language import adapters

IDS = torch.arange(10).reshape(2, 5)
LORA = {"rank": 4, "alpha": 8, "targets": ("q_proj", "v_proj")}


def train(model: PeftModel, steps: int = 3) -> None:
    optimizer = torch.optim.Adam([value for value in model.parameters() if value.requires_grad], lr=0.05)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    model.eval()


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def trained(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters() if value.requires_grad)


def test_what_is_trained_is_as_large_as_by_hand() -> None:
    assert trained(adapters.lora(tiny_qwen2(), **LORA)) == 2 * 4 * ((64 + 64) + (64 + 32))
    assert trained(adapters.prompt_tuning(tiny_qwen2(), tokens=5)) == 5 * 64
    hidden = 64 * 8 + 8 + 8 * 8 + 8 + 8 * 64 + 64
    assert trained(adapters.p_tuning(tiny_qwen2(), tokens=5, hidden=8)) == 5 * 64 + hidden


def test_t5_gets_prompts_in_both_stacks() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    t5 = T5ForConditionalGeneration(T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2))
    assert trained(adapters.prompt_tuning(t5, tokens=20)) == 2 * 20 * 16


def test_training_an_adapter_leaves_the_base_bit_identical() -> None:
    model = adapters.lora(tiny_qwen2(), **LORA)
    before = logits(model)
    train(model)
    assert (logits(model) - before).abs().max() > 1e-3
    reference = tiny_qwen2()
    for name, value in model.unload().state_dict().items():
        assert torch.equal(value, reference.state_dict()[name]), name


def test_layers_that_the_model_lacks_are_named() -> None:
    with pytest.raises(UsageError, match=r"no linear layer \['c_attn'\]; it has .*'down_proj'"):
        adapters.lora(tiny_qwen2(), **LORA | {"targets": ["q_proj", "c_attn"]})
    with pytest.raises(UsageError, match="no linear layer"):
        adapters.lora(tiny_qwen2(), **LORA | {"targets": []})


def test_a_second_adapter_is_refused() -> None:
    with pytest.raises(UsageError, match="has an adapter already"):
        adapters.lora(adapters.lora(tiny_qwen2(), **LORA), **LORA)


def test_a_thawed_base_and_a_frozen_adapter_are_refused() -> None:
    model = adapters.lora(tiny_qwen2(), **LORA)
    model.get_base_model().model.norm.weight.requires_grad_(True)
    with pytest.raises(UsageError, match=r"not frozen: .*norm\.weight"):
        adapters.check_frozen(model)
    model.requires_grad_(False)
    with pytest.raises(UsageError, match="nothing would be trained"):
        adapters.check_frozen(model)


def test_only_the_two_warnings_of_peft_are_left_out() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        adapters.lora(tiny_qwen2(), **LORA)
        assert not shown
        with adapters.quiet():
            warnings.warn("`is_gradient_checkpointing` is deprecated and so on", FutureWarning, stacklevel=1)
            warnings.warn("Could not find a config file in x", UserWarning, stacklevel=1)
            warnings.warn("a warning of ours", UserWarning, stacklevel=1)
            warnings.warn("`something_else` is deprecated", FutureWarning, stacklevel=1)
    assert [str(entry.message) for entry in shown] == ["a warning of ours", "`something_else` is deprecated"]


def test_an_adapter_of_a_half_precision_base_is_trained_in_float32() -> None:
    model = adapters.lora(tiny_qwen2().to(torch.bfloat16), **LORA)
    assert {value.dtype for value in model.parameters() if value.requires_grad} == {torch.float32}
