"""Counterfactually-fair prompts (UP5, section 4): a prefix per attribute, and the schedule that trains it.

L_k = L_rec - lambda_k L_dis                                                                              (Eq. 4)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from recbole_fair.errors import UsageError
from recbole_fair.language.prefixes import Shape

_SHALLOW = "encoder"  # its prompt comes from a network of two layers, the decoder's from one of three (A.2)


class Reparameterised(nn.Module):
    """Keys and values of a part from P learned vectors through a network (Li and Liang 2021)."""

    def __init__(self, shape: Shape, length: int, *, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.shape, self.dropout = shape, dropout
        self.seeds = nn.Embedding(length, width)
        sizes = [width, *[hidden] * (layers - 1)]
        parts = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.Tanh())]
        self.network = nn.Sequential(*parts, nn.Linear(sizes[-1], shape.numbers))

    def forward(self) -> Tensor:
        """[layers, 2, heads, P, width]."""
        flat = self.network(self.seeds.weight).view(-1, self.shape.layers, 2, self.shape.heads, self.shape.width)
        return functional.dropout(flat.permute(1, 2, 3, 0, 4), self.dropout, self.training)


class PrefixPrompt(nn.Module):
    """The prompt of one attribute, or of none: a prefix for every part that `shapes` names (`Prefixes(model).shapes`).

    An encoder-decoder gets an encoder prompt, which is to hide the attribute, and a decoder prompt (its self-attention
    and its cross-attention), which is to keep the recommendation; a decoder-only model gets a decoder prompt.
    """

    def __init__(
        self, shapes: Mapping[str, Shape], length: int, *, width: int, hidden: int = 800, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if length < 1:
            raise UsageError(f"prefix length {length}: a prompt has at least one position")
        self.parts = nn.ModuleDict(
            {
                part: Reparameterised(
                    shape,
                    length,
                    width=width,
                    hidden=hidden,
                    layers=2 if part == _SHALLOW else 3,
                    dropout=dropout,
                )
                for part, shape in shapes.items()
            }
        )

    def forward(self) -> dict[str, Tensor]:
        """Keys and values by part, as `Prefixes.attached` takes them."""
        return {part: network() for part, network in self.parts.items()}


Kind = Literal["joint", "recommend", "discriminate"]


@dataclass(frozen=True)
class Step:
    """One update: what is minimised, by whom, and at which share of the learning rate."""

    kind: Kind
    strength: float  # the weight of L_dis in the prompt's loss: lambda in a joint step, 0 in a recommend step
    rate: float  # factor of the prompt's learning rate

    @property
    def trains_prompt(self) -> bool:
        """The prompt moves and the discriminator is fixed, or the other way round."""
        return self.kind != "discriminate"


@dataclass(frozen=True)
class Schedule:
    """Algorithm 1: which updates are made on each batch.

    Every batch: T joint updates of the prompt (L_rec - lambda L_dis). Every R-th, from the first: then T updates of the
    prompt on L_rec alone, then T of the discriminator. The paper has one T; ours may differ by kind. `batches` (0: no
    decay) lowers the prompt's learning rate linearly to 0 over so many batches: at a constant rate the history is
    unlearned together with the attribute.
    """

    joint: int = 10
    recommend: int = 10
    discriminate: int = 10
    every: int = 20  # R
    strength: float = 1.0  # lambda
    batches: int = 0

    def __post_init__(self) -> None:
        counts = (self.joint, self.recommend, self.discriminate, self.batches)
        if min(counts) < 0 or self.every < 1 or self.joint + self.recommend < 1:
            raise UsageError(
                f"schedule of {self.joint} + {self.recommend} + {self.discriminate} updates every {self.every} batches:"
                " counts must not be negative, the prompt needs an update, and `every` is at least 1"
            )

    def rate(self, batch: int) -> float:
        """Share of the learning rate at a batch, counted from 0 through all epochs."""
        return max(0.0, 1 - batch / self.batches) if self.batches else 1.0

    def steps(self, batch: int) -> Iterator[Step]:
        """The updates on one batch, in their order."""
        rate = self.rate(batch)
        yield from [Step("joint", self.strength, rate)] * self.joint
        if batch % self.every == 0:
            yield from [Step("recommend", 0.0, rate)] * self.recommend
            yield from [Step("discriminate", 0.0, rate)] * self.discriminate
