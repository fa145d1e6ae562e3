"""What each judged user adds to every figure of answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recbole_fair.groups.membership import Groups
from recbole_fair.metrics import answers
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray, Terms
from recbole_fair.metrics.stereotypes import Histories, sf_in_terms, sf_terms

NO_ATTRIBUTES = "none"  # the variant of a prompt without sensitive attributes; models without prompts have no other


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
