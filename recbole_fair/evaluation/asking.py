"""A model that answers or ranks by itself is asked for exactly what is judged; the others score every item.

On ML-100K the full pass asks a prompt model for 943 x 1,682 pairs where 9,430 are wanted, times every variant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from recbole_fair.data.labeled import LabeledLoader
from recbole_fair.groups.variants import NONE, OWN, Variant
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray


@runtime_checkable
class Answers(Protocol):
    """A model that says how likely a user likes an item, under what its prompt tells of the user."""

    def answer(self, users: Tensor, items: Tensor, variant: Variant) -> Tensor:
        """Scores [P] of the pairs users [P], items [P], in any order."""


@runtime_checkable
class Repeats(Protocol):
    """A model that knows where a variant's prompt is, word for word, that of another one."""

    def repeats(self, users: IntArray, variant: Variant) -> tuple[Variant, BoolArray]:
        """Another variant, and of which pairs of users [P] the prompt is the same under it."""


@runtime_checkable
class Ranks(Protocol):
    """A model that scores each user's own candidates."""

    def rank(self, users: Tensor, candidates: Tensor) -> Tensor:
        """Scores [B, C] of candidates [B, C]; item 0 fills rows with fewer, and its scores are not read."""


@runtime_checkable
class RanksUnder(Protocol):
    """A model that does so under what its prompt tells of the user."""

    def rank_under(self, users: Tensor, candidates: Tensor, variant: Variant) -> Tensor:
        """Scores [B, C] as those of `rank`."""


@runtime_checkable
class Counts(Protocol):
    """A model that counts what it asks with."""

    def count_anew(self) -> None:
        """An evaluation begins: forget the counts of the one before."""

    def judged_counts(self) -> Mapping[str, int]:
        """What the latest evaluation asked, cut and left unanswered."""

    def training_counts(self, pairs: Any) -> Mapping[str, int]:
        """What is learnt from these pairs, how many of their labels are planted, what was cut and left out."""

    def of_groups(self) -> Mapping[tuple[str, str], Mapping[str, float]]:
        """By grouping and group, what groups.csv shows of them beside the figures."""


@runtime_checkable
class Worded(Protocol):
    """A model whose prompts can word an attribute in several ways, of which it uses one."""

    wordings: int
    wording: int


class Prompted(NamedTuple):
    """What a model said of the judged pairs: scores [P] by variant, and once more where a metric compares passes."""

    users: IntArray  # [P]
    items: IntArray  # [P]
    scores: Mapping[Variant, FloatArray]
    again: FloatArray | None


@torch.no_grad()
def answered(
    model: Answers, loader: LabeledLoader, variants: Sequence[Variant], again: bool, progress: bool
) -> Prompted:
    """Ask for each judged pair once under each variant, the same prompt once; `again` asks anew in other batches."""
    if isinstance(model, Counts):
        model.count_anew()
    users, items = np.array(list(loader.labels), dtype=np.int64).T.copy()
    pairs = torch.from_numpy(np.stack([users, items]))
    turns = sorted(variants, key=lambda variant: (variant != NONE, variant != OWN))  # what others repeat comes first
    scores: dict[Variant, FloatArray] = {}
    for variant in tqdm(turns, desc="judge", leave=False, disable=not progress):
        scores[variant] = np.empty(len(users))
        new = np.ones(len(users), dtype=bool)
        if isinstance(model, Repeats):
            other, same = model.repeats(users, variant)
            if other in scores and other != variant:
                scores[variant][same], new = scores[other][same], ~same
        if new.any():
            scores[variant][new] = _score(model, pairs[:, torch.from_numpy(new)], variant)
    once_more = _in_other_batches(model, pairs) if again else None
    return Prompted(users, items, {variant: scores[variant] for variant in variants}, once_more)


def _in_other_batches(model: Answers, pairs: Tensor) -> FloatArray:
    """The scores under NONE of every second pair, then of the others: sorted by length, they meet other neighbours."""
    scores = np.empty(pairs.shape[1])
    for first in (0, 1):
        scores[first::2] = _score(model, pairs[:, first::2], NONE)
    return scores


def _score(model: Answers, pairs: Tensor, variant: Variant) -> FloatArray:
    return model.answer(pairs[0], pairs[1], variant).double().cpu().numpy()


@torch.no_grad()
def ranked(
    model: Ranks, loader: Any, collector: Any, progress: bool, variants: Sequence[Variant] = (), again: bool = False
) -> None:
    """Hand the scores of each user's candidates to the collector, which sees all other items as excluded.

    A model with prompts is asked once more under each of the variants, and under none in the opposite order.
    """
    for users, hidden, positive_u, positive_i in _batches(loader, progress):
        allowed = torch.ones(len(users), loader._dataset.item_num, dtype=torch.bool)
        allowed[hidden] = False
        allowed[:, 0] = False
        candidates, people = _candidates(allowed), users[loader.uid_field]
        places = candidates, allowed.shape
        scores = _spread(model.rank(people, candidates), *places)
        collector.eval_batch_collect(scores, users, positive_u, positive_i)
        if isinstance(model, RanksUnder):
            for variant in variants:
                collector.collect_prompted(
                    str(variant), _spread(model.rank_under(people, candidates, variant), *places)
                )
            if again:
                backwards = model.rank_under(people.flip(0), candidates.flip(0, 1), NONE).flip(0, 1)
                collector.collect_prompted("again", _spread(backwards, *places))


def _spread(asked: Tensor, candidates: Tensor, shape: torch.Size) -> Tensor:
    """Scores [B, I] of all items, from those of the candidates [B, C]."""
    scores = torch.full(shape, -torch.inf).scatter_(1, candidates, asked.float().cpu())
    scores[:, 0] = -torch.inf
    return scores


def _candidates(allowed: Tensor) -> Tensor:
    """[B, C] of the items that are allowed in each row, filled up with 0."""
    rows = [row.nonzero().squeeze(1) for row in allowed]
    return pad_sequence(rows, batch_first=True, padding_value=0)


def _batches(loader: Iterable[Any], progress: bool) -> Iterator[Any]:
    yield from tqdm(loader, desc="judge", leave=False) if progress else loader
