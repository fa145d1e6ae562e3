"""A T5 of two layers with random weights, and T5 written out by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

WIDTH, HEADS, HEAD_WIDTH, LAYERS, VOCABULARY = 32, 2, 8, 2, 60


def tiny_t5(seed: int = 0, **more: Any) -> T5ForConditionalGeneration:
    torch.manual_seed(seed)
    settings = {
        "vocab_size": VOCABULARY, "d_model": WIDTH, "d_kv": HEAD_WIDTH, "d_ff": 48, "num_layers": LAYERS,
        "num_heads": HEADS, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12,
        "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, **more,
    }  # fmt: skip
    return T5ForConditionalGeneration(T5Config(**settings)).eval()


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=1,
        initializer_range=0.5,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def _attend(attention: Any, queries: Tensor, states: Tensor, scores_to_add: Tensor, prefix: Any) -> Tensor:
    """Head after head, row after row."""
    rows = []
    for row in range(len(queries)):
        heads = []
        for head in range(HEADS):
            part = slice(head * HEAD_WIDTH, (head + 1) * HEAD_WIDTH)
            query = queries[row] @ attention.q.weight[part].T
            key, value = states[row] @ attention.k.weight[part].T, states[row] @ attention.v.weight[part].T
            scores = query @ key.T + scores_to_add[row, head]
            if prefix is not None:
                scores = torch.cat([query @ prefix[0][head].T, scores], dim=1)
                value = torch.cat([prefix[1][head], value])
            heads.append(scores.softmax(dim=1) @ value)
        rows.append(torch.cat(heads, dim=1) @ attention.o.weight.T)
    return torch.stack(rows)


def _bias(first: Any, length: int) -> Tensor:
    """Position bias [heads, Q, K] of a stack, from its first attention's table."""
    places = torch.arange(length)
    bucket = first._relative_position_bucket(
        places[None, :] - places[:, None],
        bidirectional=not first.is_decoder,
        num_buckets=first.relative_attention_num_buckets,
        max_distance=first.relative_attention_max_distance,
    )
    return first.relative_attention_bias(bucket).permute(2, 0, 1)


def _norm(layer: Any, states: Tensor) -> Tensor:
    return states * (states.pow(2).mean(-1, keepdim=True) + layer.variance_epsilon).rsqrt() * layer.weight


def _hidden(visible: Tensor) -> Tensor:
    return torch.where(visible.bool(), 0.0, -1e30)


def t5_by_hand(
    model: Any, tokens: Tensor, mask: Tensor, decoder_tokens: Tensor, prefixes: Any
) -> tuple[Tensor, Tensor]:
    """Encoder states and logits. `prefixes`: part to [layers, 2, heads, P, D]."""

    def prefix(part: str, layer: int) -> Any:
        return prefixes[part][layer] if part in prefixes else None

    source, length = mask.shape[1], decoder_tokens.shape[1]
    unseen = _hidden(mask)[:, None, None, :]
    encoder_scores = _bias(model.encoder.block[0].layer[0].SelfAttention, source)[None] + unseen
    states = model.shared(tokens)
    for number, block in enumerate(model.encoder.block):
        normed = _norm(block.layer[0].layer_norm, states)
        states = states + _attend(
            block.layer[0].SelfAttention, normed, normed, encoder_scores, prefix("encoder", number)
        )
        states = states + block.layer[1].DenseReluDense(_norm(block.layer[1].layer_norm, states))
    memory = _norm(model.encoder.final_layer_norm, states)
    causal = _hidden(torch.ones(length, length).tril())
    own_scores = (_bias(model.decoder.block[0].layer[0].SelfAttention, length) + causal)[None].repeat(
        len(tokens), 1, 1, 1
    )
    cross_scores = unseen.expand(len(tokens), HEADS, length, source)
    states = model.shared(decoder_tokens)
    for number, block in enumerate(model.decoder.block):
        normed = _norm(block.layer[0].layer_norm, states)
        states = states + _attend(block.layer[0].SelfAttention, normed, normed, own_scores, prefix("decoder", number))
        normed = _norm(block.layer[1].layer_norm, states)
        states = states + _attend(block.layer[1].EncDecAttention, normed, memory, cross_scores, prefix("cross", number))
        states = states + block.layer[2].DenseReluDense(_norm(block.layer[2].layer_norm, states))
    states = _norm(model.decoder.final_layer_norm, states)
    if model.config.tie_word_embeddings:
        states = states * WIDTH**-0.5
    return memory, states @ model.lm_head.weight.T
