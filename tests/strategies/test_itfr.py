"""ITFR's passes against two explicit ones, and its weights against a loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from strategy_toy import EVERY, GENDER, GENRE, Tiny, batch, gradients, gradients_under, names_of, plain_gradients
from strategy_toy import view as plain_view

from recbole_fair.strategies.itfr import ITFR

KEYS = {"sharpness_radius": 0.3, "group_step": 0.5, "loss_power": 0.5}


def strategy(*parts: Any, **keys: Any) -> ITFR:
    return ITFR(plain_view(*parts, **{**KEYS, **keys}))


def members(rows: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    """Rows of each gender x genre that occurs."""
    found: dict[str, list[int]] = {}
    for place, (user, item) in enumerate(zip(rows["user_id"].tolist(), rows["item_id"].tolist(), strict=True)):
        for gender in names_of(GENDER, user):
            for genre in names_of(GENRE, item):
                found.setdefault(f"{gender}*{genre}", []).append(place)
    return found


def flat(parts: Any) -> np.ndarray:
    return torch.cat([part.flatten() for part in parts]).double().numpy()


def two_passes(rows: dict[str, torch.Tensor], places: list[int], radius: float) -> tuple[np.ndarray, float, np.ndarray]:
    """Gradient of a group's loss, then its loss and gradient in a second model that stands at the worst point."""
    here, there = Tiny(), Tiny()
    ascent = torch.autograd.grad(here.samples(rows)[places].mean(), list(here.parameters()))
    norm = math.sqrt(sum(float(part.square().sum()) for part in ascent))
    with torch.no_grad():
        for parameter, part in zip(there.parameters(), ascent, strict=True):
            parameter.add_(radius * part / norm)
    loss = there.samples(rows)[places].mean()
    return flat(ascent), loss.item(), flat(torch.autograd.grad(loss, list(there.parameters())))


def test_perturbed_gradient_is_that_of_two_explicit_passes() -> None:
    rows, model = batch(40), Tiny()
    method = strategy(GENDER, GENRE, group_step=0.0)
    method.prepare(model)
    logged = method.backward(model, rows)
    groups = members(rows)
    grouped = len({place for places in groups.values() for place in places})
    outside = [place for place in range(40) if not any(place in places for places in groups.values())]
    reference = Tiny()
    (reference.samples(rows)[outside].sum() / 40 + reference.regulariser()).backward()
    expected, loss = flat(gradients(reference)), 0.0
    for places in groups.values():
        _, sharp_loss, sharp = two_passes(rows, places, 0.3)
        expected += grouped / 40 * sharp / len(groups)
        loss += grouped / 40 * sharp_loss / len(groups)
    np.testing.assert_allclose(flat(gradients(model)), expected, rtol=1e-4, atol=1e-6)
    for parameter, untouched in zip(model.parameters(), Tiny().parameters(), strict=True):
        assert torch.equal(parameter, untouched), "the parameters are put back exactly"
    rest = reference.samples(rows)[outside].sum().item() / 40 + reference.regulariser().item()
    assert logged["loss"].item() == pytest.approx(loss + rest, rel=1e-5)


def test_weights_against_a_loop_over_two_epochs() -> None:
    model, method = Tiny(), strategy(GENDER, GENRE)
    method.prepare(model)
    names = method.names
    weight = dict.fromkeys(names, 1 / len(names))
    former: dict[str, tuple[np.ndarray, float]] = {}
    lacking = 0
    for epoch in range(2):
        sums: dict[str, np.ndarray] = {}
        losses: dict[str, list[float]] = {}
        for seed in range(4):
            rows = batch(9, 10 * epoch + seed)
            method.backward(model, rows)
            groups = members(rows)
            lacking += len(groups) < len(names)
            found = {name: two_passes(rows, places, 0.3) for name, places in groups.items()}
            total = sum(loss**0.5 for _, loss, _ in found.values())
            exponent = {}
            for one, (_, loss, sharp) in found.items():
                exponent[one] = loss * loss**0.5 / total
                for other, (_, other_loss, _) in found.items():
                    if other != one and epoch > 0:
                        gradient, then = former[other]
                        cosine = sharp @ gradient / np.linalg.norm(sharp) / np.linalg.norm(gradient)
                        exponent[one] += cosine * math.sqrt(loss * then) * other_loss**0.5 / total
            centre = float(np.mean(list(exponent.values())))
            for name, value in exponent.items():
                weight[name] *= math.exp(0.5 * (value - centre))
            weight = {name: value / sum(weight.values()) for name, value in weight.items()}
            assert method.weights.tolist() == pytest.approx([weight[name] for name in names], rel=1e-4)
            for name, places in groups.items():
                sums[name] = sums.get(name, 0) + len(places) * found[name][0]
                losses.setdefault(name, []).extend([found[name][1]] * len(places))
        method.end_epoch(epoch)
        former = {name: (sums[name], float(np.mean(losses[name]))) for name in sums}
    assert lacking, "the draw must test absent groups"


def test_one_group_at_radius_zero_is_the_plain_gradient() -> None:
    rows = batch()
    for parts, keys in (([EVERY], {}), ([GENRE], {"fair_weight": 0.0})):
        got = gradients_under(strategy(*parts, sharpness_radius=0.0, **keys), rows)
        for mine, plain in zip(got, plain_gradients(rows), strict=True):
            torch.testing.assert_close(mine, plain)


def test_every_pass_sees_the_same_draws_and_the_generator_goes_on_as_after_one_pass() -> None:
    class Drawing(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.drawn: list[torch.Tensor] = []

        def calculate_loss(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
            self.drawn.append(torch.randint(1, 7, rows["neg"].shape))
            return super().calculate_loss({**rows, "neg": self.drawn[-1]})

    model, method = Drawing(), strategy(GENDER)
    method.prepare(model)
    torch.manual_seed(4)
    method.backward(model, batch())
    after = torch.rand(3)
    assert len(model.drawn) == 3 and all(torch.equal(model.drawn[0], other) for other in model.drawn[1:])
    torch.manual_seed(4)
    torch.randint(1, 7, (20,))
    assert torch.equal(after, torch.rand(3))


def test_state_goes_on_exactly() -> None:
    first, model = strategy(GENRE), Tiny()
    first.prepare(model)
    first.backward(model, batch())
    first.end_epoch(0)
    second, other = strategy(GENRE), Tiny()
    second.prepare(other)
    second.load_state_dict(first.state_dict())
    for method, which in ((first, model), (second, other)):
        which.zero_grad()
        method.backward(which, batch(9, 1))
    for got, expected in zip(gradients(other), gradients(model), strict=True):
        assert torch.equal(got, expected)
    assert torch.equal(first.weights, second.weights)
