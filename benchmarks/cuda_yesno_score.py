"""Prompts scored per second at the shape of a 7B model on a CUDA card, beside the card's own matrix products.

    python benchmarks/cuda_yesno_score.py [--users=16] [--targets=10] [--history=480] [--tokens=32768]
    python benchmarks/cuda_yesno_score.py --tiny --device=cpu        (whether the script runs)

Qwen2-7B's shape with random weights in bf16; needs torch, transformers and peft alone. Printed: the rate of bf16
matrix products of 8192 x 8192, prompts per second with and without shared prefixes, the TFLOP/s of the tokens that
were computed (2 per weight and token, and attention's products), and their share of that rate. Below 4 minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from recbole_fair.models.llm.scoring import AnswerTokens, PairScorer, common_prefix

ANSWERS = AnswerTokens(yes=7, no=3)
SEVEN_B = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152064}  # fmt: skip
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 500}  # fmt: skip


def options(defaults: dict[str, int]) -> tuple[bool, str, dict[str, int]]:
    """--tiny, --device and the numbers of the command line."""
    words = [word.removeprefix("--").partition("=") for word in sys.argv[1:]]
    given = {name: value for name, _, value in words}
    tiny, device = "tiny" in given, given.pop("device", "cuda")
    given.pop("tiny", None)
    if unknown := given.keys() - defaults.keys():
        raise SystemExit(f"unknown {sorted(unknown)}; it has --tiny, --device and {', '.join(defaults)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA card here; --tiny --device=cpu shows whether the script runs")
    return tiny, device, {name: int(given.get(name, value)) for name, value in defaults.items()}


def card(device: str) -> str:
    """What the figures were measured on."""
    return torch.cuda.get_device_name() if device == "cuda" else device


def model_of(tiny: bool, device: str) -> Any:
    """A Qwen2 with random bf16 weights, made on the device."""
    torch.manual_seed(0)
    config = Qwen2Config(**(TINY if tiny else SEVEN_B), tie_word_embeddings=False, initializer_range=0.02)
    former = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            return Qwen2ForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(former)


def seconds(work: Callable[[], Any], device: str, rounds: int) -> float:
    """The median of some rounds after one more, each waited for."""
    taken = []
    for _ in range(rounds + 1):
        start = perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(perf_counter() - start)
    return sorted(taken[1:])[rounds // 2]


def matmul_rate(tiny: bool, device: str) -> float:
    """FLOP/s of bf16 matrix products, of which ten are done at a time."""
    size = 256 if tiny else 8192
    one, other = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))

    def ten() -> None:
        for _ in range(10):
            one @ other

    return 10 * 2 * size**3 / seconds(ten, device, 5)


def flops(config: Any, new: int, seen: float) -> float:
    """Of a forward pass over `new` tokens, each of which sees `seen` others: weights of the blocks, and attention."""
    width, heads = config.hidden_size, config.num_key_value_heads / config.num_attention_heads
    weights = config.num_hidden_layers * (2 * width**2 * (1 + heads) + 3 * width * config.intermediate_size)
    return 2 * new * weights + 4 * config.num_hidden_layers * width * new * seen


def prompts_of(vocabulary: int, users: int, targets: int, history: int, question: int) -> list[list[int]]:
    """For each user a history that all prompts begin with."""
    draw = torch.Generator().manual_seed(1)
    words = lambda count: torch.randint(10, vocabulary, (count,), generator=draw).tolist()  # noqa: E731
    return [[*begin, *words(question)] for begin in (words(history) for _ in range(users)) for _ in range(targets)]


def main() -> None:
    """Print one line for the card and one a way to score."""
    tiny, device, sizes = options({"users": 16, "targets": 10, "history": 480, "tokens": 32768})
    if tiny:
        sizes |= {"users": 2, "targets": 3, "history": 20}
    users, targets, history, question = sizes["users"], sizes["targets"], sizes["history"], 32
    rate = matmul_rate(tiny, device)
    print(f"{card(device)}: matmul {rate / 1e12:.3g} TFLOP/s", flush=True)
    model = model_of(tiny, device)
    prompts = prompts_of(model.config.vocab_size, users, targets, history, question)
    owners = [user for user in range(users) for _ in range(targets)]
    shared = common_prefix(prompts[:targets])
    whole = users * targets * flops(model.config, history + question, (history + question) / 2)
    rests = history + question - shared
    parts = flops(model.config, shared, shared / 2) + targets * flops(model.config, rests, shared + rests / 2)
    logits = []
    for name, share, work in (("each prompt whole", False, whole), ("prefixes shared", True, users * parts)):
        scorer = PairScorer(model, ANSWERS, max_tokens=sizes["tokens"], share_prefixes=share)
        taken = seconds(lambda scorer=scorer: scorer.logits(prompts, owners), device, 3)
        logits.append(scorer.logits(prompts, owners))
        print(f"{name}: {len(prompts) / taken:.1f} prompts/s, {work / taken / 1e12:.3g} TFLOP/s, "
              f"{work / taken / rate:.1%} of matmul", flush=True)  # fmt: skip
    print(f"largest difference of a logit (bf16): {(logits[0] - logits[1]).abs().max():.4f}")


if __name__ == "__main__":
    main()
