"""Prompts scored per second against generating one token, by a small Qwen2 with random weights.

    python benchmarks/yesno_score.py [--pairs=5] [--users=8] [--targets=10] [--width=256] [--layers=6]

Sides are interleaved in one process, on one thread; printed are ratios of medians of processor time with the spread of
the paired ratios: one forward pass and two rows of the output layer against `generate(max_new_tokens=1)` on the same
batches (goal >= 1.3 x), and against a forward pass with the logits of every word at every token, which `generate` no
longer computes; and prefixes shared by a user's targets against `generate` (goal >= 2.5 x at 10 targets). Prompts are
120 tokens of history and 12 of a target; all sides' answers are compared first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from time import process_time

import torch
from train_step import paired
from transformers import Qwen2Config, Qwen2ForCausalLM

from recbole_fair.models.llm.scoring import AnswerTokens, PairScorer, pad

ANSWERS, BATCH_TOKENS, VOCABULARY = AnswerTokens(yes=7, no=3), 4096, 8000


def model_of(width: int, layers: int) -> Qwen2ForCausalLM:
    """A Qwen2 with heads of 64 numbers and an FFN of four times the width."""
    torch.manual_seed(0)
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    heads = {"num_attention_heads": width // 64, "num_key_value_heads": width // 64}
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=VOCABULARY, **sizes, **heads, initializer_range=0.1)).eval()


def generating(model: Qwen2ForCausalLM, prompts: list[list[int]]) -> Callable[[], torch.Tensor]:
    """Logits of both answers by `generate`, in batches of the same number of tokens, padded on the left as it asks."""
    rows = max(1, BATCH_TOKENS // max(map(len, prompts)))

    def run() -> torch.Tensor:
        logits = []
        for start in range(0, len(prompts), rows):
            batch = pad([prompt[::-1] for prompt in prompts[start : start + rows]])
            output = model.generate(
                batch.ids.flip(1),
                attention_mask=batch.mask.flip(1),
                max_new_tokens=1,
                do_sample=False,
                pad_token_id=0,
                output_logits=True,
                return_dict_in_generate=True,
            )
            logits.append(output.logits[0][:, [ANSWERS.yes, ANSWERS.no]])
        return torch.cat(logits)

    return run


def every_logit(model: Qwen2ForCausalLM, prompts: list[list[int]]) -> Callable[[], torch.Tensor]:
    """The same out of the logits of every word at every token, in the same batches."""
    rows = max(1, BATCH_TOKENS // max(map(len, prompts)))

    @torch.no_grad()
    def run() -> torch.Tensor:
        logits = []
        for start in range(0, len(prompts), rows):
            batch = pad(prompts[start : start + rows])
            output = model(input_ids=batch.ids, use_cache=False).logits
            logits.append(output[torch.arange(len(batch.last)), batch.last][:, [ANSWERS.yes, ANSWERS.no]])
        return torch.cat(logits)

    return run


def main(pairs: int, users: int, targets: int, width: int, layers: int) -> None:
    """Print one line a comparison."""
    torch.set_num_threads(1)
    model = model_of(width, layers)
    draw = torch.Generator().manual_seed(1)
    words = lambda count: torch.randint(10, VOCABULARY, (count,), generator=draw).tolist()  # noqa: E731
    histories = [words(120) for _ in range(users)]
    prompts = [history + words(12) for history in histories for _ in range(targets)]
    owners = [user for user in range(users) for _ in range(targets)]
    generate = generating(model, prompts)
    for name, other, share in (
        ("generate / score, same batches", generate, False),
        ("logits of every word at every token / score, same batches", every_logit(model, prompts), False),
        (f"generate / score, prefix of {targets} targets shared", generate, True),
    ):
        scorer = PairScorer(model, ANSWERS, max_tokens=BATCH_TOKENS, share_prefixes=share)
        score = partial(scorer.logits, prompts, owners)
        torch.testing.assert_close(score(), other(), atol=1e-3, rtol=1e-3)
        ratio, ratios = paired(other, score, pairs, process_time)
        print(f"{name}: {ratio:.2f} x (pairs {min(ratios):.2f}-{max(ratios):.2f})", flush=True)


if __name__ == "__main__":
    words = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    defaults = {"pairs": 5, "users": 8, "targets": 10, "width": 256, "layers": 6}
    main(**{name: int(words.get(name, value)) for name, value in defaults.items()})
