"""What users and items are called in a prompt, and which words a prompt's tokens belong to.

Items are numbered in the order in which users' training histories meet them (sequential indexing, Hua et al. 2023), so
items that are met together have numbers that begin alike. A number is written out, to be cut up by the tokenizer
(`digits`), or is one token of its own (`token`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds
from torch import Tensor, nn

from recbole_fair.errors import UsageError
from recbole_fair.metrics.formulas import IntArray

Form = Literal["digits", "token"]
Tokenize = Callable[[str], Sequence[int]]  # the token ids of one word, without special tokens

FIRST_NUMBER = 1001  # so that the numbers of up to 8,999 items are equally long
MOST_WORDS = 512  # of a prompt


def sequential_numbers(histories: Iterable[Sequence[int]], items: int, first: int = FIRST_NUMBER) -> IntArray:
    """The number [I] of each item: by first appearance in the training histories, then the rest by item id.

    Item 0 is none and has the number 0.

    >>> sequential_numbers([[3, 1], [1, 4, 3]], items=6).tolist()
    [0, 1002, 1004, 1001, 1003, 1005]
    """
    order = dict.fromkeys(item for history in histories for item in history)
    ranked = [*order, *(item for item in range(1, items) if item not in order)]
    numbers = np.zeros(items, dtype=np.int64)
    numbers[ranked] = np.arange(first, first + len(ranked))
    return numbers


@dataclass(frozen=True)
class Names:
    """The words for users and items; users keep their internal numbers."""

    item_numbers: IntArray  # [I]
    users: Form = "digits"
    items: Form = "digits"

    def user(self, user: int) -> str:
        """For example user_12, or <user_12> as one token."""
        return f"user_{user}" if self.users == "digits" else f"<user_{user}>"

    def item(self, item: int) -> str:
        """For example 1012, or <item_1012> as one token."""
        number = self.item_numbers[item]
        return str(number) if self.items == "digits" else f"<item_{number}>"

    def new_tokens(self, users: int) -> list[str]:
        """The tokens that a tokenizer must learn for users 1 .. users - 1 and all items, users first."""
        of_users = [self.user(user) for user in range(1, users)] if self.users == "token" else []
        of_items = [self.item(item) for item in range(1, len(self.item_numbers))] if self.items == "token" else []
        return of_users + of_items


class Words:
    """Words to tokens, one word at a time, so that it is known which tokens are of which word.

    `tokenize` gives the tokens of a word that stands in a sentence: for a byte-level tokenizer " word" with its space.
    """

    def __init__(self, tokenize: Tokenize, *, unknown: int | None, end: Sequence[int] = ()) -> None:
        self._tokenize, self._unknown, self._end = tokenize, unknown, tuple(end)
        self._cache: dict[str, tuple[int, ...]] = {}

    def tokens(self, word: str) -> tuple[int, ...]:
        """The tokens of a word; one that the tokenizer does not know is refused."""
        if word not in self._cache:
            tokens = tuple(self._tokenize(word))
            if not tokens or self._unknown in tokens:
                raise UsageError(
                    f"the word {word!r} has no tokens of its own in this model's vocabulary; give users and items one"
                    " token each (user_token, item_token: true) or use another model"
                )
            self._cache[word] = tokens
        return self._cache[word]

    def item(self, names: Names, item: int) -> tuple[int, ...]:
        """What the decoder is to write for an item: its name, then the end."""
        return (*self.tokens(names.item(item)), *self._end)

    def items(self, names: Names) -> list[tuple[int, ...]]:
        """The same for every item by id, nothing for item 0: what `ranking.Trie` is made of."""
        return [(), *(self.item(names, item) for item in range(1, len(names.item_numbers)))]


class WholeWordEmbedding(nn.Embedding):
    """Added to the embedding of every token: the place of its word in the prompt (Geng et al. 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__(MOST_WORDS, width)
        nn.init.normal_(self.weight, std=width**-0.5)


def interaction_vectors(matrix: csr_matrix, width: int, *, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """User [U, width] and item vectors [I, width] from the truncated SVD of training interactions [U, I].

        M ~ (A S^1/2) (B S^1/2)'

    Both are brought to the standard deviation `scale`, one for all, so lengths within a table keep their ratios. A
    matrix of lower rank than `width` leaves the last columns 0. Signs are fixed, so equal data give equal vectors.
    """
    if not matrix.nnz:
        raise UsageError("item_init: svd: there are no training interactions to take vectors from")
    smaller = min(matrix.shape)
    rank = min(width, smaller - 1)  # ARPACK finds no more
    start = np.random.default_rng(0).standard_normal(smaller)  # or it draws from the global generator
    left, sizes, right = svds(matrix.astype(np.float64), k=rank, v0=start)
    order = np.argsort(-sizes)
    signs = np.sign(right[np.arange(rank), np.abs(right).argmax(axis=1)])
    root = np.sqrt(np.maximum(sizes, 0)) * signs
    return _scaled((left * root)[:, order], width, scale), _scaled((right.T * root)[:, order], width, scale)


def _scaled(vectors: npt.NDArray[np.float64], width: int, scale: float) -> Tensor:
    filled = np.zeros((len(vectors), width))
    filled[:, : vectors.shape[1]] = vectors
    return torch.from_numpy(filled * (scale / filled[1:].std())).float()  # row 0 is nobody
