"""Scores of drawn pairs alone, against gathered vectors: values, first and second derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recbole_fair.models import sampled
from recbole_fair.models.sampled import pair_scores


def gathered(rows: Tensor, items: Tensor, drawn: Tensor) -> Tensor:
    """What is meant, in one line."""
    return torch.einsum("bd,bnd->bn", rows, items[drawn])


def made() -> tuple[Tensor, Tensor, Tensor]:
    """Seven rows, five items, four draws a row: items repeat within a row, and one is never drawn."""
    generator = torch.Generator().manual_seed(3)
    rows, items = (torch.randn(count, 3, generator=generator, dtype=torch.double) for count in (7, 5))
    return rows.requires_grad_(), items.requires_grad_(), torch.randint(1, 5, (7, 4), generator=generator)


@pytest.mark.parametrize("at_a_time", [4096, 3])
def test_they_are_those_of_gathered_vectors_and_so_are_two_derivatives(
    monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    monkeypatch.setattr(sampled, "_ROWS", at_a_time)
    rows, items, drawn = made()
    torch.testing.assert_close(pair_scores(rows, items, drawn), gathered(rows, items, drawn))
    assert torch.autograd.gradcheck(pair_scores, (rows, items, drawn))
    assert torch.autograd.gradgradcheck(pair_scores, (rows, items, drawn))


def test_a_hessian_times_a_vector_is_that_of_gathered_vectors() -> None:
    rows, items, drawn = made()
    products = []
    for scores in (pair_scores, gathered):
        gradient = torch.autograd.grad(scores(rows, items, drawn).logsumexp(1).sum(), (rows, items), create_graph=True)
        along = [torch.linspace(-1, 1, part.numel(), dtype=part.dtype).view_as(part) for part in gradient]
        slope = sum((part * way).sum() for part, way in zip(gradient, along, strict=True))
        products.append(torch.autograd.grad(slope, (rows, items)))
    for ours, theirs in zip(*products, strict=True):
        torch.testing.assert_close(ours, theirs)
