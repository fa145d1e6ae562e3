from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from recbole_fair.errors import UsageError
from recbole_fair.models.adversary import Adversary, Discriminator, balanced_rows


def planted(rows: int = 200, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, 2, (rows,), generator=generator)
    states = torch.randn(rows, 8, generator=generator)
    states[:, 0] += 3 * (2 * classes - 1)
    return states, classes


def adversary(**named: float) -> Adversary:
    torch.manual_seed(0)
    return Adversary(8, 2, learning_rate=named.get("learning_rate", 1e-3))


def test_attacking_lowers_the_loss_and_defending_raises_it() -> None:
    """Were a sign flipped in either role, one of the two would fall where it must rise."""
    states, classes = planted()
    attacker = adversary(learning_rate=3e-3)
    losses = [attacker.attack(states, classes) for _ in range(60)]
    assert losses[-1] < losses[0] / 2

    moved = states.clone().requires_grad_()
    optimizer = torch.optim.Adam([moved], lr=0.1)
    before = attacker.loss(states, classes)
    for _ in range(20):
        optimizer.zero_grad()
        (-attacker.loss(moved, classes)).backward()  # L_rec - lambda L_dis
        optimizer.step()
    assert attacker.loss(moved.detach(), classes) > before + 0.5


def test_each_role_leaves_the_other_side_alone() -> None:
    states, classes = planted()
    states.requires_grad_()
    attacker = adversary()
    attacker.attack(states, classes)
    assert states.grad is None
    weights = [parameter.detach().clone() for parameter in attacker.discriminator.parameters()]
    attacker.optimizer.zero_grad()
    attacker.loss(states, classes).backward()
    assert states.grad is not None and states.grad.abs().sum() > 0
    for parameter, weight in zip(attacker.discriminator.parameters(), weights, strict=True):
        assert torch.equal(parameter, weight) and parameter.grad is None and parameter.requires_grad


def test_both_roles_see_the_same_loss() -> None:
    states, classes = planted(1)
    attacker = adversary()
    expected = -attacker.discriminator(states).log_softmax(1)[0, classes[0]]
    torch.testing.assert_close(attacker.loss(states, classes), expected)
    assert attacker.attack(states, classes) == pytest.approx(expected.item())


def test_there_are_seven_linear_layers_and_logits_come_out() -> None:
    linear = [layer for layer in Discriminator(16, 5).modules() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linear] == [32, 64, 32, 32, 16, 8, 5]
    assert (Discriminator(16, 5)(torch.randn(4, 16)).sum(1) - 1).abs().max() > 1e-3  # not probabilities


def test_users_without_a_label_are_neither_attacked_nor_defended() -> None:
    states, classes = planted()
    attacker = adversary()
    labelled = attacker.loss(states[:50], classes[:50])
    hidden = torch.where(torch.arange(200) < 50, classes, -1)
    torch.testing.assert_close(attacker.loss(states, hidden), labelled)
    moved = states.clone().requires_grad_()
    attacker.loss(moved, hidden).backward()
    assert moved.grad is not None and moved.grad[50:].abs().max() == 0
    assert attacker.loss(states, torch.full((200,), -1)) == 0


def test_an_interrupted_adversary_goes_on_as_if_nothing_had_happened() -> None:
    states, classes = planted()
    first, second = adversary(), adversary()
    for _ in range(3):
        first.attack(states, classes)
    state = copy.deepcopy(first.state_dict())
    expected = [first.attack(states, classes) for _ in range(3)]
    assert [second.attack(states, classes) for _ in range(3)] != expected
    second.load_state_dict(state)
    assert [second.attack(states, classes) for _ in range(3)] == expected


def test_rare_classes_are_drawn_as_often_as_common_ones() -> None:
    classes = torch.tensor([0] * 900 + [1] * 90 + [2] * 5 + [-1] * 5)
    rows = balanced_rows(classes, 6000, torch.Generator().manual_seed(0))
    drawn = torch.bincount(classes[rows], minlength=3)
    assert (classes[rows] >= 0).all()
    assert (drawn - 2000).abs().max() < 200
    with pytest.raises(UsageError, match="no user has a label"):
        balanced_rows(torch.full((3,), -1), 2)


def test_an_attribute_of_one_class_is_refused() -> None:
    with pytest.raises(UsageError, match="1 class"):
        Adversary(8, 1, learning_rate=1e-3)
