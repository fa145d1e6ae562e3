"""DRORec and PopDRO against plain loops over single interactions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from strategy_toy import (
    EVERY,
    GENDER,
    GENRE,
    ITEMS,
    PAIRS,
    Tiny,
    batch,
    gradients,
    gradients_under,
    names_of,
    plain_gradients,
)
from strategy_toy import view as plain_view

from recbole_fair.strategies.dro import DRORec, PairPeriods, PopDRO, expected_popularity, periods_of

KEYS = {"group_step": 0.5, "loss_smoothing": 0.3, "periods": 3, "popularity_strength": 2.0, "trend_strength": 0.4}
TIMES = [0, 4, 5, 9, 1, 8, 3, 10, 12]


def view(*parts: Any, **more: Any) -> Any:
    return plain_view(*parts, **{**KEYS, **more})


class Loop:
    """The same rules with dictionaries and floats: one sample, one group at a time."""

    def __init__(self, names: tuple[str, ...], step: float, smoothing: float) -> None:
        self.names, self.step, self.smoothing = names, step, smoothing
        self.running: dict[str, float] = {}
        self.weight = dict.fromkeys(names, 1 / len(names))

    def see(self, losses: dict[str, float]) -> None:
        for name, loss in losses.items():
            former = self.running.get(name, loss)
            self.running[name] = (1 - self.smoothing) * former + self.smoothing * loss
        centre = sum(self.running.values()) / len(self.running)
        for name, running in self.running.items():
            self.weight[name] *= math.exp(self.step * (running - centre))
        total = sum(self.weight.values())
        self.weight = {name: value / total for name, value in self.weight.items()}


def means_by_loop(samples: list[float], items: list[int]) -> dict[str, float]:
    """Mean loss of each genre that occurs."""
    found: dict[str, list[float]] = {}
    for loss, item in zip(samples, items, strict=True):
        for name in names_of(GENRE, item):
            found.setdefault(name, []).append(loss)
    return {name: float(np.mean(values)) for name, values in found.items()}


def test_weights_and_gradient_against_a_loop_over_batches_that_lack_groups() -> None:
    strategy, model, reference = DRORec(view(GENRE)), Tiny(), Tiny()
    strategy.prepare(model)
    loop, lacking = Loop(GENRE.names, 0.5, 0.3), 0
    for seed in range(12):
        rows = batch(4, seed)
        model.zero_grad()
        strategy.backward(model, rows)
        samples, items = reference.samples(rows), rows["item_id"].tolist()
        means = means_by_loop(samples.tolist(), items)
        lacking += len(means) < 3
        loop.see(means)
        assert strategy.weights.tolist() == pytest.approx([loop.weight[name] for name in GENRE.names], rel=1e-4)
        present = sum(loop.weight[name] for name in means)
        grouped = [place for place, item in enumerate(items) if names_of(GENRE, item)]
        loss = sum(samples[place] for place in range(4) if place not in grouped) / 4 + reference.regulariser()
        for name in means:
            inside = [samples[place] for place in grouped if name in names_of(GENRE, items[place])]
            loss = loss + len(grouped) / 4 * loop.weight[name] / present * sum(inside) / len(inside)
        reference.zero_grad()
        loss.backward()
        for got, expected in zip(gradients(model), gradients(reference), strict=True):
            torch.testing.assert_close(got, expected)
    assert lacking > 3, "the draw must test absent groups"


def test_a_batch_without_the_group_that_has_all_the_weight_trains_the_others() -> None:
    strategy = DRORec(view(GENDER))
    strategy.log_weights = torch.tensor([0.0, -200.0])
    samples = torch.tensor([1.0, 3.0], requires_grad=True)
    strategy.objective(samples, torch.tensor([[0.0, 1.0], [0.0, 1.0]])).backward()
    assert samples.grad.tolist() == [0.5, 0.5]


def test_the_worse_group_gains_weight_and_order_of_groups_does_not_matter() -> None:
    strategy = DRORec(view(GENDER))
    samples, membership = torch.tensor([2.0, 1.0, 1.0]), torch.tensor([[1.0, 0], [0, 1], [0, 1]])
    strategy.objective(samples, membership)
    assert strategy.weights[0] > strategy.weights[1]
    turned = DRORec(view(GENDER))
    turned.objective(samples, membership.flip(1))
    torch.testing.assert_close(strategy.weights, turned.weights.flip(0))


@pytest.mark.parametrize(
    ("kind", "keys"), [(DRORec, {}), (PopDRO, {"popularity_strength": 0.0, "trend_strength": 0.0})]
)
def test_one_group_is_the_plain_gradient(kind: Any, keys: dict[str, float]) -> None:
    rows = batch()
    got = gradients_under(kind(view(EVERY, times=TIMES, **keys)), rows)
    for mine, plain in zip(got, plain_gradients(rows), strict=True):
        torch.testing.assert_close(mine, plain)


def test_one_group_with_a_trend_weighs_by_popularity_only() -> None:
    rows, model = batch(), Tiny()
    strategy = PopDRO(view(EVERY, times=TIMES))
    emphasis = strategy.emphasis[rows["item_id"]]
    assert emphasis.unique().numel() > 1
    ((emphasis * model.samples(rows)).sum() / emphasis.sum() + model.regulariser()).backward()
    for got, expected in zip(gradients_under(strategy, rows), gradients(model), strict=True):
        torch.testing.assert_close(got, expected)


def test_popularity_and_periods_against_a_loop() -> None:
    period = periods_of(view(GENRE, times=TIMES), 3)
    assert period.tolist() == [min(2, int(time / 4)) for time in TIMES], "spans of four"
    shares = np.zeros((3, ITEMS))
    for (_, item), stage in zip(PAIRS, period.tolist(), strict=True):
        shares[stage, item] += 1
    shares /= shares.sum(1, keepdims=True)
    expected = [max(0.0, now + 0.2 * (now - before)) for now, before in zip(shares[2], shares[1], strict=True)]
    got = expected_popularity(torch.tensor([item for _, item in PAIRS]), period, ITEMS, 0.2)
    np.testing.assert_allclose(got.numpy(), np.array(expected) / max(expected), rtol=1e-6)


def test_pairs_find_their_latest_period() -> None:
    found = PairPeriods(torch.tensor([1, 2, 1]), torch.tensor([3, 1, 3]), torch.tensor([0, 1, 2]), 5, "cpu")
    assert found(torch.tensor([2, 1]), torch.tensor([1, 3])).tolist() == [1, 2]


def test_trend_signal_against_autograd_of_each_period() -> None:
    strategy, model, rows = PopDRO(view(GENDER, times=TIMES)), Tiny(), batch(30)
    strategy.prepare(model)
    seen = []
    signal = strategy.signal
    strategy.signal = lambda *given: seen.append(signal(*given)) or seen[-1]  # type: ignore[method-assign]
    strategy.backward(model, rows)

    reference, latest = Tiny(), {}
    for (user, item), time in zip(PAIRS, TIMES, strict=True):
        latest[user, item] = max(latest.get((user, item), 0), min(2, int(time / 4)))
    emphasis = strategy.emphasis.tolist()

    def gradient_of(losses: list[torch.Tensor], weights: list[float]) -> np.ndarray:
        loss = sum(weight * each for weight, each in zip(weights, losses, strict=True)) / sum(weights)
        return np.concatenate(
            [part.numpy().ravel() for part in torch.autograd.grad(loss, list(reference.parameters()))]
        )

    def chosen(test: Any) -> list[int]:
        pairs = zip(rows["user_id"].tolist(), rows["item_id"].tolist(), strict=True)
        return [place for place, pair in enumerate(pairs) if test(*pair)]

    recency = [math.exp(stage - 3) for stage in range(3)]
    recency = [math.exp(value) for value in recency]
    trend = np.zeros(sum(parameter.numel() for parameter in reference.parameters()))
    for stage in range(3):
        samples = reference.samples(rows)
        places = chosen(lambda user, item, stage=stage: latest[user, item] == stage)
        trend += recency[stage] * gradient_of([samples[place] for place in places], [1.0] * len(places))
    expected = []
    for name in GENDER.names:
        samples = reference.samples(rows)
        places = chosen(lambda user, item, name=name: name in names_of(GENDER, user))
        weights = [emphasis[int(rows["item_id"][place])] for place in places]
        own = gradient_of([samples[place] for place in places], weights)
        loss = np.average([samples[place].item() for place in places], weights=weights)
        cosine = own @ trend / np.linalg.norm(own) / np.linalg.norm(trend)
        expected.append(0.6 * loss + 0.4 * loss * cosine)
    np.testing.assert_allclose(seen[0].numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("times", [None, [7] * len(PAIRS)], ids=["no times", "equal times"])
def test_without_timestamps_there_is_no_trend_and_the_result_says_so(times: Any) -> None:
    strategy = PopDRO(view(GENRE, times=times))
    assert (strategy.periods, strategy.trend) == (1, 0.0)
    assert "no timestamps" in strategy.notes()[0]
    assert not PopDRO(view(GENRE, times=TIMES)).notes()


def test_state_goes_on_exactly() -> None:
    first, model = DRORec(view(GENRE)), Tiny()
    first.prepare(model)
    first.backward(model, batch(2))
    second = DRORec(view(GENRE))
    second.load_state_dict(first.state_dict())
    other = Tiny()
    second.prepare(other)
    for strategy, which in ((first, model), (second, other)):
        which.zero_grad()
        strategy.backward(which, batch(5, 9))
    assert torch.equal(first.log_weights, second.log_weights)
    for got, expected in zip(gradients(other), gradients(model), strict=True):
        assert torch.equal(got, expected)
