"""UP5's loss upon a model of its own, against autograd."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_fair.errors import UsageError
from recbole_fair.strategies.base import TrainingView
from recbole_fair.strategies.deceived import Deceived

CLASSES = torch.tensor([0, 1, 1, -1])


class Stub(nn.Module):
    """States are a linear map of the batch."""

    attacked_shape = (4, 2)

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def calculate_loss(self, batch: Tensor) -> dict[str, Tensor]:
        return {"rec": self.layer(batch).square().mean()}

    def attacked(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(batch), CLASSES


def deceived(model: nn.Module, weight: float) -> Deceived:
    config: dict[str, Any] = {
        "adversary_weight": weight, "adversary_steps": 2, "adversary_learning_rate": 0.01, "device": "cpu",
        "enable_amp": False, "hold_labels": 0.0,
    }  # fmt: skip
    nobody = torch.zeros(0, dtype=torch.long)
    strategy = Deceived(TrainingView(config, make_groups=lambda: None, users=nobody, items=nobody))  # type: ignore[arg-type, return-value]
    strategy.prepare(model)
    return strategy


def test_the_model_gets_the_gradient_of_the_recommendation_less_the_adversarys_loss() -> None:
    torch.manual_seed(0)
    model, batch = Stub(), torch.randn(4, 3)
    strategy = deceived(model, 0.7)
    adversary = deepcopy(strategy.adversary.discriminator)
    logged = strategy.backward(model, batch)
    read = functional.cross_entropy(adversary(model.layer(batch))[:3], CLASSES[:3])
    wanted = torch.autograd.grad(model.calculate_loss(batch)["rec"] - 0.7 * read, list(model.parameters()))
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    torch.testing.assert_close(logged["adversary"], read.detach())


def test_the_adversary_learns_to_read_and_is_resumed() -> None:
    torch.manual_seed(0)
    model, batch = Stub(), torch.randn(4, 3)
    strategy = deceived(model, 0.0)
    before = float(strategy.backward(model, batch)["adversary"])
    for _ in range(30):
        after = float(strategy.backward(model, batch)["adversary"])
    assert after < before / 2
    other = deceived(model, 0.0)
    other.load_state_dict(strategy.state_dict())
    assert float(other.backward(model, batch)["adversary"]) < before / 2


def test_labels_cannot_be_held_back_from_an_adversary_that_reads_prompts() -> None:
    config: Any = type("Settings", (dict,), {"name": "UP5-Loss"})(
        adversary_weight=1.0, adversary_steps=1, device="cpu", hold_labels=0.5
    )
    nobody = torch.zeros(0, dtype=torch.long)
    with pytest.raises(UsageError, match="hold_labels: the adversary of UP5-Loss"):
        Deceived(TrainingView(config, make_groups=lambda: None, users=nobody, items=nobody))  # type: ignore[arg-type, return-value]
