"""Losses, graph, sampling and strategies against something independent of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from recbole.model.loss import BPRLoss
from torch.nn import functional

from recbole_fair import losses
from recbole_fair.embedding.alpharec import mean_over_history
from recbole_fair.graph import normalised_adjacency, propagate, symmetric_product
from recbole_fair.groups import Groups
from recbole_fair.sampling import PairSampler
from recbole_fair.strategies.base import TrainingView
from recbole_fair.strategies.reweight import Reweight, inverse_frequency


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
    from recbole_fair import sampling

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


def test_inverse_frequency_weighs_the_average_sample_by_one() -> None:
    frequency = torch.tensor([6.0, 3.0, 0.0])
    weight = inverse_frequency(frequency)
    assert weight[2] == 0
    assert weight[1] == pytest.approx(2 * weight[0].item())
    assert (weight * frequency).sum() / frequency.sum() == pytest.approx(1)


def reweight(mix: float) -> tuple[Reweight, torch.Tensor]:
    membership = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0, 0]], dtype=bool)
    counts = torch.tensor([0.0, 8, 2, 4, 3])
    config = {"fair_weight": mix, "device": torch.device("cpu")}
    view = TrainingView(config, Groups("item", "g", ("a", "b"), membership), "item_id", counts)
    return Reweight(view), counts


def test_reweight_against_a_loop() -> None:
    strategy, counts = reweight(0.4)
    frequency = {"a": 8.0 + 4.0, "b": 2.0 + 4.0}
    scale = sum(frequency.values()) / 2  # sum over groups of n_g * 1/n_g is the number of groups
    weight = {name: scale / value for name, value in frequency.items()}
    per_item = [1.0, weight["a"], weight["b"], (weight["a"] + weight["b"]) / 2, 1.0]
    samples, items = torch.rand(30), torch.randint(1, 5, (30,))
    strategy.batch = {"item_id": items}
    expected = np.mean([(0.4 * per_item[i] + 0.6) * s for i, s in zip(items.tolist(), samples.tolist(), strict=True)])
    assert strategy._reduce(samples).item() == pytest.approx(expected, rel=1e-5)


def test_reweight_at_strength_zero_is_the_plain_gradient() -> None:
    """And its gradient at any strength is autograd's of the weighted mean."""
    from recbole.model.loss import BPRLoss as HostLoss

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(5))
            self.loss = HostLoss()

        def calculate_loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.loss(self.weight[batch["item_id"]], self.weight[batch["neg"]])

    batch = {"item_id": torch.randint(1, 5, (40,)), "neg": torch.randint(1, 5, (40,))}
    plain = Model()
    plain.calculate_loss(batch).backward()
    strategy, _ = reweight(0.0)
    model = Model()
    model.weight.data.copy_(plain.weight.data)
    strategy.prepare(model)
    strategy.backward(model, batch)
    torch.testing.assert_close(model.weight.grad, plain.weight.grad)


def test_a_loss_without_samples_is_refused_with_the_reason() -> None:
    from recbole_fair.errors import UsageError
    from recbole_fair.strategies.base import keep_sample_losses

    model = torch.nn.Linear(2, 2)
    model.loss = SimpleNamespace()  # type: ignore[assignment]
    with pytest.raises(UsageError, match="inside the model"):
        keep_sample_losses(model, torch.mean)


def test_reweight_weighs_the_rows_that_are_trained_on(run_toy: Any, monkeypatch: Any) -> None:
    """With users drawn uniformly the model chooses the rows of a batch itself."""
    from recbole_fair.contrastive import Contrastive

    trained, weighed = [], []
    losses_of = Contrastive.pair_losses

    def spy(self: Any, rows: Any, *vectors: Any) -> Any:
        trained.append(rows[0])
        return losses_of(self, rows, *vectors)

    reduce = Reweight._reduce

    def look(self: Any, samples: Any) -> Any:
        weighed.append(self.batch["user_id"])
        return reduce(self, samples)

    monkeypatch.setattr(Contrastive, "pair_losses", spy)
    monkeypatch.setattr(Reweight, "_reduce", look)
    run_toy("ReweightMF", rec_loss="infonce", negatives=4, user_sampling="user", fair_group="genre", epochs=1)
    assert trained and all(torch.equal(users, seen) for users, seen in zip(trained, weighed, strict=True))


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
