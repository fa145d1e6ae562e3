"""Ranking 100 candidates a user with a T5: exact log-likelihoods over a trie, one row a candidate, beams.

    python benchmarks/rank_candidates.py [--users 16] [--width 64] [--layers 2]

    trie     all prefixes of the candidates' ids in one decoder pass, the encoder once a user: exact for all candidates
    rows     one decoder row a candidate, the encoder once a user: exact for all candidates
    beams    trie-constrained beam search with 20 beams (UP5's code): prunes, and says nothing of what it pruned

Goals for items of two tokens: trie at least twice as fast as beams, and as rows. Fastest of 3 passes, in turn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
from beams import beam_search

from recbole_fair.models.p5.ranking import Trie, log_likelihood

CANDIDATES, PROMPT, BATCH, BEAMS, PASSES, END = 100, 80, 16, 20, 3, 1
ITEMS = 1682  # of ML-100K


def catalogue(tokens: int) -> list[tuple[int, ...]]:
    """Ids of one, two (of 41 beginnings), or four tokens and an end (digits)."""
    if tokens == 1:
        return [(), *((20 + item,) for item in range(ITEMS))]
    if tokens == 2:
        return [(), *((20 + item // 41, 100 + item % 41) for item in range(ITEMS))]
    return [(), *((*(2 + int(digit) for digit in str(1001 + item)), END) for item in range(ITEMS))]


def by_rows(model: Any, trie: Trie, candidates: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    """Each candidate in a decoder row of its own."""
    count = candidates.shape[1]
    labels = trie.tokens[candidates].flatten(0, 1)
    real = (trie.paths[candidates] >= 0).flatten(0, 1)
    shifted = torch.cat([torch.zeros_like(labels[:, :1]), labels[:, :-1]], dim=1)
    logits = model(
        encoder_outputs=BaseModelOutput(last_hidden_state=states.repeat_interleave(count, dim=0)),
        attention_mask=mask.repeat_interleave(count, dim=0),
        decoder_input_ids=shifted,
    ).logits.float()
    each = logits.log_softmax(-1).gather(2, labels.unsqueeze(2)).squeeze(2)
    return (each * real).sum(dim=1).view(-1, count)


@torch.no_grad()
def seconds(model: Any, rank: Callable[[Tensor, Tensor, Tensor], object], prompts: Tensor, candidates: Tensor) -> float:
    """One pass over all users, encoder included, in batches."""
    start = perf_counter()
    for tokens, items in zip(prompts.split(BATCH), candidates.split(BATCH), strict=True):
        mask = torch.ones_like(tokens)
        rank(items, model.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state, mask)
    return perf_counter() - start


def main() -> None:
    """Check that the exact ways agree, then time all, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    given = parser.parse_args()
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=2000, d_model=given.width, d_kv=given.width // 4, d_ff=4 * given.width, num_heads=4,
        num_layers=given.layers, decoder_start_token_id=0, pad_token_id=0, eos_token_id=END,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config).eval()
    prompts = torch.randint(20, 2000, (given.users, PROMPT))
    candidates = torch.stack([torch.randperm(ITEMS)[:CANDIDATES] + 1 for _ in range(given.users)])
    print(f"{given.users} users, {CANDIDATES} candidates, width {given.width}, {given.layers} layers, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    for tokens in (1, 2, 5):
        trie = Trie(catalogue(tokens), 0)
        model.generation_config.eos_token_id = END if tokens == 5 else None
        ways: dict[str, Callable[..., object]] = {
            "trie": lambda *asked, trie=trie: log_likelihood(model, trie, *asked),
            "rows": lambda *asked, trie=trie: by_rows(model, trie, *asked),
            "beams": lambda *asked, trie=trie: beam_search(model, trie, *asked, beams=BEAMS, returned=10),
        }
        check(model, ways, prompts[:4], candidates[:4])
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(PASSES):
            for name, rank in ways.items():
                times[name].append(seconds(model, rank, prompts, candidates))
        fastest = {name: min(values) for name, values in times.items()}
        print(f"{tokens} token(s): " + ", ".join(
            f"{name} {1000 * value / given.users:.1f} ms a user ({value / fastest['trie']:.1f} x)"
            for name, value in fastest.items()), flush=True)  # fmt: skip


@torch.no_grad()
def check(model: Any, ways: dict[str, Callable[..., Any]], prompts: Tensor, candidates: Tensor) -> None:
    """The two exact ways agree; beams' figures are among them."""
    mask = torch.ones_like(prompts)
    states = model.encoder(input_ids=prompts, attention_mask=mask).last_hidden_state
    exact = ways["trie"](candidates, states, mask)
    torch.testing.assert_close(exact, ways["rows"](candidates, states, mask), atol=1e-4, rtol=1e-5)
    items, figures = ways["beams"](candidates, states, mask)
    places = (items.unsqueeze(2) == candidates.unsqueeze(1)).long().argmax(dim=2)
    real = items > 0
    torch.testing.assert_close(figures[real], exact.gather(1, places)[real], atol=1e-4, rtol=1e-5)


if __name__ == "__main__":
    main()
