from __future__ import annotations

import copy

import pytest
import torch
from tiny_t5 import tiny_llama, tiny_t5

from recbole_fair.errors import UsageError
from recbole_fair.language.prefixes import Prefixes
from recbole_fair.models.adversary import Adversary, random_subset
from recbole_fair.models.p5.cfp import PrefixPrompt, Schedule, Step
from recbole_fair.models.p5.mixture import PromptMixture


def prompt_of(length: int = 5, seed: int = 0, model: object = None) -> PrefixPrompt:
    torch.manual_seed(seed)
    return PrefixPrompt(Prefixes(model or tiny_t5()).shapes, length, width=16, hidden=12, dropout=0.0)


def test_encoder_and_decoder_prompts_come_from_two_and_three_layers() -> None:
    prompt = prompt_of()
    linear = {part: sum(isinstance(m, torch.nn.Linear) for m in net.modules()) for part, net in prompt.parts.items()}
    assert linear == {"encoder": 2, "decoder": 3, "cross": 3}
    assert {part: tuple(tensor.shape) for part, tensor in prompt().items()} == dict.fromkeys(linear, (2, 2, 2, 5, 8))
    assert set(prompt_of(model=tiny_llama())()) == {"decoder"}
    with pytest.raises(UsageError, match="at least one position"):
        prompt_of(length=0)


def test_one_position_of_a_prompt_stays_one_position() -> None:
    """Keys and values of position p, layer l, head h are the network's output of seed p at their own place."""
    part = prompt_of().parts["encoder"]
    out = part.network(part.seeds.weight)[3].view(2, 2, 2, 8)
    assert torch.equal(part()[1, 0, 1, 3], out[1, 0, 1])


def test_the_schedule_is_algorithm_1() -> None:
    schedule = Schedule(joint=2, recommend=2, discriminate=2, every=3, strength=5.0)
    joint, recommend, discriminate = (
        Step("joint", 5.0, 1.0),
        Step("recommend", 0.0, 1.0),
        Step("discriminate", 0.0, 1.0),
    )
    for batch in range(7):
        expected = [joint] * 2
        if batch % 3 == 0:
            expected += [recommend] * 2 + [discriminate] * 2
        assert list(schedule.steps(batch)) == expected
    assert [step.trains_prompt for step in (joint, recommend, discriminate)] == [True, True, False]


def test_the_rate_falls_to_nothing_over_the_batches() -> None:
    assert [Schedule(batches=4).rate(batch) for batch in range(6)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert Schedule().rate(1000) == 1.0


@pytest.mark.parametrize("wrong", [{"every": 0}, {"joint": -1}, {"joint": 0, "recommend": 0}])
def test_a_schedule_that_trains_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="schedule of"):
        Schedule(**wrong)


def test_the_base_is_bit_identical_after_adversarial_training_and_every_prompt_moved() -> None:
    model = tiny_t5(dropout_rate=0.0).requires_grad_(False)
    weights = copy.deepcopy(model.state_dict())
    prompt, adversary, prefixes = prompt_of(), Adversary(32, 2, learning_rate=1e-3), Prefixes(model)
    before = copy.deepcopy(prompt.state_dict())
    optimizer = torch.optim.AdamW(prompt.parameters(), lr=1e-2)
    tokens, labels, classes = torch.randint(2, 60, (4, 6)), torch.randint(2, 60, (4, 3)), torch.tensor([0, 1, 0, 1])
    for batch in range(2):
        for step in Schedule(joint=1, recommend=1, discriminate=1, every=1, strength=1.0).steps(batch):
            with prefixes.attached(prompt()):
                output = model(input_ids=tokens, labels=labels)
                users = output.encoder_last_hidden_state[:, :2].mean(1)
                if not step.trains_prompt:
                    adversary.attack(users, classes)
                    continue
                optimizer.zero_grad()
                (output.loss - step.strength * adversary.loss(users, classes)).backward()
                optimizer.step()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(not torch.equal(value, before[name]) for name, value in prompt.state_dict().items())


# --- prompt mixture


def singles() -> dict[str, dict[str, torch.Tensor]]:
    return {"gender": prompt_of(5, 1)(), "age": prompt_of(3, 2)(), "job": prompt_of(4, 3)()}


def test_a_mixture_is_attention_over_the_positions_of_the_chosen_prompts() -> None:
    given = singles()
    mixture = PromptMixture(given, length=6)
    with torch.no_grad():
        mixture.parts["cross"].key.weight.normal_()
        mixture.parts["cross"].value.weight.normal_()
    mixed = mixture(("age", "job"))["cross"]
    part, layer, kind = mixture.parts["cross"], 1, 0
    rows = [
        given[name]["cross"][layer, kind, :, place].flatten()
        for name, count in (("age", 3), ("job", 4))
        for place in range(count)
    ]
    for place in range(6):
        query = part.queries[layer, kind, place]
        weights = torch.stack([query @ (part.key.weight @ row) / 16**0.5 for row in rows]).softmax(0)
        expected = sum(weight * (part.value.weight @ row) for weight, row in zip(weights, rows, strict=True))
        torch.testing.assert_close(mixed[layer, kind, :, place].flatten(), expected, atol=1e-5, rtol=1e-4)


def test_a_mixture_does_not_depend_on_the_order_and_does_on_the_set() -> None:
    mixture = PromptMixture(singles(), length=6)
    assert torch.equal(mixture(("age", "gender"))["encoder"], mixture(("gender", "age"))["encoder"])
    assert not torch.equal(mixture(("age",))["encoder"], mixture(("gender",))["encoder"])


def test_only_the_mixture_is_trained_and_its_state_holds_the_single_prompts() -> None:
    given = singles()
    mixture = PromptMixture(given, length=6)
    sum(tensor.pow(2).sum() for tensor in mixture(("gender", "age")).values()).backward()
    assert all(parameter.grad is not None for parameter in mixture.parameters())
    assert not any(name.startswith("single") for name, _ in mixture.named_parameters())
    other = PromptMixture(
        {name: {p: torch.zeros_like(t) for p, t in prompt.items()} for name, prompt in given.items()}, 6
    )
    other.load_state_dict(mixture.state_dict())
    assert torch.equal(other(("job",))["decoder"], mixture(("job",))["decoder"])


def test_a_mixture_attaches_like_a_single_prompt() -> None:
    model = tiny_t5()
    with torch.no_grad(), Prefixes(model).attached(PromptMixture(singles(), length=6)(("job", "age"))):
        assert torch.isfinite(model(input_ids=torch.ones(2, 4).long(), labels=torch.ones(2, 2).long()).loss)


def test_every_non_empty_set_is_drawn_as_often() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [random_subset(("a", "b", "c"), generator) for _ in range(7000)]
    counts = {subset: drawn.count(subset) for subset in set(drawn)}
    assert len(counts) == 7 and () not in counts
    assert all(850 < count < 1150 for count in counts.values())


def test_empty_sets_unknown_attributes_and_other_bases_are_refused() -> None:
    mixture = PromptMixture(singles(), length=6)
    with pytest.raises(UsageError, match="at least one of gender, age, job"):
        mixture(())
    with pytest.raises(UsageError, match=r"\[gendr\]"):
        mixture(("gendr",))
    with pytest.raises(UsageError, match="different bases"):
        PromptMixture({"gender": prompt_of()(), "age": prompt_of(model=tiny_t5(num_layers=1))()}, 4)
    with pytest.raises(UsageError, match="no single prompt"):
        PromptMixture({}, 4)
    with pytest.raises(UsageError, match="no attribute"):
        random_subset(())
