"""Virtual tokens in front of a prompt, through `inputs_embeds` (MoS, Eq. 10), for both kinds of backbones.

An encoder-decoder model (T5) reads them in its encoder, a decoder-only model counts its positions from the first of
them. Prompts are padded on the right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recbole_fair.errors import UsageError
from recbole_fair.models.llm import scoring

_LEAST_PROMPT = 16  # the least that max_prompt_tokens may be


class Embedded(NamedTuple):
    """What a recommender reads: token embeddings [B, T, d] and which of them are no padding [B, T]."""

    embeddings: Tensor
    mask: Tensor


def prepend(tokens: Tensor, embeddings: Tensor, mask: Tensor) -> Embedded:
    """The recommender's input (e, c_rec): virtual tokens [B, k, d] or [k, d] before the embeddings [B, T, d]."""
    virtual = tokens.to(embeddings.dtype).expand(len(embeddings), -1, -1)
    present = torch.ones(virtual.shape[:2], dtype=mask.dtype, device=mask.device)
    return Embedded(torch.cat([virtual, embeddings], 1), torch.cat([present, mask], 1))


def logits_after(model: Any, inputs: Embedded, answers: Sequence[int]) -> Tensor:
    """The logits [B, A] of the answer tokens right after each prompt, of a causal model that `check_head` accepts."""
    if model.config.is_encoder_decoder:
        return _decoded(model, inputs, answers)
    states = states_of(model)(*inputs)
    last = states[torch.arange(len(states), device=states.device), inputs.mask.sum(1) - 1]
    return scoring.logits_of_states(model, last, answers)


def _decoded(model: Any, inputs: Embedded, answers: Sequence[int]) -> Tensor:
    start = torch.full((len(inputs.mask), 1), model.config.decoder_start_token_id, device=inputs.mask.device)
    output = model(inputs_embeds=inputs.embeddings, attention_mask=inputs.mask, decoder_input_ids=start)
    return output.logits[:, 0, list(answers)]


def states_of(model: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """The backbone as a function of embeddings and mask: the encoder of a T5, the decoder of a causal model."""
    backbone = model.get_encoder() if model.config.is_encoder_decoder else model.base_model

    def states(embeddings: Tensor, mask: Tensor) -> Tensor:
        keys = {} if model.config.is_encoder_decoder else {"use_cache": False}
        return backbone(inputs_embeds=embeddings, attention_mask=mask, **keys).last_hidden_state

    return states


def check_room(limit: int | None, longest: int, more: int, key: str) -> None:
    """Refuse prompts that leave no room for `more` tokens, which `key` sets; no limit: positions are relative."""
    if limit is not None and longest + more > limit:
        beside, other = (f" and {more} more beside them", f"a smaller {key}") if more else ("", "another base_llm")
        shorter = f"max_prompt_tokens={limit - more} or less, or " if limit - more >= _LEAST_PROMPT else ""
        raise UsageError(
            f"max_prompt_tokens={longest}: with prompts of so many tokens{beside} the model's {limit} positions are too"
            f" few; give {shorter}{other}"
        )


def position_limit(config: Any) -> int | None:
    """How many positions a model of this configuration has; None if it counts relative ones (T5)."""
    return getattr(config, "max_position_embeddings", None)
