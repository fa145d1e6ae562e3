"""MultiFR and its solver against scipy's quadratic programmes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from strategy_toy import EVERY, GENDER, GENRE, Tiny, batch, gradients_under, names_of, plain_gradients, view

from recbole_fair.strategies.gradients import frank_wolfe
from recbole_fair.strategies.multifr import MultiFR


def smallest_norm(gram: np.ndarray) -> float:
    """The optimum by sequential quadratic programming."""
    size = len(gram)
    found = minimize(
        lambda weights: weights @ gram @ weights,
        np.full(size, 1 / size),
        jac=lambda weights: 2 * gram @ weights,
        bounds=[(0, 1)] * size,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-14},
    )
    return float(found.fun)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(0, 10**6))
def test_frank_wolfe_reaches_the_optimum_of_a_quadratic_programme(size: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(0.3, 1.0, (size, 12))
    gram = rows @ rows.T
    weights = frank_wolfe(gram, 3000)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert weights @ gram @ weights == pytest.approx(smallest_norm(gram), rel=2e-2, abs=1e-6)


def test_conflicting_gradients_give_a_direction_that_hurts_none() -> None:
    rows = np.array([[3.0, 1.0, 0.0], [-1.0, 2.0, 0.5], [0.5, 1.0, 2.0]])
    direction = frank_wolfe(rows @ rows.T, 2000) @ rows
    assert (rows @ direction > 0).all()


def test_degenerate_gradients() -> None:
    assert frank_wolfe(np.zeros((3, 3)), 10).tolist() == pytest.approx([1 / 3] * 3)
    assert frank_wolfe(np.ones((2, 2)), 10).sum() == pytest.approx(1)
    assert frank_wolfe(np.array([[4.0]]), 10).tolist() == [1.0]


def strategy(*parts: Any, **keys: Any) -> MultiFR:
    return MultiFR(view(*parts, **{"solver_steps": 3000, "fair_tasks": "each", "gradient_scale": "none", **keys}))


@pytest.mark.parametrize("parts", [[GENDER], [GENRE]], ids=["two users", "three items, one of them in no group"])
def test_gradient_is_the_smallest_combination_found_by_scipy(parts: list[Any]) -> None:
    """Of the samples in a group; the others' gradient is that of plain training."""
    rows, model = batch(30), Tiny()
    samples = model.samples(rows)
    field = "user_id" if parts[0] is GENDER else "item_id"
    grouped = torch.tensor([bool(names_of(parts[0], each)) for each in rows[field].tolist()])
    losses = [samples[grouped].mean()]
    for name in parts[0].names:
        places = [place for place, each in enumerate(rows[field].tolist()) if name in names_of(parts[0], each)]
        losses.append(torch.stack([samples[place] for place in places]).mean())
    own = []
    for loss in losses:
        parts_of = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        own.append(torch.cat([part.flatten() for part in parts_of]).double().numpy())
    norm = smallest_norm(np.stack(own) @ np.stack(own).T)

    rest = model.regulariser() + samples[~grouped].sum() / len(samples)
    others = torch.autograd.grad(rest, list(model.parameters()), allow_unused=True)
    pairs = zip(gradients_under(strategy(*parts), rows), others, strict=True)
    ours = [mine if other is None else mine - other for mine, other in pairs]
    got = torch.cat([part.flatten() for part in ours]).double().numpy() / float(grouped.double().mean())
    assert got @ got == pytest.approx(norm, rel=5e-3)
    assert all(got @ each >= norm * 0.99 for each in own), "no objective rises"


@pytest.mark.parametrize(("parts", "mix"), [([EVERY], 1.0), ([GENDER], 0.0)], ids=["one group", "strength 0"])
def test_plain_gradient(parts: list[Any], mix: float) -> None:
    rows = batch()
    got = gradients_under(strategy(*parts, fair_weight=mix), rows)
    for mine, plain in zip(got, plain_gradients(rows), strict=True):
        torch.testing.assert_close(mine, plain)


def test_a_batch_that_lacks_a_group_has_one_objective_less() -> None:
    rows = {name: values[:2] for name, values in batch(1).items()}
    got = gradients_under(strategy(GENDER), rows)
    for mine, plain in zip(got, plain_gradients(rows), strict=True):
        torch.testing.assert_close(mine, plain)


@pytest.mark.parametrize("scale", ["none", "l2", "loss", "loss+"])
@pytest.mark.parametrize("tasks", ["spread", "each"])
def test_scaled_tasks_have_the_weights_that_scipy_finds(tasks: str, scale: str) -> None:
    """The tasks by loops; the gradient left is that of sum_k w_k T_k with w from the scaled gradients."""
    rows, model = batch(30), Tiny()
    samples = model.samples(rows)
    genders = [{"F", "M"} & set(names_of(GENDER, user)) for user in rows["user_id"].tolist()]
    grouped = torch.tensor([bool(of) for of in genders])
    means = [torch.stack([samples[b] for b, of in enumerate(genders) if name in of]).mean() for name in "FM"]
    middle = (means[0] + means[1]) / 2
    fair = [((means[0] - middle) ** 2 + (means[1] - middle) ** 2) / 2] if tasks == "spread" else means
    losses = [samples[grouped].mean(), *fair]
    theta = list(model.parameters())
    own = [torch.autograd.grad(loss, theta, retain_graph=True) for loss in losses]
    flat = torch.stack([torch.cat([part.flatten() for part in parts]) for parts in own]).double().numpy()
    lengths, values = np.linalg.norm(flat, axis=1), np.array([float(loss) for loss in losses])
    scaled = flat / {"none": 1 + 0 * values, "l2": lengths, "loss": values, "loss+": values * lengths}[scale][:, None]
    gram = scaled @ scaled.T
    ours = strategy(GENDER, fair_tasks=tasks, gradient_scale=scale)
    ours.parameters = theta
    assert ours.tasks(losses[0], torch.stack(means)).tolist() == pytest.approx(values.tolist(), rel=1e-5)
    weights = frank_wolfe(ours.gram(torch.stack(losses)), 3000)
    assert weights @ gram @ weights == pytest.approx(smallest_norm(gram), rel=5e-3, abs=1e-9)
    got = gradients_under(strategy(GENDER, fair_tasks=tasks, gradient_scale=scale), rows)
    objective = float(grouped.double().mean()) * sum(w * loss for w, loss in zip(weights.tolist(), losses, strict=True))
    objective = objective + samples[~grouped].sum() / len(samples) + model.regulariser()
    for mine, expected in zip(got, torch.autograd.grad(objective, theta), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-5)


def test_as_two_tasks_no_group_is_given_up_for_the_other_and_the_recommendation_loss_never_rises() -> None:
    """With a task a group L_0 changes nothing where groups are a partition: its gradient lies between theirs."""
    rows, losses = batch(40), torch.tensor([1.0, 3.0])
    assert (GENDER.membership.sum(1)[1:] == 1).all(), "every user has one gender"
    each = strategy(GENDER)
    assert (
        len(each.tasks(losses.mean(), losses)) == 3
        and len(strategy(GENDER, fair_tasks="spread").tasks(losses.mean(), losses)) == 2
    )
    model = Tiny()
    theta, samples = list(model.parameters()), model.samples(rows)
    female = torch.tensor(["F" in names_of(GENDER, user) for user in rows["user_id"].tolist()])
    each.parameters = theta
    with_it = each.gram(torch.stack([samples.mean(), samples[female].mean(), samples[~female].mean()]))
    without, solved = with_it[1:, 1:], [frank_wolfe(gram, 3000) for gram in (with_it, with_it[1:, 1:])]
    assert solved[0] @ with_it @ solved[0] == pytest.approx(solved[1] @ without @ solved[1], rel=1e-3)
