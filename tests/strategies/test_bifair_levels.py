"""BiFair's two levels against naive backward passes and fully unrolled autograd."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from refinable_toy import KEYS, TinyText, batch
from strategy_toy import EVERY, GENDER, GENRE, view

from recbole_fair.errors import TrainingError, UsageError
from recbole_fair.models.losses import info_nce
from recbole_fair.strategies.bifair import refining
from recbole_fair.strategies.bifair.balancing import shares_for
from recbole_fair.strategies.bifair.hypergradient import hypergradient
from recbole_fair.strategies.bifair.method import BiFair, distance
from recbole_fair.strategies.bifair.refining import column_gradients
from recbole_fair.strategies.bifair.separate import Separate
from recbole_fair.strategies.gradients import angle, moved
from recbole_fair.strategies.itfr import ITFR
from recbole_fair.strategies.multifr import MultiFR
from recbole_fair.strategies.reweight import inverse_frequency


def prepared(*parts: Any, kind: type[BiFair] = BiFair, **keys: Any) -> tuple[Any, TinyText]:
    strategy, model = kind(view(*parts, **{**KEYS, **keys})), TinyText()
    user, item, columns = strategy.view._sides
    strategy.view.__dict__["_sides"] = user.double(), item.double(), columns
    strategy.prepare(model)
    return strategy, model


def samples(model: TinyText, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    """Row losses, written down without the model's loss module."""
    users, items = model.unit_vectors()
    chosen = users[rows["user_id"]]
    positive = (chosen * items[rows["item_id"]]).sum(1) / 0.3
    negative = (chosen.unsqueeze(1) * items[rows["negatives"]]).sum(2) / 0.3
    return info_nce(positive, negative)


def group_losses(model: TinyText, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean loss of each genre, by a loop."""
    losses = samples(model, rows)
    members = [[GENRE.membership[item, group] for item in rows["item_id"].tolist()] for group in range(3)]
    return torch.stack([losses[torch.tensor(chosen)].mean() for chosen in members])


def naive_gradients(model: TinyText, rows: dict[str, torch.Tensor], targets: list[torch.Tensor]) -> torch.Tensor:
    """One backward pass a group through everything."""
    found = []
    for group in range(3):
        parts = torch.autograd.grad(group_losses(model, rows)[group], targets)
        found.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(found)


@pytest.mark.parametrize("by", ["theta", "vectors"])
def test_column_gradients_are_those_of_a_backward_pass_each(by: str) -> None:
    strategy, model = prepared(GENRE)
    rows = batch()
    targets = strategy.parameters if by == "theta" else [strategy.vectors]
    membership = strategy.view.membership(rows["user_id"], rows["item_id"])
    assert (membership.sum(1) == 0).any() and (membership.sum(1) > 1).any(), "rows of no genre, and of two"
    rest = (membership.sum(1, keepdim=True) == 0).double()
    losses, found = column_gradients(
        model, model.draw(rows), torch.cat([membership / membership.sum(0), rest], 1), targets
    )
    torch.testing.assert_close(found[:3], naive_gradients(model, rows, targets))
    torch.testing.assert_close(losses, samples(model, rows).detach())


def test_entropy_form_against_its_formula() -> None:
    strategy, model = prepared(GENRE, outer_every=10**6)
    rows = batch()
    logged = strategy.backward(model, rows)
    p = group_losses(model, rows).softmax(0)
    objective = samples(model, rows).mean() + 0.8 * (p * p.log()).sum()
    for parameter, expected in zip(
        strategy.parameters, torch.autograd.grad(objective, strategy.parameters), strict=True
    ):
        torch.testing.assert_close(parameter.grad, expected)
    torch.testing.assert_close(logged["loss"], samples(model, rows).mean().detach())


@pytest.mark.parametrize("shares", ["natural", "inverse"])
def test_row_weights_are_those_of_a_loop(shares: str) -> None:
    """Running losses, a floor, a mixture; two batches, of which the second lacks a group."""
    keys = {"shares": shares, "least_weight": 0.4, "loss_smoothing": 0.25, "fair_weight": 0.7, "gain": 6.0}
    strategy, model = prepared(GENRE, outer_every=10**6, **keys)
    running: dict[int, float] = {}
    floored = 0
    lacking = ~torch.isin(batch(40)["item_id"], torch.tensor([4, 5]))  # genre c
    for rows in (batch(40), {name: values[lacking] for name, values in batch(40).items()}):
        strategy.backward(model, rows)
        losses = samples(model, rows)
        genres = [{n for n in range(3) if GENRE.membership[item, n]} for item in rows["item_id"].tolist()]
        size = {n: sum(n in of for of in genres) for n in range(3)}
        for n in filter(size.get, range(3)):
            mean = sum(float(loss) for loss, of in zip(losses.tolist(), genres, strict=True) if n in of) / size[n]
            running[n] = 0.75 * running[n] + 0.25 * mean if n in running else mean
        here = {n: running[n] for n in range(3) if size[n]}
        share = {n: math.exp(loss) / sum(map(math.exp, here.values())) for n, loss in here.items()}
        mean_log = sum(p * math.log(p) for p in share.values())
        pull = {n: p * (math.log(p) - mean_log) for n, p in share.items()}
        inverse = inverse_frequency(strategy.view.group_counts).tolist()
        weights: list[float] = []
        for of in genres:
            each = sum(inverse[n] for n in of) / len(of) if of and shares == "inverse" else 1.0
            fair = each + len(genres) * 6.0 * sum(pull[n] / size[n] for n in of)
            weights.append(max(0.4, 0.3 + 0.7 * fair))
        floored += weights.count(0.4)
        objective = torch.tensor(weights).double() @ losses / sum(weights)
        for parameter, expected in zip(
            strategy.parameters, torch.autograd.grad(objective, strategy.parameters), strict=True
        ):
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=1e-7)
    assert set(size.values()) & {0} and floored, "a group was absent, the floor was met"


def test_without_a_gain_it_is_a_quarter_of_the_groups() -> None:
    strategy, _ = prepared(GENRE, gain=None)
    assert strategy.balance.gain == pytest.approx(3 / 4)


@pytest.mark.parametrize("weights", ["frank_wolfe", "lp"])
@pytest.mark.parametrize("mix", [1.0, 0.3])
def test_solved_form_is_the_weighted_sum_of_naive_gradients(weights: str, mix: float) -> None:
    strategy, model = prepared(GENRE, weights=weights, fair_weight=mix, direction="full", outer_every=10**6)
    rows = batch()
    strategy.backward(model, rows)
    naive = naive_gradients(model, rows, strategy.parameters)
    losses = group_losses(model, rows).detach()
    found = torch.from_numpy(strategy.balance.solver((naive @ naive.T).numpy(), losses.numpy()))
    grouped = strategy.view.membership(rows["user_id"], rows["item_id"]).any(1)
    each = samples(model, rows)
    objective = grouped.double().mean() * (found @ group_losses(model, rows)) + each[~grouped].sum() / len(each)
    objective = mix * objective + (1 - mix) * each.mean()
    for parameter, expected in zip(
        strategy.parameters, torch.autograd.grad(objective, strategy.parameters), strict=True
    ):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-6, atol=1e-8)


def test_weights_from_the_vectors_gradients_combine_those_of_the_parameters() -> None:
    """Naively: the Gram matrix of each genre's gradient by the unit vectors, its weights, the parameters' gradient."""
    strategy, model = prepared(GENRE, weights="frank_wolfe", gram="vectors", embedding_size=2, outer_every=10**6)
    rows = batch()
    strategy.backward(model, rows)
    vectors = [part.detach().requires_grad_() for part in model.unit_vectors()]
    each = model.pair_losses(model.draw(rows), *vectors)
    membership = strategy.view.membership(rows["user_id"], rows["item_id"])
    naive = []
    for group in range(3):
        mean = each[membership[:, group] > 0].mean()
        naive.append(torch.cat([part.flatten() for part in torch.autograd.grad(mean, vectors, retain_graph=True)]))
    gram = torch.stack(naive) @ torch.stack(naive).T
    found = torch.from_numpy(strategy.balance.solver(gram.numpy(), group_losses(model, rows).detach().numpy()))
    grouped = membership.any(1)
    losses = samples(model, rows)
    objective = grouped.double().mean() * (found @ group_losses(model, rows)) + losses[~grouped].sum() / len(losses)
    for parameter, expected in zip(
        strategy.parameters, torch.autograd.grad(objective, strategy.parameters), strict=True
    ):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("weights", ["entropy", "frank_wolfe", "lp"])
def test_one_group_is_the_plain_gradient(weights: str) -> None:
    strategy, model = prepared(EVERY, weights=weights, outer_every=10**6)
    rows = batch()
    strategy.backward(model, rows)
    for parameter, expected in zip(
        strategy.parameters, torch.autograd.grad(samples(model, rows).mean(), strategy.parameters), strict=True
    ):
        torch.testing.assert_close(parameter.grad, expected)


@pytest.mark.parametrize("weights", ["entropy", "frank_wolfe", "lp"])
def test_a_group_absent_from_the_batch_is_left_out_and_counted(weights: str) -> None:
    strategy, model = prepared(GENRE, weights=weights)
    keep = ~torch.isin(batch(60)["item_id"], torch.tensor([4, 5]))  # genre c
    rows = {name: values[keep] for name, values in batch(60).items()}
    strategy.backward(model, rows)
    strategy.backward(model, batch(60))
    assert all(torch.isfinite(parameter.grad).all() for parameter in strategy.parameters)
    figures = strategy.end_epoch(0)
    assert [figures[f"absent[{name}]"] for name in "abc"] == [0, 0, 1]
    strategy.backward(model, rows)
    figures = strategy.end_epoch(1)
    assert figures["absent[c]"] == 1 and "weight[c]" not in figures and "group loss[c]" not in figures


def test_a_batch_without_any_group_is_plain() -> None:
    rows = {name: values[:4] for name, values in batch().items()}
    rows["item_id"] = torch.full((4,), 6)  # of no genre
    for weights in ("entropy", "frank_wolfe"):
        strategy, model = prepared(GENRE, weights=weights, outer_every=10**6)
        strategy.backward(model, rows)
        expected = torch.autograd.grad(samples(model, rows).mean(), strategy.parameters)
        for parameter, gradient in zip(strategy.parameters, expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)


def test_groups_may_be_of_users() -> None:
    strategy, model = prepared(GENDER, weights="frank_wolfe")
    strategy.backward(model, batch())
    assert {"weight[F]", "weight[M]"} <= set(strategy.end_epoch(0))


# --- the outer level


def unrolled(strategy: Any, model: TinyText, rows: Any, objective: Any, xi: float) -> torch.Tensor:
    """grad_Z of L(theta - xi grad L(theta, Z), Z) by differentiating through the inner step."""
    names = [name for name, _ in model.named_parameters()]

    def loss(theta: Any) -> torch.Tensor:
        return torch.func.functional_call(model, dict(zip(names, theta, strict=True)), (rows, objective))

    theta = list(model.parameters())
    inner = torch.autograd.grad(loss(theta), theta, create_graph=True)
    ahead = [parameter - xi * gradient for parameter, gradient in zip(theta, inner, strict=True)]
    (found,) = torch.autograd.grad(loss(ahead), [strategy.vectors])
    return found


@pytest.mark.parametrize("weights", ["entropy", "frank_wolfe"])
@pytest.mark.parametrize(("implicit", "tolerance"), [("hessian_vector", 1e-10), ("finite_difference", 1e-6)])
def test_hypergradient_against_unrolled_autograd(weights: str, implicit: str, tolerance: float) -> None:
    strategy, model = prepared(GENRE, weights=weights, implicit=implicit, xi=0.7, fair_weight=0.5, epsilon=1e-4)
    rows = model.draw(batch())
    balanced = strategy.balanced(model, rows, strategy.parameters)
    exact = unrolled(strategy, model, rows, balanced.objective, 0.7)
    found = strategy.outer_gradient(model, rows, balanced)
    first_order = unrolled(strategy, model, rows, balanced.objective, 0.0)
    scale = exact.abs().max()
    assert (exact - first_order).abs().max() > 0.05 * scale, "the implicit part must be there to be tested"
    torch.testing.assert_close(found, exact, rtol=0, atol=tolerance * float(scale))


def test_the_finite_difference_errs_by_the_square_of_its_step() -> None:
    errors = []
    for epsilon in (0.02, 0.01):
        strategy, model = prepared(GENRE, xi=0.7, epsilon=epsilon)
        rows = model.draw(batch())
        balanced = strategy.balanced(model, rows, strategy.parameters)
        exact = unrolled(strategy, model, rows, balanced.objective, 0.7)
        errors.append(float((strategy.outer_gradient(model, rows, balanced) - exact).norm() / exact.norm()))
    assert errors[1] < 1e-2
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


def test_hypergradient_leaves_everything_as_it_was() -> None:
    strategy, model = prepared(GENRE)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    rows = model.draw(batch())
    balanced = strategy.balanced(model, rows, strategy.parameters)
    strategy.outer_gradient(model, rows, balanced)
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name]) and value.grad is None
    assert strategy.vectors.grad is None


def test_parameters_come_back_even_after_an_error() -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    with pytest.raises(RuntimeError), moved([parameter], [torch.ones(2)], 0.1):
        raise RuntimeError
    assert parameter.tolist() == [1.0, 2.0]


def test_without_curvature_or_look_ahead_it_is_the_plain_gradient() -> None:
    vectors = torch.tensor([1.0, 2.0], requires_grad=True)
    theta = torch.nn.Parameter(torch.tensor([3.0]))
    loss = lambda: vectors.square().sum() + 0 * theta.sum()  # noqa: E731
    found = hypergradient(loss, [theta], vectors, [torch.zeros(1)], 0.5, 0.01, "finite_difference")
    torch.testing.assert_close(found.by_vectors, 2 * vectors.detach())


def test_outer_steps_come_every_so_many_batches_and_move_users_too() -> None:
    strategy, model = prepared(GENRE, outer_every=3)
    users = model.unit_vectors()[0].detach()
    moves = []
    for _ in range(6):
        before = strategy.vectors.detach().clone()
        strategy.backward(model, batch())
        moves.append(not torch.equal(before, strategy.vectors))
    assert moves == [False, False, True, False, False, True]
    assert (model.unit_vectors()[0] - users).abs().max() > 1e-4


def test_outer_steps_lower_the_loss_at_a_fixed_projector() -> None:
    strategy, model = prepared(GENRE, outer_lr=0.02, epochs=10**6)
    losses = [float(strategy.backward(model, batch())["loss"]) for _ in range(60)]
    assert losses[-1] < losses[0] - 0.05


def test_the_rate_decays_polynomially_and_the_change_is_logged() -> None:
    strategy, model = prepared(GENRE, epochs=4)
    rates = []
    for epoch in range(4):
        strategy.backward(model, batch())
        figures = strategy.end_epoch(epoch)
        rates.append(strategy.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01 * share**0.9 for share in (0.75, 0.5, 0.25, 0.0)])
    expected = (model.item_vectors.detach() - TinyText().item_vectors).norm()
    assert figures["item vectors moved"] == pytest.approx(float(expected))
    assert 0 <= figures["angle"] <= 180


def test_distance_and_angle() -> None:
    one, other = torch.randn(9, 3), torch.randn(9, 3)
    assert distance(one, other, rows=4) == pytest.approx(float((one - other).norm()), rel=1e-5)
    assert angle([torch.tensor([1.0])], [torch.tensor([-2.0])]) == pytest.approx(180, abs=0.1)
    assert angle([torch.zeros(1)], [torch.ones(1)]) == 0


def test_z_is_trained_but_no_parameter_and_the_encoders_array_is_untouched() -> None:
    strategy, model = prepared(GENRE)
    encoded = strategy.encoded.clone()
    assert "item_vectors" not in dict(model.named_parameters())
    assert "item_vectors" in model.state_dict()
    strategy.backward(model, batch())
    assert torch.equal(strategy.encoded, encoded)
    assert not torch.equal(model.item_vectors, encoded)


# --- Separate


def test_separate_trains_one_level_after_the_other() -> None:
    strategy, model = prepared(GENRE, kind=Separate, epochs=10)
    for epoch in range(10):
        if epoch == 4:
            strategy.begin_next_part()
        for parameter in model.parameters():
            parameter.grad = None
        before = strategy.vectors.detach().clone()
        strategy.backward(model, batch())
        first = epoch < 4
        assert strategy.more_parts == first
        assert torch.equal(before, strategy.vectors) == first
        assert all((parameter.grad is not None) == first for parameter in model.parameters())
        strategy.end_epoch(epoch)
        rate = 0.01 if first else 0.01 * (1 - (epoch - 3) / 6) ** 0.9
        assert strategy.optimizer.param_groups[0]["lr"] == pytest.approx(rate), "Z's rate falls over its own part"


def test_separate_goes_on_in_the_part_where_it_stopped() -> None:
    strategy, model = prepared(GENRE, kind=Separate)
    strategy.backward(model, batch())
    strategy.end_epoch(0)
    for part in (True, False):
        other, _ = prepared(GENRE, kind=Separate)
        other.load_state_dict(strategy.state_dict())
        assert (other.epoch, other.more_parts) == (1, part)
        strategy.begin_next_part()


# --- refusals


def test_more_groups_than_memory_are_refused_with_how_many_fit(monkeypatch: Any) -> None:
    size = sum(parameter.numel() for parameter in TinyText().parameters()) * 8
    monkeypatch.setattr("recbole_fair.strategies.gradients.usable_memory", lambda device: 3.5 * size)
    with pytest.raises(UsageError, match=r"at most 2 do.*weights=entropy"):
        prepared(GENRE, weights="frank_wolfe")
    prepared(GENDER, weights="frank_wolfe")
    prepared(GENRE, weights="entropy")
    prepared(GENRE, weights="frank_wolfe", gram="vectors", embedding_size=1)


@pytest.mark.parametrize(("kind", "each"), [(MultiFR, 1), (ITFR, 4)])
def test_others_that_keep_gradients_of_groups_are_refused_too(kind: Any, each: int, monkeypatch: Any) -> None:
    model = TinyText()
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    monkeypatch.setattr("recbole_fair.strategies.gradients.usable_memory", lambda device: 2 * each * size)
    keys = {
        "solver_steps": 10,
        "fair_tasks": "each",
        "gradient_scale": "none",
        "sharpness_radius": 0.1,
        "group_step": 0.1,
        "loss_power": 0.5,
    }
    with pytest.raises(UsageError, match="do not fit in"):
        kind(view(GENRE, **{**KEYS, **keys})).prepare(model)


@pytest.mark.parametrize("weights", ["entropy", "frank_wolfe", "lp"])
def test_broken_gradients_are_named_before_z_is_stepped(weights: str) -> None:
    strategy, model = prepared(GENRE, weights=weights)
    with torch.no_grad():
        model.second[0, 0] = torch.nan
    before = strategy.vectors.detach().clone()
    # As in training: another test may have imported RecBole's SINE, which turns torch's anomaly mode on.
    with torch.autograd.set_detect_anomaly(False), pytest.raises(TrainingError, match="not finite"):
        strategy.backward(model, batch())
    assert torch.equal(before, strategy.vectors)


def test_models_without_item_vectors_are_refused() -> None:
    with pytest.raises(UsageError, match="this model has none"):
        refining.refine(torch.nn.Linear(2, 2))


# --- shares: auto


@pytest.mark.parametrize(("counts", "expected"), [([50.0, 10.0, 30.0], "inverse"), ([10.0, 50.0, 30.0], "natural")])
def test_inverse_shares_where_rare_groups_have_the_larger_losses(counts: list[float], expected: str) -> None:
    losses = torch.tensor([2.0, 4.0, 3.0, torch.nan])
    assert shares_for(torch.tensor([*counts, 1.0]), losses) == expected
    assert (
        shares_for(torch.tensor([5.0, 5.0]), losses[:2])
        == shares_for(torch.tensor([5.0, 9.0]), losses[2:])
        == "natural"
    )


AUTO: dict[str, Any] = {"shares": "auto", "gain": None, "fair_weight": None, "outer_every": 10**6}


@pytest.mark.parametrize("counts", [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], ids=["one way", "the other"])
def test_auto_is_plain_for_an_epoch_and_then_what_it_has_found(counts: list[float]) -> None:
    strategy, model = prepared(GENRE, **AUTO)
    strategy.view.__dict__["group_counts"] = torch.tensor(counts).double()
    rows = batch()
    strategy.backward(model, rows)
    for parameter, plain in zip(
        strategy.parameters, torch.autograd.grad(samples(model, rows).mean(), strategy.parameters), strict=True
    ):
        torch.testing.assert_close(parameter.grad, plain)
    shares = shares_for(strategy.view.group_counts, group_losses(model, rows).detach())
    assert strategy.end_epoch(0)["inverse shares"] == float(shares == "inverse")
    gain, weight = (3.0, 0.2) if shares == "inverse" else (0.75, 1.0)
    assert (strategy.balance.gain, strategy.balance.mix) == (gain, weight)
    assert (strategy.balance.frequency_weight is not None) == (shares == "inverse")
    strategy.backward(model, {name: values[:9] for name, values in rows.items()})
    strategy.end_epoch(1)
    assert strategy.shares == shares, "decided once"
    other, _ = prepared(GENRE, **AUTO)
    other.load_state_dict(strategy.state_dict())
    assert (other.balance.gain, other.balance.mix) == (gain, weight)


def test_what_is_given_stays_whatever_auto_finds() -> None:
    strategy, model = prepared(GENRE, **{**AUTO, "gain": 0.0, "fair_weight": 0.6})
    strategy.backward(model, batch())
    strategy.end_epoch(0)
    assert (strategy.balance.gain, strategy.balance.mix) == (0.0, 0.6)


def test_a_mixture_with_eq_11_as_printed_says_that_it_holds_less() -> None:
    keys = {"weights": "frank_wolfe", "direction": "groups"}
    assert "renormalised" in prepared(GENRE, **keys, fair_weight=0.3)[0].notes()[0]
    assert not prepared(GENRE, **keys)[0].notes()
