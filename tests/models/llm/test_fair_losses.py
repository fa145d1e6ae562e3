"""L_fair against the metric, double loops and finite differences."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.metrics.stereotypes import histories, sf, sf_terms
from recbole_fair.models.llm.fair_losses import RunningSF, fairllm, ifairlrs, ifairlrs_weights, sf_of_sums

USERS, ITEMS, PAIRS = 12, 15, 40
fast = settings(max_examples=40, deadline=None)


class World:
    """Training pairs of 11 users in two groups (the last one of unknown group) and pairs to be recommended."""

    def __init__(self, seed: int, pairs: str = "in_group") -> None:
        random = np.random.default_rng(seed)
        membership = np.zeros((USERS, 2), dtype=bool)
        membership[1:6, 0] = membership[6:11, 1] = True
        trained = np.r_[1, 6, random.integers(1, USERS, 60)], random.integers(1, ITEMS, 62)
        keys = {"sf_z": 0.0, "sf_d": "signed", "sf_pairs": pairs}
        self.known = histories(keys, Groups("user", "gender", ("F", "M"), membership), *trained, ITEMS)
        self.users, self.items = random.integers(1, USERS, PAIRS), random.integers(1, ITEMS, PAIRS)
        adding = self.known.pair_terms(self.users, self.items)
        self.above, self.below = (torch.from_numpy(part) for part in adding)
        self.yes = torch.from_numpy(random.random(PAIRS))

    def slow(self, yes: list[float]) -> float:
        """Eq. 4 pair by pair over the users' own group, recommended with probability yes."""
        fractions = []
        for g in (0, 1):
            above = below = 0.0
            for p, user, item in zip(yes, self.users, self.items, strict=True):
                if self.known.groups.membership[user, g] and not np.isnan(self.known.shares[user, g]):
                    above += p * self.known.shares[user, g]
                    below += p * self.known.member[item, g]
            if below:
                fractions.append(above / max(below, 1.0))
        return 1 - sum(fractions) / len(fractions)


def soft_sf(yes: Tensor, above: Tensor, below: Tensor) -> Tensor:
    """SF of one batch in which each pair is recommended with probability p(Yes)."""
    return sf_of_sums(torch.stack([yes @ above, yes @ below]))


@pytest.mark.parametrize("pairs", ["in_group", "out_group", "all"])
@fast
@given(st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_at_whole_probabilities_it_is_the_metric(pairs: str, seed: int, share: float) -> None:
    case = World(seed, pairs)
    yes = case.yes.numpy() < share
    known = case.known
    terms = sf_terms(case.users, case.items, yes, known.shares, known.groups.membership, known.member, pairs)
    metric = float(sf(terms.value()))
    loss = float(soft_sf(torch.from_numpy(yes.astype(float)), case.above, case.below))
    assert loss == pytest.approx(0.0 if math.isnan(metric) else metric)


@fast
@given(st.integers(0, 10_000))
def test_soft_sf_against_a_double_loop(seed: int) -> None:
    case = World(seed)
    assert float(soft_sf(case.yes, case.above, case.below)) == pytest.approx(case.slow(case.yes.tolist()))


@fast
@given(st.integers(0, 10_000))
def test_its_gradient_against_finite_differences_of_the_loop(seed: int) -> None:
    case = World(seed)
    yes = case.yes.clone().requires_grad_()
    soft_sf(yes, case.above, case.below).backward()
    for pair in range(0, PAIRS, 5):
        up, down = case.yes.tolist(), case.yes.tolist()
        up[pair] += 1e-6
        down[pair] -= 1e-6
        assert float(yes.grad[pair]) == pytest.approx((case.slow(up) - case.slow(down)) / 2e-6, abs=1e-6)
    assert yes.grad.any()


def test_a_small_denominator_is_held_and_an_absent_group_left_out() -> None:
    above = torch.tensor([[0.5, 0.2], [0.5, 0.2]], dtype=torch.float64)
    below = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    yes = torch.tensor([1e-4, 1.0], dtype=torch.float64, requires_grad=True)
    loss = soft_sf(yes, above, below)
    assert loss.item() == pytest.approx(1 - 0.5 * 1.0001), "1 / 1e-4 would be 5,000"
    loss.backward()
    assert yes.grad.tolist() == pytest.approx([-0.5, -0.5])
    nobody = torch.ones(2, dtype=torch.float64, requires_grad=True)
    loss = soft_sf(nobody, above, torch.zeros_like(below))
    loss.backward()
    assert loss.item() == 0 and not nobody.grad.any()


def slow_running(batches: list[tuple[Tensor, Tensor, Tensor]], decay: float) -> list[float]:
    above, below, values = [0.0, 0.0], [0.0, 0.0], []
    for yes, rows_above, rows_below in batches:
        for g in (0, 1):
            above[g] = decay * above[g] + sum(float(p * h) for p, h in zip(yes, rows_above[:, g], strict=True))
            below[g] = decay * below[g] + sum(float(p * m) for p, m in zip(yes, rows_below[:, g], strict=True))
        fractions = [a / max(b, 1) for a, b in zip(above, below, strict=True) if b]
        values.append(abs(1 - sum(fractions) / len(fractions)))
    return values


def batches(seed: int = 0, size: int = 10) -> list[tuple[Tensor, Tensor, Tensor]]:
    case = World(seed)
    return [tuple(part[start : start + size] for part in (case.yes, case.above, case.below))
            for start in range(0, PAIRS, size)]  # fmt: skip


def test_running_sums_against_a_loop() -> None:
    loss = RunningSF(2).double()
    assert [float(loss(*batch)) for batch in batches()] == pytest.approx(slow_running(batches(), 0.95))
    alone = RunningSF(2, decay=0.0).double()
    assert [float(alone(*b)) for b in batches()] == pytest.approx([abs(float(soft_sf(*b))) for b in batches()])


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.95])
def test_the_gradient_is_the_batchs_as_if_all_that_runs_on_moved_with_it(decay: float) -> None:
    loss = RunningSF(2, decay=decay).double()
    first, second, *_ = batches()
    loss(*first)
    yes = second[0].clone().requires_grad_()
    state = copy.deepcopy(loss.state_dict())
    loss(yes, *second[1:]).backward()
    for pair in range(10):
        values = []
        for step in (1e-6, -1e-6):
            moved = second[0].clone()
            moved[pair] += step
            again = RunningSF(2, decay=decay).double()
            again.load_state_dict(state)
            shift = second[0] + (1 + decay) * (moved - second[0])  # the second's weight is 1, the first's decay
            values.append(float(again(shift, *second[1:])))
        assert float(yes.grad[pair]) == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-7)
    assert yes.grad.any()


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.95])
def test_a_batch_that_comes_again_and_again_has_the_gradient_of_its_own_sf_at_every_decay(decay: float) -> None:
    case, loss = World(0), RunningSF(2, decay=decay).double()
    own = case.yes.clone().requires_grad_()
    soft_sf(own, case.above, case.below).abs().backward()
    for _ in range(30):
        yes = case.yes.clone().requires_grad_()
        loss(yes, case.above, case.below).backward()
        assert yes.grad.tolist() == pytest.approx(own.grad.tolist())


def test_kinds_have_sums_of_their_own_and_do_not_cancel() -> None:
    above = torch.tensor([[0.5], [1.5]])
    below = torch.ones(2, 1)
    yes, kinds = torch.ones(2), torch.tensor([0, 1])
    assert float(RunningSF(1, kinds=2)(yes, above, below, kinds)) == pytest.approx((0.5 + 0.5) / 2)
    assert float(RunningSF(1)(yes, above, below)) == pytest.approx(0), "mixed, the two cancel"
    loss = RunningSF(1, kinds=2)
    loss(yes[:1], above[:1], below[:1], kinds[:1])
    assert loss.sums[0].any() and not loss.sums[1].any()


def test_judging_moves_no_sums_and_the_state_is_saved() -> None:
    loss = RunningSF(2).double()
    loss(*batches()[0])
    before = loss.sums.clone()
    loss.eval()
    loss(*batches()[1])
    assert torch.equal(loss.sums, before) and torch.equal(loss.state_dict()["sums"], before)


def test_ifairlrs_weighs_every_sample_by_its_own_weight() -> None:
    losses = torch.tensor([1.0, 3.0], requires_grad=True)
    weights = torch.tensor([2.0, 0.5])
    loss = ifairlrs(losses, weights)
    averaged_first = 2.0 * 1.25
    assert loss.item() == pytest.approx((2 * 1 + 0.5 * 3) / 2) != averaged_first
    loss.backward()
    assert losses.grad.tolist() == [1.0, 0.25]


def test_ifairlrs_weights_against_counts() -> None:
    member = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0, 0]], dtype=bool)  # items 0-4
    history, targets = np.array([1, 1, 2, 3, 4, 4, 4, 4]), np.array([1, 2, 2, 3, 4])
    first, second, nobody = (3 / 8) / (2 / 5), (2 / 8) / (3 / 5), (4 / 8) / (1 / 5)
    expected = [first, second, second, first + second, nobody]
    np.testing.assert_allclose(ifairlrs_weights(history, targets, member), expected)
    np.testing.assert_allclose(ifairlrs_weights(history, np.array([2, 2]), member), (2 / 8) / 1, err_msg="no nan")


@fast
@given(st.integers(0, 10_000), st.sampled_from(["snsr", "snsv"]))
def test_fairllm_at_whole_probabilities_is_the_disparity_of_jaccard_coefficients(seed: int, measure: str) -> None:
    random = np.random.default_rng(seed)
    neutral, given_values = random.random(20) < 0.6, random.random((3, 20)) < 0.6
    neutral[0] = True
    sets = [set(np.flatnonzero(line)) for line in given_values]
    base = set(np.flatnonzero(neutral))
    jaccard = [len(s & base) / len(s | base) for s in sets]
    mean = sum(jaccard) / 3
    expected = (
        max(jaccard) - min(jaccard) if measure == "snsr" else math.sqrt(sum((j - mean) ** 2 for j in jaccard) / 3)
    )
    loss = fairllm(torch.from_numpy(neutral * 1.0), torch.from_numpy(given_values * 1.0), measure)
    assert float(loss) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("measure", ["snsr", "snsv"])
def test_fairllm_s_gradient(measure: str) -> None:
    torch.manual_seed(0)
    neutral, values = (torch.rand(*shape, dtype=torch.float64).requires_grad_() for shape in ((8,), (3, 8)))
    assert torch.autograd.gradcheck(lambda q, p: fairllm(q, p, measure), (neutral, values))
    equal = torch.full((2, 4), 0.5, requires_grad=True)
    loss = fairllm(torch.full((4,), 0.4), equal, measure)
    loss.backward()
    assert loss.item() == 0 and equal.grad.isfinite().all(), "values that are treated alike have no disparity"


def test_sums_that_never_fade_are_refused() -> None:
    with pytest.raises(UsageError, match="sf_decay=1"):
        RunningSF(2, decay=1.0)
