"""What it saves to run each sample's attribute-free prompt once and share it among the sample's copies (CL-MoE, Eq. 4).

    python benchmarks/shared_forward.py [--pairs=7] [--samples=4] [--width=256] [--layers=6] [--values=2,3]

One training step of CF-Diff by a small Qwen2 with random weights and LoRA: cross-entropy of the copies and their
distance from the attribute-free state. `--values` are the numbers of values of the attributes: 2,3 gives 6 copies a
sample, so 7 prompts instead of 12, which bounds what sharing can save. Pairs are interleaved in one process; the loss
of both ways is compared first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from train_step import paired
from yesno_score import ANSWERS, VOCABULARY, model_of

from recbole_fair.language.adapters import lora
from recbole_fair.models.llm.cf_diff import difference
from recbole_fair.models.llm.scoring import answer_states, logits_of_states, pad


def step_of(model: Any, samples: int, copies: list[list[int]], plain: list[list[int]]) -> Callable[[], Tensor]:
    """Eq. (7) over copies, whose samples' prompts without attributes stand once each, or once a copy."""
    batch = pad([*copies, *plain])
    sample = torch.arange(samples).repeat_interleave(len(copies) // samples)
    of_copy = sample if len(plain) == samples else torch.arange(len(copies))

    def step() -> Tensor:
        model.zero_grad()
        states = answer_states(model, batch)
        ours, free = states[: len(copies)], states[len(copies) :]
        loss = functional.cross_entropy(logits_of_states(model, ours, ANSWERS), sample % 2)
        loss = loss + difference(ours, free, of_copy, distance="raw").mean()
        loss.backward()
        return loss.detach()

    return step


def main(pairs: int, samples: int, width: int, layers: int, values: tuple[int, ...]) -> None:
    """Print the ratio and its bound."""
    count = prod(values)
    draw = torch.Generator().manual_seed(1)
    plain = torch.randint(10, VOCABULARY, (samples, 132), generator=draw).tolist()
    copies = [[*prompt[:4], value, *prompt[4:]] for prompt in plain for value in range(count)]
    model = lora(model_of(width, layers), rank=16, alpha=32, dropout=0.0, targets=["q_proj", "v_proj"]).train()
    shared = step_of(model, samples, copies, plain)
    separate = step_of(model, samples, copies, [prompt for prompt in plain for _ in range(count)])
    torch.testing.assert_close(shared(), separate())
    ratio, ratios = paired(lambda: separate() and None, lambda: shared() and None, pairs)
    print(f"separate / shared, {count} copies a sample: {ratio:.2f} x (pairs {min(ratios):.2f}-{max(ratios):.2f}); "
          f"by the number of prompts {2 * count / (count + 1):.2f} x")  # fmt: skip


if __name__ == "__main__":
    words = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    several = tuple(map(int, words.pop("values", "2,3").split(",")))
    defaults = {"pairs": 7, "samples": 4, "width": 256, "layers": 6}
    main(**{name: int(words.get(name, value)) for name, value in defaults.items()}, values=several)
