"""What AlphaRec and Linear share: the first layer before the users' mean gives what the mean before it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_fair.runner import open_run


@pytest.mark.parametrize("model", ["AlphaRec", "Linear"])
def test_projecting_before_the_mean_equals_projecting_the_mean(run_toy: Any, model: str) -> None:
    """Values and gradients, in double precision; the padding user has no items and gets the bias too."""
    _, data, trainer = open_run(Path(run_toy(model, epochs=1).run_dir))
    recommender = trainer.model.double()
    recommender.history, recommender.audience = recommender.history.double(), recommender.audience.double()
    matrix = data.train.dataset.inter_matrix(form="csr")
    means = torch.stack(
        [
            recommender.item_vectors[matrix[user].indices].mean(0)
            if matrix[user].nnz
            else torch.zeros(recommender.item_vectors.shape[1]).double()
            for user in range(matrix.shape[0])
        ]
    )
    expected = recommender.projector(torch.cat([means, recommender.item_vectors]))
    found = recommender.projected()
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-6)
    weights = list(recommender.projector.parameters())
    probe = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(found, weights, probe), torch.autograd.grad(expected, weights, probe), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
