"""Copies of samples, enumerated by hand; CF-Diff's loss against plain double loops."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from recbole_fair.errors import UsageError
from recbole_fair.groups.variants import OWN, Variant
from recbole_fair.models.llm.augment import Copy, Recipe
from recbole_fair.models.llm.cf_diff import combined, difference, instance_means, spread_of

VALUES = {"gender": ["F", "M"], "age": ["young", "middle", "old"]}


def test_the_copies_of_two_attributes_are_their_product_and_auxiliary_ones_name_one() -> None:
    recipe = Recipe.of(VALUES, auxiliary=["age"])
    both, age = recipe.instances
    assert [copy.variant.sets() for copy in both] == [
        {"gender": g, "age": a} for g, a in product(VALUES["gender"], VALUES["age"])
    ]
    assert {copy.attributes for copy in both} == {("gender", "age")}
    assert age == tuple(Copy(("age",), Variant("age", value)) for value in VALUES["age"])
    assert recipe.plain


def test_without_counterfactuals_each_instance_is_the_users_own_prompt() -> None:
    recipe = Recipe.of(VALUES, counterfactual=False, plain=False)
    assert recipe.instances == ((Copy(("gender", "age"), OWN),),)
    assert recipe.layout(2).sample.tolist() == [0, 1]


def test_every_copy_of_a_batch_leads_to_its_sample_and_its_instance() -> None:
    recipe = Recipe.of(VALUES, auxiliary=["gender", "age"])
    layout = recipe.layout(4)
    assert layout.sample.tolist() == sorted([0, 1, 2, 3] * (6 + 2 + 3))
    for copy, sample, instance in zip(layout.copy, layout.sample, layout.instance, strict=True):
        assert instance // layout.instances == sample
        assert layout.copies[copy] in recipe.instances[instance % layout.instances]
    for sample in range(4):
        assert layout.copy[layout.sample == sample].tolist() == list(range(len(layout.copies)))


def test_indicators_say_which_attributes_a_prompt_names() -> None:
    layout = Recipe.of({"gender": ["F", "M"], "age": ["y", "o"]}, auxiliary=["age"]).layout(2)
    indicators = layout.indicators(["gender", "age"])
    assert indicators.tolist() == ([[1, 1]] * 4 + [[0, 1]] * 2) * 2 + [[0, 0]] * 2


def test_a_value_that_stands_twice_is_copied_once() -> None:
    assert len(Recipe.of({"gender": ["F", "M", "F"]}).instances[0]) == 2


@pytest.mark.parametrize(
    ("values", "auxiliary", "message"),
    [
        ({}, [], "none is named"),
        ({"gender": ["F"]}, [], "one value"),
        ({"gender": ["F", "M"]}, ["gender"], "some of several"),
        (VALUES, ["occupation"], "some of several"),
        (VALUES, ["age", "age"], "some of several"),
    ],
)
def test_impossible_recipes_are_refused(values, auxiliary, message) -> None:
    with pytest.raises(UsageError, match=message):
        Recipe.of(values, auxiliary=auxiliary)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    layout = Recipe.of(VALUES, auxiliary=["gender"]).layout(3)
    states = torch.randn(len(layout.sample) + layout.samples, 5, generator=generator, dtype=torch.double).float()
    answers = torch.rand(len(layout.sample), generator=generator)
    return layout, states, answers


@pytest.mark.parametrize("distance", ["raw", "spread"])
def test_the_loss_is_the_double_loop_of_equations_4_to_7(batch, distance) -> None:
    layout, states, answers = batch
    copied, plain = states[: len(layout.sample)], states[len(layout.sample) :]
    apart = difference(copied, plain, torch.tensor(layout.sample), distance=distance)
    instance, count = torch.tensor(layout.instance), layout.samples * layout.instances
    actual = combined(instance_means(answers, instance, count), instance_means(apart, instance, count), diff_weight=0.5)
    numbers = states.double().numpy()
    plain_numbers = numbers[len(layout.sample) :]
    mean = plain_numbers.mean(0)
    spread = math.sqrt(sum(((h - mean) ** 2).sum() for h in plain_numbers) / 3) if distance == "spread" else 1.0
    for i in range(count):
        own = [row for row in range(len(layout.sample)) if layout.instance[row] == i]
        expected = sum(answers[row].item() for row in own) / len(own)
        for row in own:
            h_plain = plain_numbers[layout.sample[row]]
            expected += 0.5 * math.sqrt(((numbers[row] - h_plain) ** 2).sum()) / spread / len(own)
        assert actual[i].item() == pytest.approx(expected, rel=1e-5)


def test_spread_makes_the_distance_blind_to_contraction_and_raw_does_not(batch) -> None:
    layout, states, _ = batch
    copied, plain, of_copy = states[: len(layout.sample)], states[len(layout.sample) :], torch.tensor(layout.sample)
    torch.testing.assert_close(difference(copied * 0.1, plain * 0.1, of_copy), difference(copied, plain, of_copy))
    raw = difference(copied, plain, of_copy, distance="raw")
    torch.testing.assert_close(difference(copied * 0.1, plain * 0.1, of_copy, distance="raw"), raw * 0.1)
    scale = torch.ones((), requires_grad=True)
    difference(copied * scale, plain * scale, of_copy).sum().backward()
    assert abs(scale.grad.item()) < 1e-4  # the gradient through the spread is kept


@pytest.mark.parametrize("distance", ["raw", "spread"])
def test_a_detached_attribute_free_state_gets_no_gradient_of_the_distance(distance: Any) -> None:
    copied, plain = torch.randn(2, 4, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    difference(copied, plain, torch.arange(2), distance=distance, detach_plain=True).sum().backward()
    assert plain.grad is None
    assert copied.grad.abs().sum() > 0


def test_the_distance_of_an_attribute_free_state_that_is_not_detached_pulls_both_ways() -> None:
    copied, plain = torch.randn(2, 4, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    difference(copied, plain, torch.arange(2), distance="raw").sum().backward()
    torch.testing.assert_close(plain.grad, -copied.grad)


def test_equal_states_have_distance_and_gradient_0() -> None:
    copied = torch.ones(1, 4, requires_grad=True)
    difference(copied, torch.ones(1, 4), torch.tensor([0]), distance="raw").sum().backward()
    assert torch.equal(copied.grad, torch.zeros(1, 4))


def test_a_batch_without_spread_is_refused() -> None:
    with pytest.raises(UsageError, match="raise the batch size or take distance: raw"):
        spread_of(torch.randn(1, 4))
    with pytest.raises(UsageError, match="here 3 without a difference"):
        spread_of(torch.ones(3, 4))


def test_the_mean_over_instances_counts_each_instance_once() -> None:
    values, instance = torch.tensor([1.0, 2.0, 3.0, 10.0]), torch.tensor([0, 0, 0, 1])
    assert instance_means(values, instance, 2).tolist() == [2.0, 10.0]
    assert np.isnan(instance_means(values, instance, 3)[2].item())  # an instance without copies cannot hide
    assert torch.equal(combined(torch.ones(2), None, answer_weight=0.5), torch.full((2,), 0.5))
