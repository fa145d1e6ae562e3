from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.host import Interaction
from recbole_fair.probe.states import reader_of
from recbole_fair.runner import open_run
from recbole_fair.strategies.counterfactual import Counterfactual, UserFilters, filter_users
from recbole_fair.training.view import _classes


class Table(nn.Module):
    """Users and items by their vectors; users' first coordinate is planted."""

    n_users = 40
    USER_ID, ITEM_ID = "user_id", "item_id"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.user_embedding, self.item_embedding = nn.Embedding(40, 6), nn.Embedding(9, 6)

    def predict(self, batch: Interaction) -> Tensor:
        return (self.user_embedding(batch["user_id"]) * self.item_embedding(batch["item_id"])).sum(1)

    def calculate_loss(self, batch: Interaction) -> tuple[Tensor, Tensor]:
        scores = self.user_embedding(batch["user_id"]) @ self.item_embedding.weight.T
        loss = nn.functional.cross_entropy(scores, batch["item_id"])
        return loss / 2, loss / 2


def strategy(weight: float = 1.0) -> Counterfactual:
    config = {"adversary_weight": weight, "adversary_steps": 2, "adversary_learning_rate": 1e-3, "device": "cpu",
              "enable_amp": False}  # fmt: skip
    users = torch.arange(40)
    gender, age = (users % 2).clone(), users % 3
    gender[:5] = -1
    view: Any = SimpleNamespace(config=config, attributes={"gender": gender, "age": age})
    return Counterfactual(view)


def batch() -> Interaction:
    generator = torch.Generator().manual_seed(1)
    users, items = torch.randint(1, 40, (16,), generator=generator), torch.randint(1, 9, (16,), generator=generator)
    return Interaction({"user_id": users, "item_id": items})


def test_only_a_user_with_one_known_value_has_a_class() -> None:
    member = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=bool)
    shown = _classes({"hold_labels": 0.0, "split_seed": 1}, Groups("user", "age", ("young", "old"), member))
    assert shown.tolist() == [-1, 0, 1, -1]


def test_filters_are_averaged_over_the_selected_attributes_only() -> None:
    filters, users = UserFilters(6, ("gender", "age")), torch.randn(3, 6)
    one, other = (part(users) for part in filters.filters.values())
    torch.testing.assert_close(filters(users), (one + other) / 2)
    with filters.choosing(("age",)):
        torch.testing.assert_close(filters(users), other)
    torch.testing.assert_close(filters(users), (one + other) / 2)


def test_the_model_scores_with_filtered_users_and_offers_them_as_states() -> None:
    model = Table()
    raw = model.user_embedding(batch()["user_id"])
    filters = filter_users(model, ("gender",), "user_id")
    assert any(name.startswith("user_filters") for name, _ in model.named_parameters())
    torch.testing.assert_close(model.user_states(batch()), filters(raw))
    torch.testing.assert_close(model.user_embedding(batch()["user_id"]), filters(raw))


def test_the_gradient_is_that_of_recommendation_minus_weighted_adversaries() -> None:
    """By hand for the set that was drawn; a flipped sign or an adversary outside the set would show."""
    method, model = strategy(weight=3.0), Table()
    method.prepare(model)
    adversaries = copy.deepcopy(method.adversaries)
    torch.manual_seed(5)
    logged = method.backward(model, batch())
    gradient = model.user_embedding.weight.grad.clone()
    torch.manual_seed(5)
    drawn = int(torch.randint(1, 4, ()))
    chosen = tuple(name for place, name in enumerate(("gender", "age")) if drawn >> place & 1)
    model.zero_grad()
    with method.filters.choosing(chosen):
        loss = sum(model.calculate_loss(batch()))
        for name in chosen:
            labels = method.classes[name][batch()["user_id"]]
            logits = adversaries[name].discriminator(model.user_states(batch()))
            loss = loss - 3 * nn.functional.cross_entropy(logits[labels >= 0], labels[labels >= 0])
    loss.backward()
    torch.testing.assert_close(gradient, model.user_embedding.weight.grad)
    torch.testing.assert_close(logged["loss"], loss.detach())
    moved = {
        name: not torch.equal(one.discriminator.layers[0].weight, adversaries[name].discriminator.layers[0].weight)
        for name, one in method.adversaries.items()
    }
    assert moved == {name: name in chosen for name in ("gender", "age")}


def test_training_goes_on_after_a_stop_as_if_there_had_been_none() -> None:
    def losses(method: Counterfactual, model: Table, steps: int) -> list[float]:
        torch.manual_seed(2)
        return [method.backward(model, batch())["adversary"].item() for _ in range(steps)]

    method, model = strategy(), Table()
    method.prepare(model)
    losses(method, model, 3)
    kept = copy.deepcopy((method.state_dict(), model.state_dict()))
    expected = losses(method, model, 3)
    again, fresh = strategy(), Table()
    again.prepare(fresh)
    again.load_state_dict(kept[0])
    fresh.load_state_dict(kept[1])
    assert losses(again, fresh, 3) == expected


def test_what_cannot_be_filtered_is_refused_and_what_is_unknown_is_counted() -> None:
    assert strategy().notes() == ["C-: 4 users whose gender is unknown or held back are left out of its adversary"]
    with pytest.raises(UsageError, match="0 tables"):
        filter_users(_without_users(), ("gender",), "user_id")
    view: Any = SimpleNamespace(config={"device": "cpu"}, attributes={})
    with pytest.raises(UsageError, match="sensitive_attribute=gender"):
        Counterfactual(view)


@pytest.mark.parametrize("scores", ["raw", "raw beside filtered", "items alone"])
def test_scores_that_pass_the_filters_by_are_refused(scores: str) -> None:
    class Other(Table):
        def predict(self, batch: Interaction) -> Tensor:
            users, items = batch["user_id"], self.item_embedding(batch["item_id"])
            filtered = super().predict(batch) if "filtered" in scores else 0
            return filtered + (self.user_embedding.weight[users] * items if "raw" in scores else items).sum(1)

    method, model = strategy(), Other()
    method.prepare(model)
    with pytest.raises(UsageError, match="C-: Other scores by more"):
        method.backward(model, batch())


@pytest.mark.parametrize("model", ["C-LightGCN", "C-NGCF"])
def test_graph_models_are_refused(model: str, run_toy: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"take a model that reads a user's own row, such as PMF"):
        run_toy(model, sensitive_attribute="gender", epochs=1)


@pytest.mark.parametrize("keys", [{"model": "C-PMF"}, {"model": "C-SimpleX"}, {"model": "C-MF", "rec_loss": "infonce"}])
def test_the_lists_of_a_defended_model_follow_its_filters(keys: dict[str, Any], run_toy: Callable[..., Any]) -> None:
    config = {"sensitive_attribute": "gender", "epochs": 1, **keys}
    _, data, trainer = open_run(Path(run_toy(**config).run_dir))
    users = data.test.collate_fn([0, 1])[0]
    before = trainer.model.eval().full_sort_predict(users)
    for part in trainer.model.train().user_filters.parameters():
        part.data.normal_()
    assert not torch.equal(before, trainer.model.eval().full_sort_predict(users))


@pytest.mark.parametrize("keys", [{"model": "SimpleX"}, {"model": "C-SimpleX", "sensitive_attribute": "gender"}])
def test_simplex_is_probed_on_the_vector_that_scores(keys: dict[str, Any], run_toy: Callable[..., Any]) -> None:
    """Not on the table, which knows nothing of the history; the same for the row that is defended."""
    _, data, trainer = open_run(Path(run_toy(epochs=1, **keys).run_dir))
    _, read = reader_of(trainer, data)
    model, batch = trainer.model.eval(), data.test.collate_fn([0, 1])[0]
    scores = model.full_sort_predict(batch).view(len(batch), -1)
    cosines = torch.cosine_similarity(read(batch)[:, None], model.item_emb.weight[None], dim=2)
    assert torch.allclose(scores[:, 1:], cosines[:, 1:], atol=1e-5)


def _without_users() -> nn.Module:
    model = Table()
    del model.user_embedding
    return model
