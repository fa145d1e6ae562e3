"""A training step of CL-MoE's experts at the shape of a 7B model on a CUDA card, beside plain LoRA and matrix products.

    python benchmarks/cuda_experts.py [--prompts=8] [--length=512] [--experts=3] [--rank=16]
    python benchmarks/cuda_experts.py --tiny --device=cpu            (whether the script runs)

Qwen2-7B's shape, random bf16 weights, blocks checkpointed, AdamW on the trained parameters; needs torch, transformers
and peft alone. PEFT's LoRA has rank experts * rank on the same layers. Counted are the products of the frozen weights
in the forward pass and towards the inputs in the backward pass (4 a weight and token; goal >= 40 % of the card's own
rate), and beside them with the second forward pass of checkpointing (6). Printed too: peak memory, and that gradients
and optimiser state exist of the trained parameters alone. Below 4 minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from cuda_yesno_score import ANSWERS, card, flops, matmul_rate, model_of, options, seconds
from torch.nn import functional

from recbole_fair.language.adapters import lora
from recbole_fair.models.llm.experts import FFN, checkpoint_activations, mixture_of_experts
from recbole_fair.models.llm.scoring import answer_states, logits_of_states, pad


def step_of(model: Any, prompts: list[list[int]], device: str) -> tuple[Callable[[], None], torch.optim.Optimizer]:
    """Forward to the answer, cross-entropy, backward, AdamW."""
    batch, labels = pad(prompts, device), torch.arange(len(prompts), device=device) % 2
    optimiser = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-5)
    model.train()

    def step() -> None:
        optimiser.zero_grad()
        functional.cross_entropy(logits_of_states(model, answer_states(model, batch), ANSWERS), labels).backward()
        optimiser.step()

    return step, optimiser


def held(model: Any, optimiser: torch.optim.Optimizer) -> int:
    """Bytes of gradients and optimiser state; none of them may be a frozen parameter's."""
    frozen = [name for name, each in model.named_parameters() if not each.requires_grad and each.grad is not None]
    if frozen:
        raise SystemExit(f"frozen parameters have gradients: {frozen[:3]}")
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    states = [value for state in optimiser.state.values() for value in state.values() if torch.is_tensor(value)]
    return sum(each.numel() * each.element_size() for each in [*gradients, *states])


def main() -> None:
    """Print one line for the card and one a way to train."""
    tiny, device, sizes = options({"prompts": 8, "length": 512, "experts": 3, "rank": 16})
    if tiny:
        sizes |= {"prompts": 2, "length": 16, "rank": 2}
    rate = matmul_rate(tiny, device)
    print(f"{card(device)}: matmul {rate / 1e12:.3g} TFLOP/s", flush=True)
    draw = torch.Generator().manual_seed(1)
    rank, alpha = sizes["rank"], 2 * sizes["rank"]
    mixed = dict(experts=sizes["experts"], rank=rank, alpha=alpha, dropout=0.05)  # noqa: C408
    plain = dict(rank=sizes["experts"] * rank, alpha=alpha, dropout=0.05, targets=FFN)  # noqa: C408
    made: dict[str, Callable[[Any], Any]] = {
        "plain LoRA": lambda model: lora(model, **plain),
        "experts": lambda model: mixture_of_experts(model, **mixed)[0],
    }
    for name, adapt in made.items():
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        model = adapt(model_of(tiny, device).requires_grad_(False))
        checkpoint_activations(model)
        shape = sizes["prompts"], sizes["length"]
        prompts = torch.randint(10, model.config.vocab_size, shape, generator=draw).tolist()
        step, optimiser = step_of(model, prompts, device)
        taken = seconds(step, device, 3)
        once = flops(model.config, shape[0] * shape[1], shape[1] / 2)
        peak = f", peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if device == "cuda" else ""
        print(f"{name}: {shape[0] * shape[1] / taken:.0f} tokens/s, {2 * once / taken / 1e12:.3g} TFLOP/s, "
              f"{2 * once / taken / rate:.1%} of matmul ({3 * once / taken / rate:.1%} with the second forward pass), "
              f"gradients and optimiser {held(model, optimiser) / 2**20:.1f} MiB{peak}", flush=True)  # fmt: skip
        del model, step, optimiser


if __name__ == "__main__":
    main()
