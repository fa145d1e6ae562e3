"""Reweight against a loop, and its two ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from strategy_toy import (
    EVERY,
    GENDER,
    GENRE,
    PAIRS,
    Tiny,
    batch,
    gradients,
    gradients_under,
    names_of,
    plain_gradients,
    view,
)

from recbole_fair.strategies.reweight import Reweight, inverse_frequency


def test_inverse_frequency_weighs_the_average_sample_by_one() -> None:
    frequency = torch.tensor([6.0, 3.0, 0.0])
    weight = inverse_frequency(frequency)
    assert weight[2] == 0
    assert weight[1] == pytest.approx(2 * weight[0].item())
    assert (weight * frequency).sum() / frequency.sum() == pytest.approx(1)


@pytest.mark.parametrize("parts", [[GENRE], [GENDER], [GENDER, GENRE]], ids=["items", "users", "both"])
def test_reweight_against_a_loop(parts: list[Any]) -> None:
    strategy = Reweight(view(*parts, fair_weight=0.4))
    rows, model = batch(), Tiny()

    def groups_of(user: int, item: int) -> list[str]:
        """Names of a pair's groups, spelled out."""
        found = [""]
        for part in parts:
            found = [f"{left}*{right}" for left in found for right in names_of(part, user if part is GENDER else item)]
        return found

    frequency: dict[str, int] = {}
    for user, item in PAIRS:
        for name in groups_of(user, item):
            frequency[name] = frequency.get(name, 0) + 1
    scale = sum(frequency.values()) / len(frequency)  # sum over groups of n_g * 1/n_g is the number of groups
    weighed = []
    for user, item, loss in zip(rows["user_id"].tolist(), rows["item_id"].tolist(), model.samples(rows), strict=True):
        names = groups_of(user, item)
        fair = float(np.mean([scale / frequency[name] for name in names])) if names else 1.0
        weighed.append((0.4 * fair + 0.6) * loss)
    (sum(weighed) / len(weighed) + model.regulariser()).backward()  # type: ignore[union-attr]
    for got, expected in zip(gradients_under(strategy, rows), gradients(model), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(("parts", "mix"), [([GENRE], 0.0), ([EVERY], 1.0)])
def test_strength_zero_or_one_group_is_the_plain_gradient(parts: list[Any], mix: float) -> None:
    rows = batch()
    for got, expected in zip(
        gradients_under(Reweight(view(*parts, fair_weight=mix)), rows), plain_gradients(rows), strict=True
    ):
        torch.testing.assert_close(got, expected)


def test_reweight_weighs_the_rows_that_are_trained_on(run_toy: Any, monkeypatch: Any) -> None:
    """With users drawn uniformly the model chooses the rows of a batch itself."""
    from recbole_fair.models.contrastive import Contrastive

    trained, weighed = [], []
    losses_of = Contrastive.pair_losses

    def spy(self: Any, rows: Any, *vectors: Any) -> Any:
        trained.append(rows[0])
        return losses_of(self, rows, *vectors)

    objective = Reweight.objective

    def look(self: Any, samples: Any, membership: Any) -> Any:
        weighed.append(self.kept.samples.users)
        return objective(self, samples, membership)

    monkeypatch.setattr(Contrastive, "pair_losses", spy)
    monkeypatch.setattr(Reweight, "objective", look)
    run_toy("ReweightMF", rec_loss="infonce", negatives=4, user_sampling="user", fair_group="genre", epochs=1)
    assert trained and all(torch.equal(users, seen) for users, seen in zip(trained, weighed, strict=True))
