from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from recbole_fair.models.pmf import PMF


class Settings(dict[str, Any]):
    def __missing__(self, key: str) -> None:
        return None


def model() -> PMF:
    settings = Settings(
        embedding_size=4, prior_weight=0.3, LABEL_FIELD="label", USER_ID_FIELD="user_id", ITEM_ID_FIELD="item_id",
        NEG_PREFIX="neg_", device="cpu",
    )  # fmt: skip
    dataset: Any = SimpleNamespace(num=lambda field: {"user_id": 5, "item_id": 7}[field])
    torch.manual_seed(0)
    return PMF(settings, dataset)


def test_the_loss_is_the_papers_objective_in_plain_loops() -> None:
    one = model()
    users, items, labels = [1, 4, 1], [2, 6, 3], [1.0, 0.0, 0.0]
    error, priors = one.calculate_loss(
        {"user_id": torch.tensor(users), "item_id": torch.tensor(items), "label": torch.tensor(labels)}
    )
    p, q = one.user_embedding.weight.detach().numpy(), one.item_embedding.weight.detach().numpy()
    squares = [(r - 1 / (1 + np.exp(-p[u] @ q[i]))) ** 2 for u, i, r in zip(users, items, labels, strict=True)]
    norms = [p[u] @ p[u] + q[i] @ q[i] for u, i in zip(users, items, strict=True)]
    np.testing.assert_allclose(error.item(), np.mean(squares) / 2, rtol=1e-5)
    np.testing.assert_allclose(priors.item(), 0.3 / 2 * np.mean(norms), rtol=1e-5)


def test_pairs_and_full_rows_are_scored_alike() -> None:
    one = model()
    full = one.full_sort_predict({"user_id": torch.tensor([3])})
    pairs = one.predict({"user_id": torch.tensor([3] * 7), "item_id": torch.arange(7)})
    torch.testing.assert_close(full, pairs)
