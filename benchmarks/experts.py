"""Tokens per second of training the mixture of LoRA experts against PEFT's LoRA of the same rank, layers and prompts.

    python benchmarks/experts.py [--pairs=7] [--experts=3] [--rank=16] [--width=256] [--layers=6]

One step: forward to the answer, cross-entropy, backward, by a small Qwen2 with random weights. PEFT's LoRA has rank
experts * rank, so both train the same numbers but for the routers. Goal: >= 0.8 x.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from train_step import paired
from yesno_score import ANSWERS, VOCABULARY, model_of

from recbole_fair.language.adapters import lora
from recbole_fair.models.llm.experts import FFN, mixture_of_experts
from recbole_fair.models.llm.scoring import answer_states, logits_of_states, pad


def step_of(model: Any, prompts: list[list[int]]) -> Callable[[], None]:
    """A training step without the optimiser."""
    batch, labels = pad(prompts), torch.arange(len(prompts)) % 2
    model.train()

    def step() -> None:
        model.zero_grad()
        functional.cross_entropy(logits_of_states(model, answer_states(model, batch), ANSWERS), labels).backward()

    return step


def main(pairs: int, experts: int, rank: int, width: int, layers: int) -> None:
    """Print one line a router."""
    draw = torch.Generator().manual_seed(1)
    prompts = torch.randint(10, VOCABULARY, (16, 132), generator=draw).tolist()
    plain = lora(model_of(width, layers), rank=experts * rank, alpha=32, dropout=0.05, targets=FFN)
    mixture, _ = mixture_of_experts(model_of(width, layers), experts=experts, rank=rank, alpha=32, dropout=0.05)
    ratio, ratios = paired(step_of(plain, prompts), step_of(mixture, prompts), pairs)
    counts = [model.get_nb_trainable_parameters() for model in (mixture, plain)]
    shares = " and ".join(f"{trained / (total - trained):.2%}" for trained, total in counts)
    spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
    print(f"experts / LoRA, tokens per second: {ratio:.2f} x (pairs {spread}); trained {shares}")


if __name__ == "__main__":
    words = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    defaults = {"pairs": 7, "experts": 3, "rank": 16, "width": 256, "layers": 6}
    main(**{name: int(words.get(name, value)) for name, value in defaults.items()})
