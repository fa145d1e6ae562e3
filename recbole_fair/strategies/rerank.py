"""Rerank: a method of `rerank/` on the lists of a trained model, its strength chosen on validation.

The model's scores stay; what changes is which of a user's best `rerank_candidates` items are listed. Lists are made
for all users of a part together, once all their scores are gathered (evaluation/reranked.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from recbole_fair.evaluation.ranked import FullCollector
from recbole_fair.evaluation.reranked import RerankingCollector
from recbole_fair.groups.membership import Groups
from recbole_fair.rerank.candidates import Candidates, FloatArray, IntArray, profiles
from recbole_fair.rerank.methods import METHODS
from recbole_fair.strategies.after import AfterTraining, Judge, Point


class Rerank(AfterTraining):
    """Lists by the method of `rerank/` that the row's name names, at a strength chosen on validation."""

    aim_key = "rerank_aim"
    model: Any

    def prepare(self, model: Any) -> None:
        """Give the model a buffer for the strength, which is stored with the weights."""
        self.method = METHODS[self.config.choice.strategies[-1].name]
        self.model = model
        model.register_buffer("rerank_strength", torch.zeros((), dtype=torch.float64, device=self.device))

    def settings(self) -> list[str]:
        """The name of the one number."""
        return ["strength"]

    def points(self, judge: Judge) -> list[Point]:
        """What each of the method's own strengths does."""
        return [judge(torch.tensor([strength], dtype=torch.float64)) for strength in self.method.strengths]

    def rescored(self, scores: Tensor, setting: Tensor, scale: float) -> Tensor:
        """The scores as they are: the collector makes other lists of them."""
        self.keep(self.model, setting, scale)
        return scores

    def keep(self, model: Any, setting: Tensor, scale: float) -> None:
        """Put the strength into the model's buffer."""
        model.rerank_strength.copy_(setting[0])

    def collector(self, _: Callable[..., FullCollector], config: Any, items: Sequence[Groups]) -> FullCollector:
        """A collector of an evaluation's lists that makes the method's lists of the scores."""
        return RerankingCollector(config, items, self.places, int(self.config["rerank_candidates"]))

    def places(self, users: IntArray, items: IntArray, scores: FloatArray, k: int) -> IntArray:
        """[U, K] places of the candidates [U, C] that the method lists for these users, at the model's strength."""
        membership = self.membership.numpy() > 0
        profile = self._profile[users] if "profile" in self.method.needs else None
        candidates = Candidates(items, scores, k, membership, profile=profile)
        return self.method.choose(candidates, float(self.model.rerank_strength))

    @cached_property
    def _profile(self) -> FloatArray:
        users, items = self.view.users.numpy(), self.view.items.numpy()
        return profiles(users, items, len(self.view.groups.user), self.membership.numpy() > 0)
