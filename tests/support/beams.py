"""Items found by trie-constrained beam search: another way to their log-likelihoods, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from recbole_fair.models.p5.ranking import Trie

NO_ITEM = 0  # fills up rows of candidates


def beam_search(
    model: Any, trie: Trie, candidates: Tensor, states: Tensor, mask: Tensor, *, beams: int, returned: int
) -> tuple[Tensor, Tensor]:
    """The first `returned` items [B, R] and their log-likelihoods [B, R], found by beams kept on candidates' ids.

    A row with fewer candidates than `returned` ends in item 0 at -inf. With as many beams as candidates nothing is
    pruned. Ids of several lengths must end with the end token.
    """
    end = model.generation_config.eos_token_id
    generated: Any = model.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=states),
        attention_mask=mask,
        prefix_allowed_tokens_fn=_allowed(trie, candidates, end),
        num_beams=beams,
        num_return_sequences=min(returned, beams),
        max_new_tokens=trie.paths.shape[1],
        length_penalty=0.0,  # a sum of log-likelihoods, not their mean
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    return _items(trie, candidates, generated.sequences, generated.sequences_scores)


def _allowed(trie: Trie, candidates: Tensor, end: int | None) -> Callable[[int, Tensor], list[int]]:
    """Which tokens may follow a beam of a row, the start token counted."""
    following: list[dict[tuple[int, ...], list[int]]] = []
    for row in candidates.tolist():
        after: dict[tuple[int, ...], set[int]] = {}
        for item in filter(None, row):
            sequence = trie.sequences[item]
            for place, token in enumerate(sequence):
                after.setdefault(sequence[:place], set()).add(token)
        following.append({prefix: sorted(tokens) for prefix, tokens in after.items()})
    stop = [end if end is not None else 0]  # for beams that are complete or that no candidate begins with
    return lambda row, tokens: following[row].get(tuple(tokens[1:].tolist()), stop)


def _items(trie: Trie, candidates: Tensor, sequences: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    generated = sequences[:, 1:].view(len(candidates), -1, sequences.shape[1] - 1).tolist()
    items = torch.zeros(scores.shape, dtype=torch.long, device=candidates.device).view(len(candidates), -1)
    for row, allowed in enumerate(candidates.tolist()):
        by_tokens = {trie.sequences[item]: item for item in allowed if item != NO_ITEM}
        for place, tokens in enumerate(generated[row]):
            items[row, place] = _taken(tokens, by_tokens)
    return items, scores.view_as(items).masked_fill(items == NO_ITEM, -torch.inf)


def _taken(tokens: list[int], by_tokens: dict[tuple[int, ...], int]) -> int:
    """The item whose id begins the generated tokens (padding may follow), which then is no longer there, else none.

    Beams without a candidate of their own repeat a better beam's.
    """
    starts = (tuple(tokens[:length]) for length in range(1, len(tokens) + 1))
    return next((by_tokens.pop(start) for start in starts if start in by_tokens), NO_ITEM)
