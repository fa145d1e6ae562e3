"""What the rows of MoS's Table 5 train at the shape of T5-base, counted by PEFT itself on the meta device."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from transformers import T5Config, T5ForConditionalGeneration

from recbole_fair.models.llm.soft_prompt import MixtureOfStereotypes

# 32,100 words are what T5's tokenizer has; with the 32,128 rows of the released table LoRA's share is .3953.
SHAPE = dict(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, vocab_size=32_100)  # noqa: C408


@pytest.mark.parametrize(("adapter", "count", "share"), [
    (LoraConfig(task_type="SEQ_2_SEQ_LM", r=8, target_modules=["q", "v"]), 884_736, "0.3954"),
    (PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=20), 30_720, "0.0138"),
    (PromptEncoderConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=20, encoder_hidden_size=128), 244_736, "0.1097"),
], ids=["LoRA", "prompt tuning", "p-tuning"])  # fmt: skip
def test_the_printed_shares_are_those_of_t5_base(adapter: Any, count: int, share: str) -> None:
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # PEFT's use of names that transformers has moved
        model = get_peft_model(T5ForConditionalGeneration(T5Config(**SHAPE)), adapter)
    trained, everything = model.get_nb_trainable_parameters()
    assert trained == count and f"{100 * trained / everything:.4f}" == share


def test_mos_has_its_printed_share() -> None:
    with torch.device("meta"):
        base, mixture = T5ForConditionalGeneration(T5Config(**SHAPE)), MixtureOfStereotypes(768)
    trained = sum(parameter.numel() for parameter in mixture.parameters())
    everything = sum(parameter.numel() for parameter in base.parameters()) + trained
    assert trained == 73_752 and f"{100 * trained / everything:.4f}" == "0.0331"
