"""Next-token logits after every node of a tree of continuations, in one pass.

A row holds all nodes of its tree side by side. A node sees the prompt, its ancestors and itself, and its position is
its depth, so its logits are those of its own path alone; what paths share is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class TokenTree:
    """One tree a row; node 0 is the root. Rows with fewer nodes end in nodes that nobody sees."""

    tokens: Tensor  # [B, N]; the root's is the decoder's start token
    depths: Tensor  # [B, N]; 0 for the root
    visible: Tensor  # [B, N, N] bool: may node i see node j? true for ancestors and for i itself


def next_token_logits(model: PreTrainedModel, states: Tensor, mask: Tensor, tree: TokenTree) -> Tensor:
    """Logits [B, N, V] after each node, given what is known of each row [B, S, D] and its mask [B, S].

    `states` are the encoder's last states, or for a decoder-only model the embedded prompt, padded on either side; its
    root is the prompt's last real token.
    """
    answer = _after_encoder if model.config.is_encoder_decoder else _after_prompt
    return answer(model, states, mask, tree)


def _after_encoder(model: Any, states: Tensor, mask: Tensor, tree: TokenTree) -> Tensor:
    from transformers.modeling_outputs import BaseModelOutput

    with _positions_by_depth(model, tree.depths):
        logits: Tensor = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=mask,
            decoder_input_ids=tree.tokens,
            decoder_attention_mask=_additive(tree.visible, states.dtype),
            use_cache=False,
        ).logits
    return logits


@contextmanager
def _positions_by_depth(model: Any, depths: Tensor) -> Iterator[None]:
    """Let T5's decoder take relative positions from depths: it would take them from the order of nodes."""
    attention = model.get_decoder().block[0].layer[0].SelfAttention  # it computes the bias of all its layers
    distance = depths[:, None, :] - depths[:, :, None]  # [B, N, N]
    bucket = attention._relative_position_bucket(
        distance,
        bidirectional=False,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=attention.relative_attention_max_distance,
    )
    bias = attention.relative_attention_bias(bucket).permute(0, 3, 1, 2)  # [B, heads, N, N]
    attention.compute_bias = lambda *_, **__: bias
    try:
        yield
    finally:
        del attention.compute_bias  # the instance's; the class's is visible again


def _after_prompt(model: Any, states: Tensor, mask: Tensor, tree: TokenTree) -> Tensor:
    rows, length, _ = states.shape
    places, real = torch.arange(length, device=mask.device), mask.bool()
    last = torch.where(real, places, -1).amax(dim=1)  # [B]
    embedded = model.get_input_embeddings()(tree.tokens[:, 1:])
    hidden = model.base_model(
        inputs_embeds=torch.cat([states, embedded], dim=1),
        attention_mask=_additive(_prompt_and_tree(real, tree), states.dtype),
        position_ids=_positions(real, tree),
        use_cache=False,
    ).last_hidden_state
    root = hidden[torch.arange(rows, device=last.device), last]
    logits: Tensor = model.get_output_embeddings()(torch.cat([root[:, None], hidden[:, length:]], dim=1))
    return logits


def _positions(real: Tensor, tree: TokenTree) -> Tensor:
    in_prompt = (real.long().cumsum(dim=1) - 1).clamp(min=0)
    return torch.cat([in_prompt, real.sum(dim=1, keepdim=True) + tree.depths[:, 1:] - 1], dim=1)


def _prompt_and_tree(real: Tensor, tree: TokenTree) -> Tensor:
    """Who sees whom [B, S + N - 1, S + N - 1]: causal inside the prompt, the whole prompt for every node."""
    rows, length = real.shape
    nodes = tree.tokens.shape[1] - 1
    triangle = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
    itself = torch.eye(length, dtype=torch.bool, device=real.device)  # a padded place must see something
    prompt = (triangle & real[:, None, :]) | itself
    blind = torch.zeros(rows, length, nodes, dtype=torch.bool, device=real.device)
    above = torch.cat([prompt, blind], dim=2)
    below = torch.cat([real[:, None, :].expand(-1, nodes, -1), tree.visible[:, 1:, 1:]], dim=2)
    return torch.cat([above, below], dim=1)


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where seen, the lowest number elsewhere: every attention implementation adds it to its scores."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, torch.finfo(dtype).min)[
        :, None
    ]
