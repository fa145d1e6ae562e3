"""Adapters through the door to PEFT, against PEFT's own reading and plain counts."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tiny_models import tiny_qwen2
from torch import nn

from recbole_fair.errors import UsageError
from recbole_fair.language import adapters
from recbole_fair.storage import read_tensors, write_tensors

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


def test_an_adapter_is_counted_as_by_hand() -> None:
    base = sum(value.numel() for value in tiny_qwen2().parameters())
    counted = adapters.counts(adapters.lora(tiny_qwen2(), **LORA))
    assert counted == adapters.Counts(2 * 4 * ((64 + 64) + (64 + 32)), base)
    assert adapters.counts(adapters.prompt_tuning(tiny_qwen2(), tokens=5)) == adapters.Counts(5 * 64, base)
    hidden = 64 * 8 + 8 + 8 * 8 + 8 + 8 * 64 + 64
    assert adapters.counts(adapters.p_tuning(tiny_qwen2(), tokens=5, hidden=8)) == adapters.Counts(
        5 * 64 + hidden, base
    )


def test_t5_gets_prompts_in_both_stacks() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    t5 = T5ForConditionalGeneration(T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2))
    assert adapters.counts(adapters.prompt_tuning(t5, tokens=20)).trained == 2 * 20 * 16


def test_training_an_adapter_leaves_the_base_bit_identical() -> None:
    model = adapters.lora(tiny_qwen2(), **LORA)
    before, digest = logits(model), adapters.base_digest(model)
    train(model)
    assert (logits(model) - before).abs().max() > 1e-3
    assert adapters.base_digest(model) == digest
    reference = tiny_qwen2()
    for name, value in model.unload().state_dict().items():
        assert torch.equal(value, reference.state_dict()[name]), name


def test_the_digest_of_the_base_sees_one_changed_number_and_no_adapter() -> None:
    plain = adapters.base_digest(adapters.lora(tiny_qwen2(), **LORA))
    assert adapters.base_digest(adapters.prompt_tuning(tiny_qwen2(), tokens=3)) == plain
    changed = tiny_qwen2()
    with torch.no_grad():
        changed.model.layers[1].mlp.up_proj.weight[0, 0] += 1e-6
    assert adapters.base_digest(adapters.lora(changed, **LORA)) != plain


@pytest.mark.parametrize(
    "add",
    [
        lambda model: adapters.lora(model, **LORA),
        lambda model: adapters.prompt_tuning(model, tokens=3),
    ],
)
def test_a_saved_adapter_gives_equal_outputs_here_and_in_peft(add, tmp_path: Path) -> None:
    model = add(tiny_qwen2())
    train(model)
    adapters.save_adapter(model, tmp_path, base="tiny", version="sha256:1")
    torch.manual_seed(5)
    again = add(tiny_qwen2())
    assert not torch.equal(logits(again), logits(model))
    adapters.load_adapter(again, tmp_path, base="tiny", version="sha256:1")
    assert torch.equal(logits(again), logits(model))
    theirs = PeftModel.from_pretrained(tiny_qwen2(), str(tmp_path))
    torch.testing.assert_close(logits(theirs), logits(model))
    assert {path.name for path in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}


def test_p_tuning_is_exported_for_peft_and_not_read_back(tmp_path: Path) -> None:
    model = adapters.p_tuning(tiny_qwen2(), tokens=3, hidden=8)
    train(model)
    adapters.save_adapter(model, tmp_path, base="tiny", version="1")
    theirs = PeftModel.from_pretrained(tiny_qwen2(), str(tmp_path))
    torch.testing.assert_close(logits(theirs), logits(model))
    with pytest.raises(UsageError, match="not the network; load the run's checkpoint"):
        adapters.load_adapter(model, tmp_path, base="tiny", version="1")


def test_an_adapter_of_another_base_kind_or_size_is_refused(tmp_path: Path) -> None:
    adapters.save_adapter(adapters.lora(tiny_qwen2(), **LORA), tmp_path, base="tiny", version="sha256:1")
    same = adapters.lora(tiny_qwen2(), **LORA)
    with pytest.raises(UsageError, match=r"trained on 'tiny' \(version sha256:1\), not on 'tiny' \(version sha256:2\)"):
        adapters.load_adapter(same, tmp_path, base="tiny", version="sha256:2")
    with pytest.raises(UsageError, match="r is 4, this run asks for 2"):
        adapters.load_adapter(
            adapters.lora(tiny_qwen2(), **LORA | {"rank": 2}), tmp_path, base="tiny", version="sha256:1"
        )
    with pytest.raises(UsageError, match="stands on one side only"):
        adapters.load_adapter(
            adapters.lora(tiny_qwen2(), **LORA | {"targets": ["q_proj"]}), tmp_path, base="tiny", version="sha256:1"
        )
    with pytest.raises(UsageError, match="peft_type is 'LORA', this run asks for 'PROMPT_TUNING'"):
        adapters.load_adapter(adapters.prompt_tuning(tiny_qwen2(), tokens=3), tmp_path, base="tiny", version="sha256:1")
    path = tmp_path / "adapter_model.safetensors"
    tensors, about = read_tensors(path)
    write_tensors(path, {name: value[:1] for name, value in tensors.items()}, about)
    with pytest.raises(UsageError, match=r"is \[1, 64\], this adapter's \[4, 64\]"):
        adapters.load_adapter(same, tmp_path, base="tiny", version="sha256:1")


def test_a_description_that_asks_for_more_is_not_followed(tmp_path: Path) -> None:
    model = adapters.lora(tiny_qwen2(), **LORA)
    adapters.save_adapter(model, tmp_path, base="tiny", version="1")
    path = tmp_path / "adapter_config.json"
    hostile = json.loads(path.read_text()) | {
        "auto_mapping": {"parent_library": "antigravity", "base_model_class": "x"}
    }
    path.write_text(json.dumps(hostile))
    adapters.load_adapter(model, tmp_path, base="tiny", version="1")
    import sys

    assert "antigravity" not in sys.modules


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
    half = adapters.lora(tiny_qwen2().to(torch.bfloat16), **LORA, full_precision=False)
    assert {value.dtype for value in half.parameters() if value.requires_grad} == {torch.bfloat16}
