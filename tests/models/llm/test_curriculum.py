"""Lambert W against scipy, SuperLoss against its minimum found by search, tau against its recursion."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import lambertw

from recbole_fair.errors import UsageError
from recbole_fair.models.llm.curriculum import Curriculum, confidence, lambert_w, super_loss

BRANCH = -1 / math.e
POINTS = np.concatenate([BRANCH + np.logspace(-14, -0.5, 400), np.linspace(-0.3, 3, 500), np.logspace(0, 8, 200)])


def test_lambert_w_is_scipys_in_double_precision() -> None:
    expected = lambertw(POINTS).real
    np.testing.assert_allclose(lambert_w(torch.tensor(POINTS)).numpy(), expected, rtol=1e-13, atol=2e-8)
    away = POINTS > BRANCH + 1e-6
    np.testing.assert_allclose(lambert_w(torch.tensor(POINTS[away])).numpy(), expected[away], rtol=1e-10, atol=1e-13)


def test_the_slope_of_lambert_w_is_the_closed_form_over_scipys_values() -> None:
    points = POINTS[POINTS > BRANCH + 1e-6]
    x = torch.tensor(points, requires_grad=True)
    lambert_w(x).sum().backward()
    w = lambertw(points).real
    np.testing.assert_allclose(x.grad.numpy(), 1 / (np.exp(w) * (1 + w)), rtol=1e-8)


def test_float32_is_guarded_at_and_around_the_branch_point() -> None:
    branch = torch.tensor(BRANCH, dtype=torch.float32)
    x = torch.stack([torch.nextafter(branch, torch.tensor(-1.0)), branch, torch.nextafter(branch, torch.tensor(0.0))])
    x.requires_grad_()
    w = lambert_w(x)
    w.sum().backward()
    assert torch.allclose(w, torch.tensor(-1.0), atol=1e-3)
    assert w.dtype == torch.float32
    assert torch.isfinite(x.grad).all()
    assert (x.grad <= math.e * 1.0001e4).all()
    assert (x.grad > 0).all()
    assert torch.isnan(lambert_w(torch.tensor([-0.4, -math.inf]))).all()


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_the_value_is_the_minimum_over_sigma(strength: float) -> None:
    tau = torch.tensor(0.3)
    for loss in (0.2, 0.3, 0.5, 1.4, 6.0):

        def value(log_sigma: float, loss: float = loss) -> float:
            return (loss - 0.3) * math.exp(log_sigma) + strength * log_sigma**2

        best = minimize_scalar(value, bounds=(-20, 1), method="bounded", options={"xatol": 1e-10})
        assert super_loss(torch.tensor(loss), tau, strength).item() == pytest.approx(best.fun, abs=2e-6)
        assert math.log(confidence(torch.tensor(loss), tau, strength)) == pytest.approx(best.x, abs=1e-3)


def test_sigma_is_scipys_closed_form_and_held_at_e() -> None:
    losses = torch.linspace(-2, 5, 300)
    beta = (losses.double().numpy() - 0.6) / 0.25
    expected = np.exp(-lambertw(np.maximum(-2 / math.e + 1e-12, beta) / 2).real)
    np.testing.assert_allclose(confidence(losses, torch.tensor(0.6), 0.25).numpy(), expected, rtol=2e-3)
    inside = beta > -0.73
    np.testing.assert_allclose(confidence(losses, torch.tensor(0.6), 0.25).numpy()[inside], expected[inside], rtol=2e-5)
    assert confidence(torch.tensor(-9.0), torch.tensor(0.6), 0.25).item() == pytest.approx(math.e, rel=1e-6)


def test_the_gradient_is_sigma_and_the_slope_of_the_value_everywhere() -> None:
    losses = torch.linspace(-1, 4, 200, dtype=torch.double, requires_grad=True)
    tau = torch.tensor(0.5, dtype=torch.double)
    super_loss(losses, tau, 0.25).sum().backward()
    sigma = confidence(losses.detach(), tau, 0.25)
    torch.testing.assert_close(losses.grad, sigma)
    step = 1e-5
    with torch.no_grad():
        slope = (super_loss(losses + step, tau, 0.25) - super_loss(losses - step, tau, 0.25)) / (2 * step)
    torch.testing.assert_close(losses.grad, slope, atol=1e-4, rtol=1e-3)
    assert losses.grad.max().item() == pytest.approx(math.e)


def test_gradients_stay_finite_at_the_clamp_in_float32() -> None:
    tau, strength = torch.tensor(math.log(2)), 0.25
    losses = (tau - 2 / math.e * strength + torch.linspace(-1e-4, 1e-4, 2001)).requires_grad_()
    super_loss(losses, tau, strength).sum().backward()
    assert torch.isfinite(losses.grad).all()
    assert losses.grad.max() <= math.e * 1.00001


def test_tau_follows_its_recursion_and_travels_in_a_checkpoint() -> None:
    curriculum = Curriculum(strength=0.25, rate=0.8)
    assert curriculum.tau.item() == pytest.approx(math.log(2))
    curriculum(torch.tensor([0.1, 0.9]))
    assert curriculum.tau.item() == pytest.approx(math.log(2))
    values = curriculum(torch.tensor([0.2, 0.8], requires_grad=True))
    expected = 0.8 * values.mean().item() + 0.2 * math.log(2)
    curriculum.update(values.mean())
    assert curriculum.tau.item() == pytest.approx(expected, rel=1e-6)
    assert not curriculum.tau.requires_grad
    again = Curriculum()
    again.load_state_dict(curriculum.state_dict())
    assert torch.equal(again.tau, curriculum.tau)


def test_tau_settles_where_the_mean_super_loss_equals_it() -> None:
    curriculum, losses = Curriculum(), torch.tensor([0.45, 0.6, 0.7, 0.65])
    for _ in range(200):
        curriculum.update(curriculum(losses).mean())
    assert curriculum(losses).mean().item() == pytest.approx(curriculum.tau.item(), abs=1e-6)
    assert 0.2 < curriculum.tau.item() < 0.3


@pytest.mark.parametrize(
    ("strength", "rate", "classes"), [(0.0, 0.8, 2), (-1.0, 0.8, 2), (0.25, 1.5, 2), (0.25, 0.0, 2)]
)
def test_impossible_settings_are_refused(strength: float, rate: float, classes: int) -> None:
    with pytest.raises(UsageError, match=r"curriculum_(lambda|delta)"):
        Curriculum(strength, rate)
