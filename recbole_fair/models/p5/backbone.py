"""What P5 asks of a language model, answered by one with an encoder (T5) and by one without (Qwen2, LLaMA).

encode(embedded, mask)              what is known of a prompt: encoder states, or of a decoder its embedded tokens
written(states, mask, labels)       logits [B, T, V] for each token of the labels, after those before it
state_at(place, states, prompts)    a state [B, D] for each prompt
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_fair.language.token_trees import TokenTree, next_token_logits
from recbole_fair.models.p5.prompts import PromptBatch, user_mean

PLACES = ("user", "all", "decoder")  # of a state


@dataclass(frozen=True)
class EncoderDecoder:
    """A T5."""

    language: Any
    kind: ClassVar[str] = "seq2seq"

    @property
    def width(self) -> int:
        """Of its states."""
        return int(self.language.config.d_model)

    @property
    def start(self) -> int:
        """The token before the first."""
        return int(self.language.config.decoder_start_token_id)

    def encode(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """The encoder's last states [B, S, D]."""
        states: Tensor = self.language.get_encoder()(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
        return states

    def written(self, states: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """One pass of the decoder, which shifts the labels itself."""
        logits: Tensor = self._decode(states, mask, labels=labels).logits
        return logits

    def state_at(self, place: str, states: Tensor, prompts: PromptBatch) -> Tensor:
        """user, all: mean of the encoder's states over the user's tokens (UP5, Eq. 3: mean(E_u)), or over all tokens.

        decoder: the decoder's last state before the first token, which decides on the item.
        """
        if place == "decoder":
            start = torch.full((len(states), 1), self.start, device=states.device)
            hidden: Tensor = self._decode(
                states, prompts.mask, decoder_input_ids=start, output_hidden_states=True
            ).decoder_hidden_states[-1]
            return hidden[:, 0]
        return user_mean(states, prompts.user if place == "user" else prompts.mask)

    def _decode(self, states: Tensor, mask: Tensor, **named: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        outputs = BaseModelOutput(last_hidden_state=states)
        return self.language(encoder_outputs=outputs, attention_mask=mask, use_cache=False, **named)


@dataclass(frozen=True)
class DecoderOnly:
    """A causal language model; a user's tokens see what stands before them, so their last mention knows the most."""

    language: Any
    kind: ClassVar[str] = "causal"
    start: ClassVar[int] = 0  # the root of a tree stands for the prompt's last token, whatever it is called

    @property
    def width(self) -> int:
        """Of its states."""
        return int(self.language.config.hidden_size)

    def encode(self, embedded: Tensor, _: Tensor) -> Tensor:
        """The embedded prompt: what follows is decoded together with it."""
        return embedded

    def written(self, states: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """The labels as a tree that never branches."""
        rows, length = labels.shape
        tokens = torch.cat([labels.new_full((rows, 1), self.start), labels[:, :-1].clamp(min=0)], dim=1)
        depths = torch.arange(length, device=labels.device).expand(rows, -1)
        visible = torch.ones(rows, length, length, dtype=torch.bool, device=labels.device).tril()
        return next_token_logits(self.language, states, mask, TokenTree(tokens, depths, visible))

    def state_at(self, place: str, states: Tensor, prompts: PromptBatch) -> Tensor:
        """The last layer: its mean over the user's tokens or over all, or at the prompt's last token (decoder)."""
        hidden: Tensor = self.language.base_model(
            inputs_embeds=states, attention_mask=prompts.mask, use_cache=False
        ).last_hidden_state
        if place == "decoder":
            return hidden[torch.arange(len(hidden), device=hidden.device), prompts.mask.sum(dim=1) - 1]
        return user_mean(hidden, prompts.user if place == "user" else prompts.mask)


Backbone = EncoderDecoder | DecoderOnly


def backbone_of(language: Any) -> Backbone:
    """The face of a language model."""
    return EncoderDecoder(language) if language.config.is_encoder_decoder else DecoderOnly(language)
