"""BiFair's group weights against autograd, scipy's solvers and loops."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from recbole_fair.strategies.bifair.group_weights import (
    algorithm_2,
    column_scale,
    entropy_coefficients,
    linear_programme,
)
from recbole_fair.strategies.gradients import frank_wolfe


def gradients(groups: int, width: int, seed: int, shared: float = 0.0) -> np.ndarray:
    """Random rows with a part in common."""
    draw = np.random.default_rng(seed)
    return draw.normal(size=(groups, width)) + shared * draw.normal(size=width)


@pytest.mark.parametrize("groups", [2, 5, 18])
def test_the_entropys_gradient_has_the_sign_of_eq_10_and_not_of_eq_12(groups: int) -> None:
    torch.manual_seed(groups)
    losses = torch.randn(groups, dtype=torch.float64, requires_grad=True)
    share = losses.softmax(0)
    (share @ share.log()).backward()
    found = entropy_coefficients(losses.detach().numpy())
    np.testing.assert_allclose(found, losses.grad.numpy(), rtol=1e-9, atol=1e-12)
    p = np.exp(losses.detach().numpy()) / np.exp(losses.detach().numpy()).sum()
    printed = -(p * (np.log(p) * p).sum() - p * np.log(p))  # -sum of [...] in the last line of (12) is grad H
    np.testing.assert_allclose(printed, found, rtol=1e-9, atol=1e-12)


def test_entropy_coefficients_sum_to_zero_favour_large_losses_and_do_not_overflow() -> None:
    found = entropy_coefficients(np.array([900.0, 901.0, 899.0]))
    assert found.sum() == pytest.approx(0, abs=1e-12)
    assert found.argmax() == 1
    assert np.allclose(entropy_coefficients(np.full(4, 2.0)), 0)


@pytest.mark.parametrize("shape", [(2, 5), (3, 2), (10, 30), (19, 8), (19, 200)])
@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_frank_wolfe_against_scipys_quadratic_solver(shape: tuple[int, int], shared: float) -> None:
    rows = gradients(*shape, seed=sum(shape), shared=shared)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gram, count = rows @ rows.T, len(rows)
    weights = frank_wolfe(gram, 2000)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    expected = minimize(
        lambda w: w @ gram @ w, np.full(count, 1 / count), jac=lambda w: 2 * gram @ w, method="SLSQP",
        bounds=[(0, 1)] * count, constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 2000},
    )  # fmt: skip
    assert weights @ gram @ weights == pytest.approx(expected.fun, abs=1e-6)


@given(st.integers(2, 6), st.integers(1, 6), st.integers(0, 10_000), st.sampled_from(["raw", "unit"]))
@settings(max_examples=60, deadline=None)
def test_algorithm_2_is_frank_wolfe_over_the_explicit_columns(n: int, width: int, seed: int, columns: str) -> None:
    """The extra column's products come from the N x N Gram matrix; here it is built as a vector."""
    rows, losses = gradients(n, width, seed), np.random.default_rng(seed).normal(size=n)
    extra = entropy_coefficients(losses) @ rows
    explicit = np.vstack([rows, extra])
    length = np.linalg.norm(explicit, axis=1)
    if columns == "unit":
        explicit = explicit * (length.mean() / length)[:, None]
    weights = frank_wolfe(explicit @ explicit.T, 3000)
    full = algorithm_2(rows @ rows.T, losses, columns, "full", 3000) @ rows
    groups = algorithm_2(rows @ rows.T, losses, columns, "groups", 3000) @ rows
    scale = length.max()
    np.testing.assert_allclose(full, weights @ explicit, atol=2e-4 * scale)
    if np.linalg.matrix_rank(explicit) == len(explicit):  # else the weights themselves are not unique
        np.testing.assert_allclose(groups, weights[:-1] @ explicit[:-1], atol=2e-3 * scale)


def test_algorithm_2_with_equal_losses_has_no_entropy_column_to_scale() -> None:
    rows = gradients(3, 7, seed=1)
    gram = rows @ rows.T
    found = algorithm_2(gram, np.ones(3), "unit", "full", 500)
    scale = column_scale(np.diag(gram), "unit")
    expected = scale * frank_wolfe(gram * np.outer(scale, scale), 500)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # As printed, the column of length 0 takes all the weight and the step vanishes.
    np.testing.assert_allclose(algorithm_2(gram, np.ones(3), "raw", "full", 500) @ rows, 0, atol=1e-6)
    assert algorithm_2(np.zeros((3, 3)), np.ones(3), "unit", "full", 500).tolist() == [0, 0, 0], "nowhere to go"


def test_unit_columns_have_one_length_and_the_size_of_a_gradient() -> None:
    norms = np.array([3.0, 0.5, 0.0, 1.0])
    scaled = norms * column_scale(norms**2, "unit")
    np.testing.assert_allclose(scaled, [1.5, 1.5, 0.0, 1.5])
    np.testing.assert_allclose(column_scale(norms**2, "raw"), 1)


def vertices(gram: np.ndarray) -> list[np.ndarray]:
    """Corners of {w on the simplex, Kw >= 0}: wherever N - 1 of its 2N inequalities are tight."""
    count, found = len(gram), []
    rows = np.vstack([np.eye(count), gram])
    for tight in combinations(range(2 * count), count - 1):
        system = np.vstack([rows[list(tight)], np.ones(count)])
        if abs(np.linalg.det(system)) > 1e-9:
            corner = np.linalg.solve(system, np.eye(count)[-1])
            if (rows @ corner > -1e-9).all():
                found.append(corner)
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("columns", ["raw", "unit"])
def test_linear_programme_against_its_corners(seed: int, columns: str) -> None:
    rows, losses = gradients(4, 6, seed, shared=0.5), np.random.default_rng(seed).normal(size=4)
    scale = column_scale((rows**2).sum(1), columns)
    scaled = rows * scale[:, None]
    target = entropy_coefficients(losses) @ rows  # -grad H
    corners = vertices(scaled @ scaled.T)
    best = max(corner @ scaled @ target for corner in corners)
    found = linear_programme(rows @ rows.T, losses, columns)
    direction = found @ rows
    assert direction @ target == pytest.approx(best, abs=1e-6 * max(1, abs(best)))
    assert (rows @ direction >= -1e-6).all(), "a step along it would raise a group's loss"
    assert (found / scale).sum() == pytest.approx(1)


def test_linear_programme_is_scipys_on_the_equation_as_written() -> None:
    from scipy.optimize import linprog

    rows, losses = gradients(9, 20, seed=3), np.random.default_rng(3).normal(size=9)
    p = np.exp(losses) / np.exp(losses).sum()
    bracket = p * np.log(p) - p * (p * np.log(p)).sum()
    right = sum(b * g for b, g in zip(bracket, rows, strict=True))
    expected = linprog(-(rows @ right), A_ub=-(rows @ rows.T), b_ub=np.zeros(9), A_eq=np.ones((1, 9)), b_eq=[1])
    found = linear_programme(rows @ rows.T, losses, "raw")
    assert found @ rows @ right == pytest.approx(-expected.fun, rel=1e-6)


def test_renormalised_weights_are_those_of_eq_11_in_the_same_proportions_with_a_sum_of_1() -> None:
    """Where the entropy's column has weight; else both are the same."""
    dropped = 0
    for seed in range(20):
        rows = gradients(4, 30, seed, shared=0.5)
        losses = np.random.default_rng(seed).normal(3, 0.3, 4)
        printed = algorithm_2(rows @ rows.T, losses, "raw", "groups", 3000)
        shared_out = algorithm_2(rows @ rows.T, losses, "raw", "renormalised", 3000)
        dropped += printed.sum() < 0.99
        if printed.any():
            assert shared_out.sum() == pytest.approx(1)
            np.testing.assert_allclose(shared_out * printed.sum(), printed, atol=1e-9)
    assert dropped > 5, "Eq. (11) loses weight"
