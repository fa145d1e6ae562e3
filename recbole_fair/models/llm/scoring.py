"""Answers of a causal language model to Yes/No prompts in one forward pass.

The score of a prompt is softmax over the logits of the two answer tokens at its last token, in float32:

    score = softmax(W[yes] h, W[no] h)[0] = sigmoid((W[yes] - W[no]) h)

h is the state that the backbone leaves at the last token and W the output layer, so two rows of W are read instead of
a whole vocabulary at every token. Prompts are padded on the right, where a causal model cannot see the padding.

Prompts of one group (a user) usually begin alike. Their longest common token prefix is run once and its keys and values
are repeated for what follows; keys of shorter prefixes in the same batch are masked, and positions are counted by hand.
That changes nothing but the order of sums: padded, shared and one prompt at a time agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recbole_fair.errors import UsageError

Tokens = Sequence[int]
# Told which prompts (rows of the call) a forward pass is about; Involved.using of the experts is such a context.
Around = Callable[[list[int]], AbstractContextManager[Any]]

# A shorter common prefix (a system text, say) is not worth a pass of its own.
_LEAST_PREFIX = 8


class AnswerTokens(NamedTuple):
    """The ids of the two tokens that answer a prompt."""

    yes: int
    no: int


@dataclass(frozen=True)
class Padded:
    """Token ids [P, T], padded on the right, and the column of each row's last token [P]."""

    ids: Tensor
    last: Tensor

    @property
    def mask(self) -> Tensor:
        """1 at tokens, 0 at padding, [P, T]."""
        return (torch.arange(self.ids.shape[1], device=self.ids.device) <= self.last.unsqueeze(1)).long()

    def to(self, device: torch.device | str) -> Padded:
        """Move both to a device."""
        return Padded(self.ids.to(device), self.last.to(device))


def pad(prompts: Sequence[Tokens], device: torch.device | str = "cpu") -> Padded:
    """Put prompts into one matrix; the padding is token 0, which no causal model sees from the left of it."""
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise ValueError("a prompt needs at least one token")
    ids = np.zeros((len(prompts), max(map(len, prompts))), np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
    last = torch.tensor([len(prompt) - 1 for prompt in prompts])
    return Padded(torch.from_numpy(ids), last).to(device)


def unwrapped(model: Any) -> Any:
    """Return the language model itself, with the adapter layers that PEFT may have put into it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def answer_states(model: nn.Module, batch: Padded) -> Tensor:
    """Compute the last layer's state at each prompt's last token, [P, d], with gradients."""
    states = unwrapped(model).base_model(input_ids=batch.ids, use_cache=False).last_hidden_state
    return _at(states, batch.last)


def _at(states: Tensor, last: Tensor) -> Tensor:
    return states[torch.arange(len(last), device=states.device), last]


def logits_of_states(model: nn.Module, states: Tensor, answers: Tokens) -> Tensor:
    """Compute the logits of the answers (Yes, No), [P, 2] in float32, with gradients; softmax of them is the score."""
    head = unwrapped(model).get_output_embeddings()
    rows = list(answers)
    logits = states.float() @ head.weight[rows].float().T
    return logits if getattr(head, "bias", None) is None else logits + head.bias[rows].float()


def check_head(model: nn.Module, answers: AnswerTokens) -> None:
    """Refuse a model whose logits are not its states times its output rows (it caps or scales them, say).

    The base alone is asked: adapters stand before the output layer, and some need to be told of each batch.
    """
    if getattr(model, "prompt_encoder", None):
        raise UsageError("this model puts trained vectors before its prompts, which scoring by its backbone leaves out")
    base = unwrapped(model)
    batch = pad([[answers.yes, answers.no, answers.yes]], base.get_input_embeddings().weight.device)
    bare: AbstractContextManager[Any] = getattr(model, "disable_adapter", nullcontext)()
    with evaluating(model), torch.no_grad(), bare:
        theirs = base(input_ids=batch.ids, use_cache=False).logits[:, -1, [answers.yes, answers.no]].float()
        ours = logits_of_states(model, answer_states(model, batch), answers)
    # Half precision rounds their logits, not ours.
    exact = theirs.new_tensor(1e-4 if base.dtype == torch.float32 else 3e-2)
    if not torch.all((ours - theirs).abs() <= exact * (1 + theirs.abs())):
        raise UsageError(
            f"{type(base).__name__} answers with logits {theirs.tolist()[0]}, its output layer alone with "
            f"{ours.tolist()[0]}: it changes them afterwards, which is not supported; choose another model"
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off within this block."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@dataclass(frozen=True)
class SharedPrefix:
    """Prompts (rows of the call) whose first `length` tokens are the same; 0 where nothing is shared."""

    rows: tuple[int, ...]
    length: int


def common_prefix(prompts: Sequence[Tokens]) -> int:
    """Count the tokens that all prompts begin with; the last token of each prompt is left to its own.

    >>> common_prefix([[5, 6, 7, 8], [5, 6, 9]]), common_prefix([[1, 2], [1, 2]])
    (2, 1)
    """
    limit = min(map(len, prompts)) - 1
    heads = [tuple(prompt[:limit]) for prompt in prompts]
    # What the first and the last in lexical order share, all share.
    equal = (a == b for a, b in zip(min(heads), max(heads), strict=True))
    return next((position for position, same in enumerate(equal) if not same), limit)


class PairScorer:
    """Scores of Yes/No prompts: sorted by length, batched by a budget of tokens, prefixes shared within groups."""

    def __init__(
        self, model: nn.Module, answers: AnswerTokens, *, max_tokens: int = 8192, share_prefixes: bool = True
    ) -> None:
        check_head(model, answers)
        self.model, self.answers = model, answers
        self.max_tokens, self.share_prefixes = max_tokens, share_prefixes

    def scores(
        self, prompts: Sequence[Tokens], groups: Sequence[Any] | None = None, around: Around | None = None
    ) -> Tensor:
        """Compute the probability of Yes of each prompt, [P] in float32 on the CPU, in the order of the prompts."""
        logits = self.logits(prompts, groups, around)
        return torch.softmax(logits, dim=1)[:, 0]

    @torch.no_grad()
    def logits(
        self, prompts: Sequence[Tokens], groups: Sequence[Any] | None = None, around: Around | None = None
    ) -> Tensor:
        """Compute the logits of Yes and No, [P, 2].

        `groups` names whose prompt each is (any hashable values): prompts of one group share their prefix. `around`
        is entered around each forward pass with the rows that it is about; rows of a group must mean the same to it.
        """
        result = torch.empty(len(prompts), 2)
        with evaluating(self.model):
            for parts in batches(prompts, self._parts(prompts, groups), self.max_tokens):
                rows = [row for part in parts for row in part.rows]
                states = self._states(prompts, parts, around or nullcontext)
                result[rows] = logits_of_states(self.model, states, self.answers).cpu()
        return result

    def _parts(self, prompts: Sequence[Tokens], groups: Sequence[Any] | None) -> Iterator[SharedPrefix]:
        members: dict[Any, list[int]] = {}
        for row in range(len(prompts)):
            members.setdefault(row if groups is None else groups[row], []).append(row)
        for rows in members.values():
            length = common_prefix([prompts[row] for row in rows]) if self.share_prefixes and len(rows) > 1 else 0
            if length < _LEAST_PREFIX:
                yield from (SharedPrefix((row,), 0) for row in rows)
                continue
            # A group above the budget is cut into parts that run the prefix again.
            fitting = max(1, self.max_tokens // max(len(prompts[row]) for row in rows))
            for start in range(0, len(rows), fitting):
                yield SharedPrefix(tuple(rows[start : start + fitting]), length)

    def _states(self, prompts: Sequence[Tokens], parts: Sequence[SharedPrefix], around: Around) -> Tensor:
        rows = [row for part in parts for row in part.rows]
        device = unwrapped(self.model).get_input_embeddings().weight.device
        if not parts[0].length:
            with around(rows):
                return answer_states(self.model, pad([prompts[row] for row in rows], device))
        tails = pad([prompts[row][part.length :] for part in parts for row in part.rows], device)
        heads = pad([prompts[part.rows[0]][: part.length] for part in parts], device)
        owner = torch.tensor([number for number, part in enumerate(parts) for _ in part.rows], device=device)
        with around([part.rows[0] for part in parts]):
            cache = _keys_and_values(self.model, heads)
        _repeat(cache, owner, len(parts))
        with around(rows):
            return _continued(self.model, cache, heads.last[owner] + 1, heads.mask[owner], tails)


def batches(prompts: Sequence[Tokens], parts: Iterable[SharedPrefix], most: int) -> Iterator[list[SharedPrefix]]:
    """Yield batches of at most `most` tokens, of parts with a prefix or of parts without, long ones first."""
    batch: list[SharedPrefix] = []
    for part in sorted(parts, key=lambda one: (one.length, max(len(prompts[row]) for row in one.rows)), reverse=True):
        mixed = bool(batch) and bool(batch[-1].length) != bool(part.length)
        if batch and (mixed or padded_tokens(prompts, [*batch, part]) > most):
            yield batch
            batch = []
        batch.append(part)
    if batch:
        yield batch


def padded_tokens(prompts: Sequence[Tokens], parts: Sequence[SharedPrefix]) -> int:
    """Count the tokens that a batch holds in memory: its prompts times the longest prefix and the longest rest."""
    rest = max(len(prompts[row]) - part.length for part in parts for row in part.rows)
    return sum(len(part.rows) for part in parts) * (max(part.length for part in parts) + rest)


def _keys_and_values(model: nn.Module, heads: Padded) -> Any:
    from transformers import DynamicCache

    base = unwrapped(model)
    cache = DynamicCache(config=base.config)
    base.base_model(input_ids=heads.ids, cache=cache, use_cache=True)
    return cache


def _repeat(cache: Any, owner: Tensor, prefixes: int) -> None:
    """Give every rest the keys and values of its prefix, in place."""
    if prefixes == 1:
        cache.batch_repeat_interleave(len(owner))
    else:
        cache.batch_select_indices(owner)


def _continued(model: nn.Module, cache: Any, starts: Tensor, prefix_mask: Tensor, tails: Padded) -> Tensor:
    positions = starts.unsqueeze(1) + torch.arange(tails.ids.shape[1], device=tails.ids.device)
    states = unwrapped(model).base_model(
        input_ids=tails.ids,
        attention_mask=torch.cat([prefix_mask, tails.mask], dim=1),
        position_ids=positions,
        cache=cache,
        use_cache=True,
    )
    return _at(states.last_hidden_state, tails.last)
