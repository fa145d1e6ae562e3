"""What BiFair and Separate need of a model: item vectors Z that can be trained apart from its parameters theta.

The loss must come in three parts, so that one batch can be looked at under several theta and Z, and group by group:

    rows = model.draw(batch)                    all that is random: users, positives, negatives
    vectors = model.unit_vectors()              what costs most: every user's and item's vector
    model.pair_losses(rows, *vectors)           cheap, and separable by rows
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from recbole_fair.errors import UsageError


@runtime_checkable
class Refinable(Protocol):
    """A model with item vectors to refine."""

    item_vectors: Tensor  # Z [I, W]

    def draw(self, interaction: Any) -> tuple[Tensor, ...]:
        """Rows of the batch and their negatives; each part's first axis is the rows."""

    def unit_vectors(self) -> tuple[Tensor, Tensor]:
        """User vectors [U, D] and item vectors [I, D] under the current theta and Z."""

    def pair_losses(self, rows: Any, user_vectors: Tensor, item_vectors: Tensor) -> Tensor:
        """The rows' losses, [B]."""


def refine(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Make Z a leaf of its own; return it and the encoder's vectors. A model that has none is refused.

    It stays a buffer, so the model's own optimiser does not see it, but a trained one: checkpoints and parameter
    counts find it by `requires_grad`. A copy, because the vectors themselves may be mapped from the encoder's cache.
    """
    if not isinstance(model, Refinable):
        raise UsageError(
            "strategy: BiFair and Separate refine item vectors, and this model has none, it knows items by their ids;"
            " give them a text-enhanced one, as in --model=BiFairAlphaRec"
        )
    encoded = model.item_vectors
    refined = encoded.clone().requires_grad_()
    model.register_buffer("item_vectors", refined)
    return refined, encoded


def column_gradients(
    model: Refinable, rows: Sequence[Tensor], columns: Tensor, targets: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The losses of all rows [B], and the gradients [K, P] of K weighted sums of them.

    `columns` [B, K] holds the weights; every row must have one somewhere.

    The vectors are computed once. A column's gradient at the vectors needs only the rows it weighs, so K groups that
    share few rows cost no more there than one pass over the batch; each is then carried to the targets through the
    shared graph. Exact: the same numbers as K backward passes through everything.
    """
    vectors = model.unit_vectors()
    losses = torch.zeros(len(columns)).to(columns)
    gradients = losses.new_empty(columns.shape[1], sum(target.numel() for target in targets))
    for gradient, at_vectors in zip(gradients, _at_vectors(model, rows, columns, vectors, losses), strict=True):
        at_targets = torch.autograd.grad(vectors, targets, at_vectors, retain_graph=True)
        torch.cat([part.flatten() for part in at_targets], out=gradient)
    return losses, gradients


def vector_gradients(
    model: Refinable, rows: Sequence[Tensor], columns: Tensor, targets: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Callable[[Tensor], list[Tensor]]]:
    """As `column_gradients`, but by the users' and items' vectors, [K, (U + I) D].

    With them comes what carries a combination of them, coefficients [K], to the targets: one pass for all groups.
    """
    vectors = model.unit_vectors()
    losses = torch.zeros(len(columns)).to(columns)
    parts = [torch.cat(found) for found in _at_vectors(model, rows, columns, vectors, losses)]
    gradients = torch.stack(parts).flatten(1)

    def carried(coefficients: Tensor) -> list[Tensor]:
        combined = torch.split((coefficients @ gradients).view_as(parts[0]), [len(part) for part in vectors])
        return list(torch.autograd.grad(vectors, targets, combined))

    return losses, gradients, carried


def _at_vectors(
    model: Refinable, rows: Sequence[Tensor], columns: Tensor, vectors: Sequence[Tensor], losses: Tensor
) -> Iterator[tuple[Tensor, ...]]:
    """The gradient of each column's weighted sum by the vectors; fills in the `losses` of the rows that it weighs."""
    leaves = [part.detach().requires_grad_() for part in vectors]
    for column in columns.T:
        chosen = column.nonzero().squeeze(1)
        row_losses = model.pair_losses(tuple(part[chosen] for part in rows), *leaves)
        losses[chosen] = row_losses.detach()
        yield torch.autograd.grad(column[chosen] @ row_losses, leaves)
