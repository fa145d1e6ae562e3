"""XSimGCL's noise, propagation and contrast against loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_fair.errors import UsageError
from recbole_fair.models.xsimgcl import contrast, noise
from recbole_fair.runner import open_run


@pytest.fixture(scope="module")
def opened(tmp_path_factory: Any, toy_root: Path) -> Any:
    from toy import toy_keys

    from recbole_fair import run

    keys = toy_keys(toy_root, tmp_path_factory.mktemp("xsimgcl") / "run", "XSimGCL", n_layers=3, contrast_layer=2)
    _, data, trainer = open_run(Path(run(**keys).run_dir))
    return data, trainer.model


def test_noise_has_its_length_and_stays_in_the_orthant() -> None:
    nodes = torch.randn(50, 8)
    added = noise(nodes, 0.3)
    torch.testing.assert_close(added.norm(dim=1), torch.full((50,), 0.3))
    assert ((added * nodes) >= 0).all()
    assert not torch.equal(added, noise(nodes, 0.3))
    assert torch.equal(noise(nodes, 0.0), torch.zeros_like(nodes))


def test_contrast_against_a_loop() -> None:
    one, other = torch.randn(6, 4).double(), torch.randn(6, 4).double()
    losses = []
    for row in range(6):
        cosines = [float(one[row] @ other[k] / one[row].norm() / other[k].norm()) for k in range(6)]
        weights = np.exp(np.array(cosines) / 0.2)
        losses.append(-np.log(weights[row] / weights.sum()))
    assert float(contrast(one, other, 0.2)) == pytest.approx(np.mean(losses))


def test_without_noise_the_vectors_are_the_mean_of_layers_from_one(opened: Any) -> None:
    data, model = opened
    model.eval()
    pairs = data.train.dataset.inter_matrix(form="coo")
    users, items = pairs.shape
    adjacency = np.zeros((users + items, users + items))
    adjacency[pairs.row, users + pairs.col] = adjacency[users + pairs.col, pairs.row] = 1
    degree = adjacency.sum(1).clip(min=1) ** -0.5
    adjacency = degree[:, None] * adjacency * degree
    nodes = model.get_ego_embeddings().detach().numpy().astype(float)
    layers = [adjacency @ nodes, adjacency @ adjacency @ nodes, adjacency @ adjacency @ adjacency @ nodes]
    found = torch.cat(model.forward()).detach().numpy()
    np.testing.assert_allclose(found, np.mean(layers, axis=0), atol=1e-6)
    np.testing.assert_allclose(model._views[1].detach().numpy(), layers[1], atol=1e-6)


def test_training_adds_noise_in_every_layer_and_scoring_none(opened: Any) -> None:
    _, model = opened
    model.eval()
    plain = model.forward()[0].detach()
    assert torch.equal(plain, model.forward()[0].detach())
    model.train()
    model.noise_radius = 0.1
    assert 0 < float((model.forward()[0].detach() - plain).norm(dim=1).max()) <= 0.1 * 3 * 3
    model.noise_radius = 0.0
    torch.testing.assert_close(model.forward()[0].detach(), plain)


def test_loss_is_lightgcns_plus_the_contrast_over_distinct_ids(opened: Any) -> None:
    from recbole_fair.host import LightGCN

    data, model = opened
    model.train()
    model.noise_radius = 0.0
    batch = next(iter(data.train))
    users, items = sorted(set(batch["user_id"].tolist())), sorted(set(batch["item_id"].tolist()))
    with torch.no_grad():
        total = model.calculate_loss(batch)
        recommendation = LightGCN.calculate_loss(model, batch)
        final, layer = (model._split(part) for part in model._views)
        expected = contrast(final[0][users], layer[0][users], 0.2) + contrast(final[1][items], layer[1][items], 0.2)
    torch.testing.assert_close(total, recommendation + 0.1 * expected)


def test_a_layer_that_is_not_there_is_refused(run_toy: Any) -> None:
    with pytest.raises(UsageError, match=r"contrast_layer=3.*n_layers=2"):
        run_toy("XSimGCL", contrast_layer=3)
    with pytest.raises(UsageError, match="noise_radius"):
        run_toy("XSimGCL", noise_radius=-1)
