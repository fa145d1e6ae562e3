"""Selective prompts and adapters on a frozen Transformer over item sequences (Wu et al. 2022): what S- trains.

    [p_1 .. p_P, x_1 .. x_L]  through every frozen layer, each followed by   h + W_up gelu(W_down h)

P learned vectors stand before the items, so that every position attends to them; they are taken off again behind the
last layer, and whoever calls the encoder sees the items' places alone. Masks stay: padding is hidden, SASRec's items
see no later item (its prompts see none), BERT4Rec's see all. One set of prompts and adapters hides one set of
attributes. UP5 says no more than that prompts are appended and adapters inserted; here they are the same for all users,
since a recommender that is to know nothing of an attribute should not be given it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_fair.errors import UsageError

_ENCODER = "trm_encoder"  # of RecBole's SASRec and BERT4Rec
_HIDDEN = -10000.0  # what their masks add to the score of a key that must not be seen


class Adapter(nn.Module):
    """h + W_up gelu(W_down h); W_up starts at 0, so that it starts as the identity."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor) -> Tensor:
        """States [..., D]."""
        adapted: Tensor = states + self.up(functional.gelu(self.down(states)))
        return adapted


class SelectiveEncoder(nn.Module):
    """A host's encoder with prompts before the sequence and an adapter behind each layer; only these are trained."""

    def __init__(self, encoder: nn.Module, width: int, prompts: int, hidden: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.prompts = nn.Parameter(torch.randn(prompts, width) * width**-0.5)
        self.adapters = nn.ModuleList(Adapter(width, hidden) for _ in encoder.layer)  # type: ignore[union-attr]

    def forward(self, states: Tensor, mask: Tensor, **_: Any) -> list[Tensor]:
        """The last states [B, L, D] of the items, in the host's form: a list whose last entry they are."""
        states = torch.cat([self.prompts.expand(len(states), -1, -1), states], dim=1)
        mask = self._with_prompts(mask)
        for layer, adapter in zip(self.encoder.layer, self.adapters, strict=True):  # type: ignore[arg-type]
            states = adapter(layer(states, mask))
        return [states[:, len(self.prompts) :]]

    def _with_prompts(self, mask: Tensor) -> Tensor:
        """Of [B, 1, Q, L]: all see the prompts, which see prompts alone where each query has a row (SASRec)."""
        length = len(self.prompts)
        wider = functional.pad(mask, (length, 0))
        if mask.shape[2] == 1:
            return wider
        own = wider.new_full((len(mask), 1, length, wider.shape[3]), _HIDDEN)
        own[..., :length] = 0.0
        return torch.cat([own, wider], dim=2)


def make_selective(model: Any, prompts: int, hidden: int) -> None:
    """Put prompts and adapters into a frozen model; `user_states` then gives the state that scores items."""
    if not hasattr(model, _ENCODER):
        raise UsageError(f"S-: {type(model).__name__} has no Transformer over items; it works on SASRec and BERT4Rec")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # what is frozen works as it is judged
    width = model.hidden_size
    setattr(model, _ENCODER, SelectiveEncoder(getattr(model, _ENCODER), width, prompts, hidden).to(model.device))
    model.user_states = lambda batch: _state(model, batch)


def _state(model: Any, batch: Any) -> Tensor:
    """[B, D]: SASRec's at the last item, BERT4Rec's at a mask behind it."""
    items, lengths = batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN]
    if not hasattr(model, "mask_token"):
        states: Tensor = model.forward(items, lengths)
        return states
    states = model.forward(model.reconstruct_test_data(items, lengths))
    return states[torch.arange(len(states), device=states.device), lengths - 1]
