"""Judging answers instead of lists: whether a user likes an item, yes or no.

The pairs are the test interactions themselves, each with a label (is its rating in `likes`?). A model that only ranks
is asked for its scores of these pairs, and says Yes above a threshold chosen on validation; so it can stand in one
table with a language model that answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_fair.errors import UsageError
from recbole_fair.evaluation.histories import Histories
from recbole_fair.evaluation.ranked import refuse_nonsense
from recbole_fair.groups.membership import Groups, within
from recbole_fair.host import Collector, Dataset, DataStruct, FullSortEvalDataLoader, Sampler
from recbole_fair.metrics import answers
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray, Terms
from recbole_fair.metrics.stereotypes import sf_in_terms, sf_terms

NO_ATTRIBUTES = "none"  # the variant of a prompt without sensitive attributes; models without prompts have no other


def likes(config: Any, part: Dataset) -> BoolArray:
    """Whether each row's rating counts as a like."""
    rating, interval = config["RATING_FIELD"], config["likes"]
    if interval is None:
        raise UsageError("likes: labeled evaluation needs the ratings that count as a like, as in likes='[4,inf)'")
    if rating not in part.inter_feat:
        raise UsageError(
            f"eval_protocol=labeled: the data has no field {rating!r} (RATING_FIELD), or load_col omits it"
        )
    if config["normalize_all"] or rating in (config["normalize_field"] or ()):
        raise UsageError("normalize_all: labeled evaluation reads ratings on their own scale; set normalize_all=False")
    values, places = np.unique(part.inter_feat[rating].numpy(), return_inverse=True)
    liked = within(interval, "likes")
    return np.array([liked(str(value)) for value in values.tolist()], dtype=bool)[places]


class LabeledLoader(FullSortEvalDataLoader):
    """The host's loader over the judged pairs; `labels` says of each (user, item) whether it is liked."""

    phase: str
    labels: dict[tuple[int, int], bool]


def labeled_loader(config: Any, parts: Mapping[str, Dataset], phase: str, history: Sampler) -> LabeledLoader:
    """The latest `targets_per_user` interactions of each user in one part."""
    part = parts[phase]
    chosen = latest(part, config["targets_per_user"])
    liked = likes(config, part)[chosen]
    if liked.all() or not liked.any():
        raise UsageError(
            f"likes={config['likes']!r}: {'all' if liked.all() else 'none'} of the {phase} pairs are liked"
        )
    judged = part.copy(part.inter_feat[torch.from_numpy(chosen)])
    users, items = (judged.inter_feat[name].tolist() for name in (part.uid_field, part.iid_field))
    loader = LabeledLoader(config, judged, history.set_phase(phase), shuffle=False)
    loader.phase, loader.labels = phase, dict(zip(zip(users, items, strict=True), liked.tolist(), strict=True))
    return loader


def latest(part: Dataset, count: int | None) -> IntArray:
    """Rows of each user's last `count` interactions (all without a count), in the part's own order."""
    users = part.inter_feat[part.uid_field].numpy()
    if count is None:
        return np.arange(len(users))
    time = part.inter_feat[part.time_field].numpy() if part.time_field in part.inter_feat else np.arange(len(users))
    order = np.lexsort((time, users))
    last_of_user = np.searchsorted(users[order], users[order], side="right")
    return np.sort(order[last_of_user - np.arange(len(users)) <= count])


def digest(loaders: list[LabeledLoader]) -> str:
    """Equal for two runs exactly if they answer the same pairs with the same labels."""
    value = hashlib.sha256()
    for loader in loaders:
        rows = sorted((user, item, liked) for (user, item), liked in loader.labels.items())
        value.update(np.array(rows, dtype=np.int64).tobytes())
    return value.hexdigest()[:16]


class AnswerCollector(Collector):
    """Keeps the scores of the judged pairs; `loader` is what is being judged (set by the trainer)."""

    loader: LabeledLoader

    def __init__(self, config: Any, _: Sequence[Groups] = ()) -> None:
        super().__init__(config)
        self.batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def eval_batch_collect(
        self, scores_tensor: Tensor, interaction: Any, positive_u: Tensor, positive_i: Tensor
    ) -> None:
        """Scores [B, I] of a batch of users, whose pairs are (row, item)."""
        scores = scores_tensor[positive_u, positive_i]
        refuse_nonsense(scores.abs())  # -inf keeps an item out of a list, but is no answer
        self.batches.append((interaction[self.config["USER_ID_FIELD"]].cpu()[positive_u], positive_i, scores.cpu()))

    def get_data_struct(self) -> DataStruct:
        """Pairs, labels and scores of this evaluation."""
        users, items, scores = (torch.cat(parts).numpy() for parts in zip(*self.batches, strict=True))
        self.batches = []
        labels = [self.loader.labels[pair] for pair in zip(users.tolist(), items.tolist(), strict=True)]
        collected = DataStruct()
        for name, value in (("user", users), ("item", items), ("label", np.array(labels)), ("score", scores)):
            collected.set(f"pair.{name}", value)
        collected.set("phase", self.loader.phase)
        return collected


def choose_threshold(rule: str | float, scores: FloatArray, labels: BoolArray) -> float:
    """The score from which the answer is Yes, from validation pairs.

    `share`: as many Yes as there are likes; `f1`: the largest F1 (near "always Yes" where likes are many); or a number.
    """
    if isinstance(rule, (int, float)):
        return float(rule)
    ranked = np.sort(scores)[::-1]
    if rule == "share":
        return float(ranked[max(int(labels.sum()) - 1, 0)])
    hits = labels[np.argsort(-scores, kind="stable")].cumsum()
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    f1 = np.where(last_of_tie, 2 * hits / (np.arange(1, len(scores) + 1) + labels.sum()), -1.0)
    return float(ranked[int(f1.argmax())])


@dataclass(frozen=True)
class AnswerTable:
    """Judged pairs and the users they belong to; `scores` by variant of the prompt."""

    users: IntArray  # [U]
    rows: IntArray  # [P] place of each pair's user in `users`
    items: IntArray  # [P]
    labels: BoolArray  # [P]
    scores: Mapping[str, FloatArray]  # [P] each
    threshold: float
    groups: Mapping[str, Groups] = field(default_factory=dict)
    histories: Histories | None = None

    def terms(self, metric: str, grouping: str = "") -> Any:
        """Terms [U, G] of F1 and its kin, or the scores behind an AUC; "f1:actual" reads another variant."""
        name, _, variant = metric.partition(":")
        if name in _OF_STEREOTYPES:
            return self._stereotyped(name)
        member = self._member(grouping)  # [P, G]
        scores = self.scores.get(variant or NO_ATTRIBUTES, self.scores[NO_ATTRIBUTES])
        if name == "auc":
            return Curve(scores, self.labels, self.rows, member)
        parts = [_FIGURES[name](self._confusion(scores >= self.threshold, column)) for column in member.T]
        return Terms(*(np.stack(part, axis=1) for part in zip(*parts, strict=True)))

    def _stereotyped(self, name: str) -> Terms:
        """SF's fractions by group: of the pairs answered Yes, or of every pair."""
        assert self.histories is not None
        known, readings = self.histories, {} if name == "sf_in" else {"pairs": self.histories.pairs}
        said_yes = self.scores[NO_ATTRIBUTES] >= (-np.inf if name == "sf_every" else self.threshold)
        shares, membership = known.shares[self.users], known.groups.membership[self.users]
        return _OF_STEREOTYPES[name](self.rows, self.items, said_yes, shares, membership, known.member, **readings)

    def confusion(self) -> answers.Confusion:
        """Right and wrong answers of each user."""
        return self._confusion(self.scores[NO_ATTRIBUTES] >= self.threshold, np.ones(len(self.rows), dtype=bool))

    def _confusion(self, said_yes: BoolArray, chosen: BoolArray) -> answers.Confusion:
        return answers.confusion(self.labels[chosen], said_yes[chosen], self.rows[chosen], len(self.users))

    def _member(self, grouping: str) -> BoolArray:
        """[P, G] whether a pair belongs to each group: by its user or by its item."""
        if not grouping:
            return np.ones((len(self.rows), 1), dtype=bool)
        groups = self.groups[grouping]
        return groups.membership[self.users[self.rows] if groups.kind == "user" else self.items]

    def figures(self, kind: str) -> list[str]:
        """Users and items alike."""
        return ["auc", *_FIGURES]

    def judged(self, grouping: str) -> IntArray:
        """Users with a pair in each group."""
        return np.asarray(self._speak_for(grouping).sum(axis=0))

    def outside(self, grouping: str) -> int:
        """Users without a pair in any group."""
        return int((~self._speak_for(grouping).any(axis=1)).sum())

    def _speak_for(self, grouping: str) -> BoolArray:
        member = self._member(grouping)
        return np.stack([np.bincount(self.rows[column], minlength=len(self.users)) > 0 for column in member.T], axis=1)


_FIGURES = {
    "f1": answers.f1,
    "precision": answers.precision,
    "recall": answers.recall,
    "yes_share": answers.yes_share,
}


# "sf_every": of recommending every pair, which is not 0 either.
_OF_STEREOTYPES: Mapping[str, Any] = {"sf": sf_terms, "sf_every": sf_terms, "sf_in": sf_in_terms}


@dataclass(frozen=True)
class Curve:
    """What an AUC by group needs: it is no ratio of sums over users, so its samples are drawn here."""

    scores: FloatArray  # [P]
    labels: BoolArray  # [P]
    rows: IntArray  # [P]
    member: BoolArray  # [P, G]

    def value(self) -> FloatArray:
        """[G] of areas."""
        return np.array([answers.auc(self.scores[column], self.labels[column]) for column in self.member.T])

    def resampled(self, weights: FloatArray) -> FloatArray:
        """[S, G] of resampled users."""
        return np.stack([self._drawn(column, weights) for column in self.member.T], axis=1)

    def _drawn(self, column: BoolArray, weights: FloatArray) -> FloatArray:
        return answers.auc_draws(self.scores[column], self.labels[column], self.rows[column], weights)
