"""What AlphaRec and Linear share: the first layer before the users' mean, and the loss of drawn negatives."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_fair.models import contrastive
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


@pytest.mark.parametrize(
    ("rows", "items_factor"), [(400, 64), (7, 64), (7, 0)], ids=["users repeat", "few", "pairs alone"]
)
def test_every_way_to_score_negatives_gives_the_loss_of_a_loop(
    run_toy: Any, monkeypatch: pytest.MonkeyPatch, rows: int, items_factor: int
) -> None:
    monkeypatch.setattr(contrastive, "_ALL_ITEMS_FACTOR", items_factor)
    _, data, trainer = open_run(Path(run_toy("AlphaRec", epochs=1, negatives=5).run_dir))
    model, pairs = trainer.model, data.train.dataset.inter_feat.interaction
    place = torch.arange(rows) % len(pairs["user_id"])
    drawn = model.draw({"user_id": pairs["user_id"][place], "item_id": pairs["item_id"][place]})
    users, items = (vectors.detach() for vectors in model.unit_vectors())
    expected = 0.0
    for user, positive, negatives in zip(*drawn, strict=True):
        scores = [float(users[user] @ items[item]) / model.temperature for item in (positive, *negatives)]
        expected += math.log(sum(map(math.exp, scores))) - scores[0]
    assert float(model.pair_losses(drawn, users, items)) == pytest.approx(expected / rows, rel=1e-5)
