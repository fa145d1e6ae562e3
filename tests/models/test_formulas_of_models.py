"""Losses, graph and sampling against something independent of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from recbole.model.loss import BPRLoss
from torch.nn import functional

from recbole_fair.models import losses
from recbole_fair.models.alpharec import mean_over_history
from recbole_fair.models.graph import normalised_adjacency, propagate, symmetric_product
from recbole_fair.models.sampling import PairSampler


@pytest.fixture
def interactions() -> sp.csr_matrix:
    return sp.random(9, 14, 0.3, "csr", random_state=1, data_rvs=lambda size: np.ones(size))


def test_bpr_is_the_hosts_before_the_mean() -> None:
    positive, negative = torch.randn(50), torch.randn(50)
    torch.testing.assert_close(losses.bpr(positive, negative).mean(), BPRLoss()(positive, negative))


def test_info_nce_is_cross_entropy_with_the_positive_first() -> None:
    positive, negative = torch.randn(20).double(), torch.randn(20, 7).double()
    expected = functional.cross_entropy(
        torch.cat([positive[:, None], negative], 1), torch.zeros(20, dtype=torch.long), reduction="none"
    )
    torch.testing.assert_close(losses.info_nce(positive, negative), expected)
    plain = -torch.log(positive.exp() / (positive.exp() + negative.exp().sum(1)))
    torch.testing.assert_close(losses.info_nce(positive, negative), plain)


def test_info_nce_does_not_overflow() -> None:
    assert torch.isfinite(losses.info_nce(torch.tensor([1000.0]), torch.tensor([[990.0, -1000.0]]))).all()


def test_adjacency_against_a_loop(interactions: sp.csr_matrix) -> None:
    users, items = interactions.shape
    dense = np.zeros((users + items, users + items))
    for user in range(users):
        for item in range(items):
            if interactions[user, item]:
                dense[user, users + item] = dense[users + item, user] = 1
    degree = dense.sum(1)
    for row, column in zip(*dense.nonzero(), strict=True):
        dense[row, column] /= np.sqrt(degree[row] * degree[column])
    np.testing.assert_allclose(normalised_adjacency(interactions).to_dense().numpy(), dense, atol=1e-6)


def test_adjacency_equals_the_hosts_lightgcn(run_toy: Any) -> None:
    """The host adds 1e-7 to every degree; else the matrices are the same."""
    from pathlib import Path

    from recbole_fair.runner import open_run

    _, data, trainer = open_run(Path(run_toy("LightGCN", epochs=0).run_dir))
    ours = normalised_adjacency(data.train.dataset.inter_matrix(form="csr")).to_dense()
    torch.testing.assert_close(ours, trainer.model.norm_adj_matrix.to_dense(), atol=1e-6, rtol=1e-5)


def test_propagation_and_its_two_derivatives(interactions: sp.csr_matrix) -> None:
    adjacency = normalised_adjacency(interactions)
    nodes = torch.randn(23, 4, requires_grad=True)
    dense = adjacency.to_dense()
    expected = (nodes + dense @ nodes + dense @ dense @ nodes) / 3
    torch.testing.assert_close(propagate(adjacency, nodes, 2), expected)
    assert torch.autograd.gradcheck(
        lambda x: symmetric_product(adjacency.double(), x), torch.randn(23, 2, dtype=torch.double, requires_grad=True)
    )
    assert torch.autograd.gradgradcheck(
        lambda x: symmetric_product(adjacency.double(), x) ** 2,
        torch.randn(23, 1, dtype=torch.double, requires_grad=True),
    )


def test_user_vectors_are_means_over_training_items(interactions: sp.csr_matrix) -> None:
    vectors = torch.randn(14, 3)
    means = torch.from_numpy(mean_over_history(interactions) @ vectors.numpy())
    for user in range(9):
        items = interactions[user].indices
        expected = vectors[items].mean(0) if len(items) else torch.zeros(3)
        torch.testing.assert_close(means[user], expected)


@pytest.mark.parametrize("dense", [True, False])
def test_negatives_are_uniform_over_what_the_user_has_not(
    interactions: sp.csr_matrix, dense: bool, monkeypatch: Any
) -> None:
    from recbole_fair.models import sampling

    monkeypatch.setattr(sampling, "_DENSE_CELLS", 1 << 28 if dense else 0)
    torch.manual_seed(0)
    sampler = PairSampler(interactions)
    users = torch.arange(9)
    drawn = sampler.negatives(users, 4000)
    for user in range(9):
        allowed = set(range(1, 14)) - set(interactions[user].indices.tolist())
        counts = np.bincount(drawn[user].numpy(), minlength=14)
        assert set(np.flatnonzero(counts)) == allowed, "never padding, never a training item"
        expected = 4000 / len(allowed)
        assert np.abs(counts[sorted(allowed)] - expected).max() < 6 * np.sqrt(expected)


def test_a_user_who_has_everything_does_not_hang_the_sampler() -> None:
    everything = sp.csr_matrix(np.ones((2, 5)))
    assert PairSampler(everything).negatives(torch.tensor([1]), 3).shape == (1, 3)


def test_pairs_draw_users_uniformly_and_their_own_items(interactions: sp.csr_matrix) -> None:
    torch.manual_seed(0)
    users, items = PairSampler(interactions).pairs(9000)
    assert all(interactions[user, item] for user, item in zip(users.tolist(), items.tolist(), strict=True))
    trained = np.flatnonzero(np.diff(interactions.indptr))
    counts = np.bincount(users.numpy(), minlength=9)[trained]
    assert np.abs(counts - 9000 / len(trained)).max() < 6 * np.sqrt(9000 / len(trained))


def test_pop_ranks_by_training_counts_whatever_the_seed(run_toy: Any, tmp_path: Any) -> None:
    """RecBole's own Pop counts an item once a batch."""
    from pathlib import Path

    lists = []
    for seed in (1, 2):
        folder = tmp_path / f"pop{seed}"
        run_toy("Pop", seed=seed, train_batch_size=16, save_recommendations=True, run_dir=str(folder))
        lists.append((folder / "recommendations.tsv").read_text())
    assert lists[0] == lists[1]
    counts: dict[str, int] = {}
    for line in (Path(folder) / "interactions.tsv").read_text().splitlines()[1:]:
        _, item, split = line.split("\t")
        counts[item] = counts.get(item, 0) + (split == "train")
    rows = [line.split("\t") for line in lists[0].splitlines()[1:]]
    first = [counts[item] for user, item, _, _ in rows if user == rows[0][0]]
    assert first == sorted(first, reverse=True)
