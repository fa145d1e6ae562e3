"""Items ranked by the exact log-likelihood of their ids.

    log P(item | user) = sum_t log P(y_t | y_<t, prompt)

over the whole vocabulary, whatever the candidates are. All prefixes of the candidates' ids are decoded in one pass
(language/token_trees.py), each once a user.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recbole_fair.errors import UsageError
from recbole_fair.language.token_trees import TokenTree, next_token_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NO_ITEM = 0  # fills up rows of candidates; its score is -inf


class Trie:
    """Every proper prefix of the items' token sequences, once: the places where something must be predicted.

    `sequences` are by item id, the first (of item 0, which is none) empty. A sequence must not be the beginning of
    another: end all of them with the end token, or give all of them one length.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], start_token: int) -> None:
        _check(sequences)
        self.sequences = [tuple(sequence) for sequence in sequences]
        longest = max(map(len, self.sequences))
        nodes: dict[tuple[int, ...], int] = {(): 0}
        shape = (len(self.sequences), longest)
        self.paths = torch.full(shape, -1)  # [I, T] the node before each token
        self.tokens = torch.zeros(shape, dtype=torch.long)  # [I, T]
        for item, sequence in enumerate(self.sequences):
            for place, token in enumerate(sequence):
                self.paths[item, place] = nodes.setdefault(sequence[:place], len(nodes))
                self.tokens[item, place] = token
        self.node_tokens = torch.tensor([prefix[-1] if prefix else start_token for prefix in nodes])  # [M]
        self.depths = torch.tensor([len(prefix) for prefix in nodes])  # [M]
        self.ancestors = torch.full((len(nodes), longest), -1)  # [M, T] by depth, itself included
        for prefix, node in nodes.items():
            self.ancestors[node, : len(prefix) + 1] = torch.tensor(
                [nodes[prefix[:depth]] for depth in range(len(prefix) + 1)]
            )

    def __len__(self) -> int:
        """Nodes, the root included."""
        return len(self.node_tokens)

    def to(self, device: torch.device | str) -> Trie:
        """Move the tables, in place."""
        for name in ("paths", "tokens", "node_tokens", "depths", "ancestors"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def under(self, candidates: Tensor) -> tuple[TokenTree, Tensor]:
        """The tree of each row's candidates [B, C], and the node [B, C, T] of it before each token, -1 past the end."""
        paths = self.paths[candidates]  # [B, C, T]
        present = torch.zeros(len(candidates), len(self), dtype=torch.bool, device=paths.device)
        present.scatter_(1, paths.flatten(1).clamp(min=0), True)  # the root is in every tree
        local = present.long().cumsum(dim=1) - 1  # [B, M]
        nodes = torch.full((len(candidates), int(local[:, -1].max()) + 1), -1, device=paths.device)
        rows, columns = present.nonzero(as_tuple=True)
        nodes[rows, local[rows, columns]] = columns  # parents before children
        places = local.gather(1, paths.flatten(1).clamp(min=0)).view_as(paths)
        return self._tree(nodes), torch.where(paths < 0, -1, places)

    def _tree(self, nodes: Tensor) -> TokenTree:
        """`nodes` is [B, N], -1 where a row has ended."""
        real = nodes >= 0
        nodes = nodes.clamp(min=0)
        depths = torch.where(real, self.depths[nodes], 0)
        at_depth = self.ancestors[nodes].gather(2, depths[:, None, :].expand(-1, nodes.shape[1], -1))  # [B, N, N]
        itself = torch.eye(nodes.shape[1], dtype=torch.bool, device=nodes.device)
        visible = ((at_depth == nodes[:, None, :]) & real[:, None, :]) | itself
        return TokenTree(self.node_tokens[nodes], depths, visible)


def _check(sequences: Sequence[Sequence[int]]) -> None:
    if len(sequences) < 2 or any(not sequence for sequence in sequences[1:]):
        raise UsageError("item ids: an item has no tokens; every item but item 0 needs at least one")
    in_order = sorted((tuple(sequence), item) for item, sequence in enumerate(sequences) if sequence)
    for (first, item), (second, other) in pairwise(in_order):
        if second[: len(first)] == first:
            raise UsageError(
                f"item ids: the tokens of item {item} are the beginning of those of item {other}, so their likelihoods"
                " cannot be compared; end every id with the end token"
            )


def log_likelihood(model: PreTrainedModel, trie: Trie, candidates: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    """Exact log-likelihoods [B, C] of each row's candidates [B, C]; -inf for item 0, which fills rows up.

    `states` [B, S, D] and `mask` [B, S] as in `token_trees.next_token_logits`: the encoder runs once a user, outside.
    Holds [B, nodes, V] logits: ask in batches of users.
    """
    tree, places = trie.under(candidates)
    logits = next_token_logits(model, states, mask, tree).float()  # [B, N, V]
    scale = logits.logsumexp(dim=2)  # [B, N]
    predicted = places.flatten(1).clamp(min=0)  # [B, C * T]
    cells = predicted * logits.shape[2] + trie.tokens[candidates].flatten(1)
    each = (logits.flatten(1).gather(1, cells) - scale.gather(1, predicted)).view_as(places)
    total = torch.where(places >= 0, each, 0.0).sum(dim=2)
    return total.masked_fill(candidates == _NO_ITEM, -torch.inf)
