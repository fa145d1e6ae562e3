"""Prompt Mixture (UP5, 4.1): one attention layer makes one prompt of the single prompts of any set of attributes.

    L_K = L_rec - sum over k in K of lambda_k L_dis^k                                                          (Eq. 5)

with a random set K of attributes in every step. Single prompts are trained before and stay fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from recbole_fair.errors import UsageError
from recbole_fair.language.prefixes import KeyValues


class PartMixture(nn.Module):
    """The mixture of one part (encoder, decoder or cross).

    For each layer and for keys and values alike, learned queries Q [P, D] attend over the positions X [sum P_k, D] of
    the chosen prompts: softmax(Q (X A)' / sqrt(D)) X B. A and B start as the identity and a query as the mean of the
    single prompts at its position. While keys are small that is the mean of all chosen positions; with larger ones a
    position attends more to those that are like it.
    """

    def __init__(self, singles: Sequence[Tensor], length: int) -> None:
        super().__init__()
        tokens = [_tokens(single) for single in singles]  # [layers, 2, P_k, D]
        places = torch.arange(length)
        self.queries = nn.Parameter(torch.stack([one[:, :, places % one.shape[2]] for one in tokens]).mean(dim=0))
        width = tokens[0].shape[-1]
        self.key, self.value = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        for layer in (self.key, self.value):
            nn.init.eye_(layer.weight)

    def forward(self, chosen: Sequence[Tensor]) -> Tensor:
        """[layers, 2, heads, P, width] of single prompts [layers, 2, heads, P_k, width]."""
        tokens = torch.cat([_tokens(single) for single in chosen], dim=2)
        mixed = nn.functional.scaled_dot_product_attention(self.queries, self.key(tokens), self.value(tokens))
        heads = chosen[0].shape[2]
        return mixed.unflatten(-1, (heads, -1)).transpose(2, 3)  # type: ignore[no-untyped-call]


class PromptMixture(nn.Module):
    """One prompt of `length` positions for any non-empty set of the attributes that have a single prompt."""

    def __init__(self, singles: Mapping[str, KeyValues], length: int) -> None:
        super().__init__()
        _check(singles)
        self.attributes = tuple(singles)
        self.names = {attribute: f"single{number}" for number, attribute in enumerate(singles)}
        for attribute, prompt in singles.items():
            for part, tensor in prompt.items():
                self.register_buffer(f"{self.names[attribute]}_{part}", tensor.detach().clone())
        first = next(iter(singles.values()))
        self.parts = nn.ModuleDict(
            {part: PartMixture([prompt[part] for prompt in singles.values()], length) for part in first}
        )

    def forward(self, attributes: Sequence[str]) -> dict[str, Tensor]:
        """Keys and values by part for the attributes to be hidden, whatever their order."""
        unknown = sorted(set(attributes) - set(self.attributes))
        if not attributes or unknown:
            raise UsageError(
                f"prompt mixture of [{', '.join(attributes)}]: name at least one of {', '.join(self.attributes)}"
            )
        chosen = [self.names[attribute] for attribute in self.attributes if attribute in attributes]
        return {
            part: mixture([self.get_buffer(f"{name}_{part}") for name in chosen])
            for part, mixture in self.parts.items()
        }


def _tokens(prompt: Tensor) -> Tensor:
    """[layers, 2, heads, P, width] to [layers, 2, P, heads * width]."""
    return prompt.transpose(2, 3).flatten(-2)


def _check(singles: Mapping[str, KeyValues]) -> None:
    if not singles:
        raise UsageError("prompt mixture: no single prompt to mix")
    shapes = {
        attribute: {part: (*tensor.shape[:3], tensor.shape[-1]) for part, tensor in prompt.items()}
        for attribute, prompt in singles.items()
    }
    first = next(iter(shapes))
    for attribute, shape in shapes.items():
        if shape != shapes[first]:
            raise UsageError(f"prompt mixture: the prompts of {first} and {attribute} were trained on different bases")
