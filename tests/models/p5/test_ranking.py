"""Log-likelihood ranking against scoring each candidate alone, and against exhaustive beam search."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from beams import beam_search
from tiny_t5 import HEAD_WIDTH, HEADS, LAYERS, tiny_llama, tiny_t5
from torch import Tensor

from recbole_fair.errors import UsageError
from recbole_fair.language.prefixes import Prefixes
from recbole_fair.models.p5.ranking import Trie, log_likelihood

END = 1
ONE_TOKEN = [(), *((token,) for token in range(10, 20))]
TWO_TOKENS = [(), *((10 + number // 4, 20 + number % 5) for number in range(12))]
DIGITS = [(), *((*(2 + int(digit) for digit in str(number)), END) for number in (1, 2, 12, 13, 121, 122, 3, 31, 1213))]
CATALOGUES = {"one token": ONE_TOKEN, "two tokens": TWO_TOKENS, "digits": DIGITS}


def prompts() -> tuple[Tensor, Tensor]:
    tokens = torch.randint(2, 60, (3, 6), generator=torch.Generator().manual_seed(2))
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 5 + [0]])
    return tokens, mask


def alone(model: Any, tokens: Tensor, sequence: tuple[int, ...]) -> float:
    """One prompt without padding, one id, token after token."""
    total, past = 0.0, [0]
    for token in sequence:
        if model.config.is_encoder_decoder:
            logits = model(input_ids=tokens[None], decoder_input_ids=torch.tensor([past])).logits
        else:
            logits = model(input_ids=torch.cat([tokens, torch.tensor(past[1:], dtype=torch.long)])[None]).logits
        total += float(logits[0, -1].log_softmax(-1)[token])
        past.append(token)
    return total


def states_of(model: Any, tokens: Tensor, mask: Tensor) -> Tensor:
    if model.config.is_encoder_decoder:
        return model.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
    return model.get_input_embeddings()(tokens)


def expected(model: Any, sequences: list[tuple[int, ...]], candidates: Tensor) -> Tensor:
    tokens, mask = prompts()
    rows = [
        [alone(model, tokens[row][mask[row].bool()], sequences[item]) if item else -torch.inf for item in items]
        for row, items in enumerate(candidates.tolist())
    ]
    return torch.tensor(rows)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("make", [tiny_t5, tiny_llama])
@pytest.mark.parametrize("catalogue", list(CATALOGUES))
@torch.no_grad()
def test_ranking_equals_scoring_each_candidate_alone(catalogue: str, make: Any, implementation: str) -> None:
    model, sequences, (tokens, mask) = make(), CATALOGUES[catalogue], prompts()
    model.set_attn_implementation(implementation)
    candidates = torch.tensor([[1, 5, 3, 9], [7, 2, 0, 0], [4, 8, 6, 0]])
    scores = log_likelihood(model, Trie(sequences, 0), candidates, states_of(model, tokens, mask), mask)
    torch.testing.assert_close(scores, expected(model, sequences, candidates), atol=1e-5, rtol=1e-6)


@torch.no_grad()
def test_ranking_equals_scoring_alone_under_prefixes() -> None:
    model, (tokens, mask) = tiny_t5(), prompts()
    generator = torch.Generator().manual_seed(3)
    prefixes = {
        part: torch.randn(LAYERS, 2, HEADS, 4, HEAD_WIDTH, generator=generator) for part in ("encoder", "decoder")
    }
    candidates = torch.tensor([[1, 5, 3, 9], [7, 2, 0, 0], [4, 8, 6, 0]])
    with Prefixes(model).attached(prefixes):
        scores = log_likelihood(model, Trie(DIGITS, 0), candidates, states_of(model, tokens, mask), mask)
        torch.testing.assert_close(scores, expected(model, DIGITS, candidates), atol=1e-5, rtol=1e-6)


@torch.no_grad()
def test_a_prompt_padded_on_the_left_gives_the_same() -> None:
    model, (tokens, mask) = tiny_llama(), prompts()
    candidates = torch.tensor([[1, 5, 3, 9], [7, 2, 0, 0], [4, 8, 6, 0]])
    shifts = (6 - mask.sum(1)).tolist()
    left = torch.stack([row.roll(shift) for row, shift in zip(tokens, shifts, strict=True)])
    left_mask = torch.stack([row.roll(shift) for row, shift in zip(mask, shifts, strict=True)])
    trie = Trie(DIGITS, 0)
    scores = log_likelihood(model, trie, candidates, states_of(model, left, left_mask), left_mask)
    torch.testing.assert_close(scores, expected(model, DIGITS, candidates), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("catalogue", list(CATALOGUES))
@torch.no_grad()
def test_exhaustive_beam_search_gives_the_same_order_and_figures(catalogue: str) -> None:
    model, sequences, (tokens, mask) = tiny_t5(), CATALOGUES[catalogue], prompts()
    model.generation_config.eos_token_id = END if catalogue == "digits" else None
    trie, count = Trie(sequences, 0), len(sequences) - 1
    states = states_of(model, tokens, mask)
    everything = torch.arange(1, count + 1).expand(3, -1)
    scores, places = log_likelihood(model, trie, everything, states, mask).sort(dim=1, descending=True)
    items, figures = beam_search(model, trie, everything, states, mask, beams=count, returned=count)
    assert torch.equal(items, everything.gather(1, places))
    torch.testing.assert_close(figures, scores, atol=1e-5, rtol=1e-6)


@torch.no_grad()
def test_beam_search_among_few_candidates_fills_up_with_no_item() -> None:
    model, (tokens, mask) = tiny_t5(), prompts()
    candidates = torch.tensor([[1, 5, 3, 9], [7, 2, 0, 0], [4, 8, 6, 0]])
    states, trie = states_of(model, tokens, mask), Trie(DIGITS, 0)
    items, figures = beam_search(model, trie, candidates, states, mask, beams=8, returned=4)
    scores, places = log_likelihood(model, trie, candidates, states, mask).sort(dim=1, descending=True)
    assert torch.equal(items, candidates.gather(1, places))
    torch.testing.assert_close(figures, scores, atol=1e-5, rtol=1e-6)


def test_gradients_flow_through_the_ranking() -> None:
    model, (tokens, mask) = tiny_t5(), prompts()
    candidates = torch.tensor([[1, 2], [3, 4], [5, 6]])
    log_likelihood(model, Trie(DIGITS, 0), candidates, states_of(model, tokens, mask), mask).sum().backward()
    assert model.encoder.block[0].layer[0].SelfAttention.q.weight.grad.abs().sum() > 0


def test_prefixes_of_ids_are_nodes_once() -> None:
    assert len(Trie(ONE_TOKEN, 0)) == 1
    assert len(Trie(TWO_TOKENS, 0)) == 1 + 3
    tree, places = Trie(DIGITS, 0).under(torch.tensor([[3, 5], [1, 0]]))  # 12 and 121; 1 alone
    assert tree.depths.tolist() == [[0, 1, 2, 3], [0, 1, 0, 0]]
    assert places.tolist() == [[[0, 1, 2, -1, -1], [0, 1, 2, 3, -1]], [[0, 1, -1, -1, -1], [-1] * 5]]


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([(), (2, 3), (2, 3, 4)], "beginning"),
        ([(), (2,), (2,)], "beginning"),
        ([(), (2,), ()], "no tokens"),
        ([()], "no t"),
    ],
)
def test_ids_that_cannot_be_compared_are_refused(sequences: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Trie(sequences, 0)
