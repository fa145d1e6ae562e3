"""What a step of MoS costs over plain prompt tuning of the same backbone, prompts and number of virtual tokens.

    python benchmarks/soft_prompt.py [--pairs=9] [--threads=2]

Goal: <= 1.25 x. Both train through `inputs_embeds` with Adafactor; MoS has its router, experts and all of Eq. 14 on
top. Random weights, 16 right-padded prompts of 40-120 tokens. Pairs are interleaved in one process; the ratio of the
medians is printed with the spread of the paired ratios, for the clock and for the processor's time, which other work
on the machine disturbs less.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen2Config, Qwen2ForCausalLM, T5Config, T5ForConditionalGeneration

from recbole_fair.models.llm.fair_losses import RunningSF
from recbole_fair.models.llm.soft_prompt import MixtureOfStereotypes
from recbole_fair.models.llm.virtual_tokens import logits_after, prepend, states_of

ANSWERS, WORDS, VIRTUAL = (7, 3), (11, 12), 5


def t5(width: int, layers: int, heads: int) -> Any:
    config = T5Config(d_model=width, d_kv=width // heads, d_ff=4 * width, num_layers=layers, num_heads=heads,
                      vocab_size=2000, decoder_start_token_id=0, dropout_rate=0.0)  # fmt: skip
    return T5ForConditionalGeneration(config)


def qwen2(width: int, layers: int, heads: int) -> Any:
    config = Qwen2Config(hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers, vocab_size=2000,
                         num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=512)  # fmt: skip
    return Qwen2ForCausalLM(config)


@dataclass(frozen=True)
class Batch:
    """Embedded prompts, labels and the rows of L_fair."""

    embeddings: Tensor
    mask: Tensor
    labels: Tensor
    above: Tensor
    below: Tensor


def batch(model: Any, size: int) -> Batch:
    lengths = torch.randint(40, 121, (size,))
    mask = (torch.arange(120) < lengths[:, None]).long()
    tokens = torch.randint(20, 2000, mask.shape) * mask
    labels, below = torch.randint(0, 2, (size,)), (torch.rand(size, 2) < 0.3).float()
    return Batch(model.get_input_embeddings()(tokens), mask, labels, torch.rand(size, 2), below)


def stepper(parameters: list[nn.Parameter], loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.Adafactor(parameters, lr=0.5)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def prompt_tuning(model: Any, data: Batch) -> Callable[[], None]:
    tokens = nn.Parameter(model.get_input_embeddings().weight[:VIRTUAL].clone())

    def loss() -> Tensor:
        logits = logits_after(model, prepend(tokens, data.embeddings, data.mask), ANSWERS)
        return functional.cross_entropy(logits, data.labels)

    return stepper([tokens], loss)


def mos(model: Any, data: Batch, router_input: str = "prompt_mean") -> Callable[[], None]:
    table = model.get_input_embeddings().weight
    mixture, fair = MixtureOfStereotypes(table.shape[1], router_input=router_input), RunningSF(2)
    mixture.start_at_words(table)
    words = [table[word][None] for word in WORDS]

    def loss() -> Tensor:
        soft = mixture(data.embeddings, data.mask, words, states_of(model))
        logits = logits_after(model, prepend(soft.tokens, data.embeddings, data.mask), ANSWERS)
        yes = logits.softmax(-1)[:, 1]
        return functional.cross_entropy(logits, data.labels) + fair(yes, data.above, data.below) + mixture.diversity()

    return stepper(list(mixture.parameters()), loss)


def seconds(step: Callable[[], None]) -> tuple[float, float]:
    """By the clock and of the processor."""
    start = perf_counter(), process_time()
    step()
    return perf_counter() - start[0], process_time() - start[1]


def compare(name: str, model: Any, pairs: int) -> None:
    model = model.eval().requires_grad_(False)
    data = batch(model, 16)
    sides = {"plain": prompt_tuning(model, data), "mos": mos(model, data)}
    sides["states"] = mos(model, data, "stereotype_states")
    for step in sides.values():
        step()
    taken: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for pair in range(pairs):
        for side in list(sides) if pair % 2 else reversed(list(sides)):
            taken[side].append(seconds(sides[side]))
    print(name)
    for kind, timer in enumerate(("clock", "processor")):
        report(timer, *([each[kind] for each in taken[side]] for side in sides))


def report(timer: str, plain: list[float], ours: list[float], states: list[float]) -> None:
    ratios = [one / other for one, other in zip(ours, plain, strict=True)]
    base, mixture, reading = map(statistics.median, (plain, ours, states))
    print(
        f"  {timer:10} prompt tuning {base * 1e3:7.1f} ms  MoS {mixture * 1e3:7.1f} ms: {mixture / base:.3f} x (pairs "
        f"{min(ratios):.2f}-{max(ratios):.2f}; goal <= 1.25); router_input=stereotype_states {reading / base:.2f} x",
        flush=True,
    )


def main(pairs: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    compare("T5, d 64, 2 layers", t5(64, 2, 4), pairs)
    compare("T5, d 256, 4 layers", t5(256, 4, 4), pairs)
    compare("Qwen2, d 128, 4 layers", qwen2(128, 4, 4), pairs)


if __name__ == "__main__":
    options = dict(word.lstrip("-").split("=") for word in sys.argv[1:])
    main(int(options.get("pairs", 9)), int(options.get("threads", 2)))
