"""Prefixes against T5 written out by hand, in all three attentions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_t5 import HEAD_WIDTH, HEADS, LAYERS, t5_by_hand, tiny_llama, tiny_t5
from torch import Tensor
from torch.utils.checkpoint import CheckpointError
from transformers import AttentionInterface, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from recbole_fair.errors import UsageError
from recbole_fair.language import prefixes as module
from recbole_fair.language.prefixes import NAME, Prefixes, Shape

PARTS = ("encoder", "decoder", "cross")


def draw(parts: tuple[str, ...] = PARTS, rows: int | None = None, length: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shape = (LAYERS, 2, *(() if rows is None else (rows,)), HEADS, length, HEAD_WIDTH)
    return {part: torch.randn(shape, generator=generator) * 2 for part in parts}


def batch(padded: bool, decoder_length: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(2, 60, (3, 7), generator=generator)
    mask = torch.ones(3, 7, dtype=torch.long)
    if padded:
        mask[0, 4:] = mask[2, 6:] = 0
    return tokens, mask, torch.randint(2, 60, (3, decoder_length), generator=generator)


def ask(model: Any, tokens: Tensor, mask: Tensor, decoder_tokens: Tensor) -> tuple[Tensor, Tensor]:
    output = model(input_ids=tokens, attention_mask=mask, decoder_input_ids=decoder_tokens)
    return output.encoder_last_hidden_state, output.logits


@pytest.mark.parametrize("parts", [PARTS, ("encoder",), ("decoder",), ("cross",), ()])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("decoder_length", [1, 2, 9])
def test_prefixes_equal_the_same_keys_and_values_fed_by_hand(
    parts: tuple[str, ...], padded: bool, decoder_length: int
) -> None:
    model, inputs, given = tiny_t5(), batch(padded, decoder_length), draw(parts)
    with torch.no_grad(), Prefixes(model).attached(given):
        states, logits = ask(model, *inputs)
    expected_states, expected = t5_by_hand(model, *inputs, given)
    real = inputs[1].bool()
    torch.testing.assert_close(states[real], expected_states[real], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=1e-5)


def test_a_skipped_mask_is_refused_not_computed_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = tiny_t5(), batch(False, 4)
    with Prefixes(model).attached(draw()):
        AttentionMaskInterface.register(NAME, sdpa_mask)
        try:
            with pytest.raises(RuntimeError, match="no mask"):
                ask(model, *inputs)
        finally:
            AttentionMaskInterface.register(NAME, module._mask)


def test_without_a_mask_the_figures_would_be_far_off() -> None:
    """So the equality with T5 by hand fails where the causal mask is skipped."""
    model, inputs, given = tiny_t5(), batch(False, 4), draw()
    with torch.no_grad(), Prefixes(model).attached(given):
        expected = ask(model, *inputs)[1]
        AttentionInterface.register(NAME, without_mask)
        try:
            assert (ask(model, *inputs)[1] - expected).abs().max() > 0.1
        finally:
            AttentionInterface.register(NAME, module._attention)


def without_mask(layer: Any, query: Tensor, key: Tensor, value: Tensor, _: Tensor, **named: Any) -> Any:
    prefix = layer.attention_prefix
    key, value = (
        torch.cat([part.expand(len(own), -1, -1, -1), own], 2) for part, own in zip(prefix, (key, value), strict=True)
    )
    bias = torch.nn.functional.pad(named.pop("position_bias"), (prefix[0].shape[-2], 0))
    return sdpa_attention_forward(layer, query, key, value, None, position_bias=bias, **named)


def test_the_model_is_what_it_was_outside_the_block() -> None:
    model, inputs = tiny_t5(), batch(True, 4)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        before = ask(model, *inputs)
        with Prefixes(model).attached(draw()):
            assert not torch.equal(ask(model, *inputs)[0], before[0])
        after = ask(model, *inputs)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert model.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_a_block_inside_a_block_replaces_and_gives_back() -> None:
    model, inputs = tiny_t5(), batch(True, 4)
    prefixes = Prefixes(model)
    with torch.no_grad(), prefixes.attached(draw()):
        outer = ask(model, *inputs)[1]
        with prefixes.attached(draw(("cross",))):
            assert torch.allclose(ask(model, *inputs)[1], t5_by_hand(model, *inputs, draw(("cross",)))[1], atol=2e-5)
        assert torch.equal(ask(model, *inputs)[1], outer)


def test_every_row_may_have_its_own_prefix() -> None:
    model, inputs, given = tiny_t5(), batch(True, 4), draw(rows=3)
    with torch.no_grad(), Prefixes(model).attached(given):
        logits = ask(model, *inputs)[1]
    for row in range(3):
        one = tuple(part[row : row + 1] for part in inputs)
        expected = t5_by_hand(model, *one, {part: tensor[:, :, row] for part, tensor in given.items()})[1]
        torch.testing.assert_close(logits[row : row + 1], expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_attention_and_equal_those_by_hand(checkpointing: bool) -> None:
    model, inputs = tiny_t5(dropout_rate=0.0), batch(True, 4)
    model.requires_grad_(False)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    given = {part: tensor.requires_grad_() for part, tensor in draw().items()}
    with Prefixes(model).attached(given):
        (ask(model, *inputs)[1].log_softmax(-1)[..., 5].sum()).backward()
    by_hand = {part: tensor.detach().clone().requires_grad_() for part, tensor in given.items()}
    t5_by_hand(model, *inputs, by_hand)[1].log_softmax(-1)[..., 5].sum().backward()
    for part, tensor in given.items():
        assert tensor.grad is not None
        assert (tensor.grad.abs().amax((2, 3, 4)) > 1e-6).all(), part  # keys and values of each layer
        torch.testing.assert_close(tensor.grad, by_hand[part].grad, atol=2e-4, rtol=1e-3)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_backward_pass_outside_the_block_fails_aloud_under_checkpointing() -> None:
    model, inputs = tiny_t5(dropout_rate=0.0), batch(True, 4)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    with Prefixes(model).attached({part: tensor.requires_grad_() for part, tensor in draw().items()}):
        loss = ask(model, *inputs)[1].sum()
    with pytest.raises(CheckpointError):
        loss.backward()


def test_checkpointing_that_gives_no_gradient_is_refused() -> None:
    model = tiny_t5()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    model.train()
    with pytest.raises(UsageError, match="use_reentrant"), Prefixes(model).attached(draw()):
        pass


@pytest.mark.parametrize("beams", [1, 3])
def test_generation_with_and_without_cache_agrees(beams: int) -> None:
    model, (tokens, mask, _) = tiny_t5(), batch(True, 1)
    model.generation_config.eos_token_id = None
    named = {"input_ids": tokens, "attention_mask": mask, "max_new_tokens": 6, "num_beams": beams, "do_sample": False}
    plain = model.generate(**named)
    for given in (draw(), draw(rows=3)):
        with Prefixes(model).attached(given):
            cached, recomputed = (model.generate(**named, use_cache=use) for use in (True, False))
        assert torch.equal(cached, recomputed)
        assert not torch.equal(cached, plain)


@pytest.mark.parametrize("padded", [False, True])
def test_a_decoder_only_model_reads_its_prefix_like_keys_in_its_cache(padded: bool) -> None:
    model = tiny_llama()
    prefixes = Prefixes(model)
    assert prefixes.shapes == {"decoder": Shape(2, 2, 8)}
    given = torch.randn(2, 2, 2, 3, 8, generator=torch.Generator().manual_seed(0))
    tokens, mask, _ = batch(padded, 1)
    with torch.no_grad(), prefixes.attached({"decoder": given}):
        logits = model(input_ids=tokens, attention_mask=mask).logits
    cache = DynamicCache([(keys.expand(3, -1, -1, -1), values.expand(3, -1, -1, -1)) for keys, values in given])
    with torch.no_grad():
        expected = model(
            input_ids=tokens,
            attention_mask=torch.cat([torch.ones(3, 3, dtype=torch.long), mask], 1),
            position_ids=torch.arange(7).expand(3, -1),
            cache=cache,
        ).logits
    torch.testing.assert_close(logits[mask.bool()], expected[mask.bool()], atol=2e-5, rtol=1e-5)


def test_a_prefix_of_another_base_is_refused_by_its_shape() -> None:
    prefixes = Prefixes(tiny_t5())
    with pytest.raises(UsageError, match="another base"), prefixes.attached({"encoder": torch.zeros(3, 2, 2, 5, 8)}):
        pass
    with pytest.raises(UsageError, match="encoder, decoder, cross"), prefixes.attached({"middle": torch.zeros(1)}):
        pass


def test_a_float_mask_of_the_caller_shows_the_prefix_unweighted() -> None:
    model, (tokens, _, decoder_tokens), given = tiny_t5(), batch(False, 4), draw()
    mask = torch.zeros(3, 1, 4, 4).masked_fill(~torch.ones(4, 4, dtype=torch.bool).tril(), torch.finfo(torch.float).min)
    with torch.no_grad(), Prefixes(model).attached(given):
        expected = model(input_ids=tokens, decoder_input_ids=decoder_tokens).logits
        logits = model(input_ids=tokens, decoder_input_ids=decoder_tokens, decoder_attention_mask=mask).logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_rows_that_do_not_fit_the_batch_are_refused() -> None:
    model, inputs = tiny_t5(), batch(False, 2)
    with pytest.raises(ValueError, match="2 rows meet a batch of 3"), Prefixes(model).attached(draw(rows=2)):
        ask(model, *inputs)
