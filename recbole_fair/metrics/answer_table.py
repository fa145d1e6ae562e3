"""What each judged user adds to every figure of answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.variants import NONE, OWN, Variant, carried
from recbole_fair.metrics import answers
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray, Terms, present_mean
from recbole_fair.metrics.metric import AGAIN, AS_USED, GIVEN, NOTHING, Figure, Stored, variants_of
from recbole_fair.metrics.stereotypes import Histories, groups_without, pull_terms, sf_in_terms, sf_terms


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
    """Judged pairs and the users they belong to; `scores` by variant of the prompt.

    A model without prompts cannot be told an attribute: its scores under NONE are those under every variant.
    """

    users: IntArray  # [U]
    rows: IntArray  # [P] index into `users` of each pair's user
    items: IntArray  # [P]
    labels: BoolArray  # [P]
    scores: Mapping[Variant, FloatArray]  # [P] each
    threshold: float
    groups: Mapping[str, Groups] = field(default_factory=dict)
    histories: Histories | None = None
    prompts: bool = False  # whether the model reads a prompt
    again: FloatArray | None = None  # [P] scores under NONE of a second pass, in other batches
    kind: str = ""  # of the prompts that SF is read at (variants.KINDS); none: those in use
    stored: Stored = ()
    in_use = AS_USED

    @property
    def used(self) -> Variant:
        """What prompts hold when the recommender is used: each user's own values, where it was asked with them."""
        return OWN if self.prompts and OWN in self.scores else NONE

    def scored(self, variant: Variant | None = None) -> FloatArray:
        """Scores [P] under a variant, by default the one in use; one that was not asked for is refused."""
        asked = (self.used if variant is None else variant) if self.prompts else NONE
        if asked not in self.scores:
            asked_for = ", ".join(map(str, sorted(self.scores)))
            raise UsageError(f"answers: the model was not asked with {variant} in its prompt, only with {asked_for}")
        return self.scores[asked]

    def terms(self, figure: str, grouping: str = "", prompt: str = NOTHING) -> Any:
        """Terms [U, G] of a figure by group, or the scores behind an AUC; `prompt` says what the prompts held."""
        if (stored := Figure(figure, grouping, prompt)) in self.stored and isinstance(self.stored, Mapping):
            return self.stored[stored]
        if figure in _OF_STEREOTYPES:
            return self._stereotyped(figure)
        if figure in _BETWEEN_PROMPTS:
            return _BETWEEN_PROMPTS[figure](self, grouping, prompt)
        if figure == "auc":
            return Curve(self.scored(self._variant(prompt)), self.labels, self.rows, self._member(grouping))
        parts = [_FIGURES[figure](counts) for counts in self._counts(grouping, prompt)]
        return Terms(*(np.stack(part, axis=1) for part in zip(*parts, strict=True)))

    def _counts(self, grouping: str, prompt: str) -> Iterator[answers.Confusion]:
        """Right and wrong answers by user: of each group's pairs, or of all pairs given each group's value."""
        if prompt == GIVEN:
            for said_yes in self.said_yes(grouping).T:
                yield self._confusion(said_yes, np.ones(len(self.rows), dtype=bool))
            return
        said_yes = self.scored(self._variant(prompt)) >= self.threshold
        for chosen in self._member(grouping).T:
            yield self._confusion(said_yes, chosen)

    def _variant(self, prompt: str) -> Variant:
        return self.used if prompt == AS_USED else variants_of(prompt, None)[0]

    def given(self, grouping: str) -> FloatArray:
        """[P, V] of scores when everyone is given each value of a grouping."""
        return np.stack([self.scored(variant) for variant in variants_of(GIVEN, self.groups[grouping])], axis=1)

    def said_yes(self, grouping: str) -> BoolArray:
        """[P, V] of answers when everyone is given each value of a grouping."""
        return np.asarray(self.given(grouping) >= self.threshold)

    def recommended(self) -> BoolArray:
        """[P] of answers to the kind of prompts that SF is read at."""
        histories, scores = _present(self.histories), self.scored(NONE if self.kind else None)
        if self.prompts and self.kind not in ("", "implicit"):
            own = histories.groups.membership[self.users[self.rows]]
            single = np.where(own.sum(1) == 1, own.argmax(1), -1)
            given = carried(self.kind, single, own.shape[1])
            told = self.given(histories.groups.field)[np.arange(len(given)), given]
            scores = np.where(given < 0, scores, told)
        return np.asarray(scores >= self.threshold)

    def _stereotyped(self, figure: str) -> Terms:
        """SF's fractions by group: of the pairs answered Yes, or of every pair."""
        histories = _present(self.histories)
        readings = {} if figure == "sf_in" else {"pairs": histories.pairs}
        said_yes = np.ones(len(self.rows), dtype=bool) if figure == "sf_every" else self.recommended()
        shares, membership = histories.shares[self.users], histories.groups.membership[self.users]
        terms = _OF_STEREOTYPES[figure]
        return terms(self.rows, self.items, said_yes, shares, membership, histories.member, **readings)

    def confusion(self) -> answers.Confusion:
        """Right and wrong answers of each user."""
        return self._confusion(self.scored() >= self.threshold, np.ones(len(self.rows), dtype=bool))

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
        return np.asarray(self._counted_in(grouping).sum(axis=0))

    def outside(self, grouping: str) -> int:
        """Users without a pair in any group."""
        return int((~self._counted_in(grouping).any(axis=1)).sum())

    def counted(self, grouping: str) -> dict[str, IntArray]:
        """[G] each: of a group's own stereotypes, the judged pairs with its users, and how many were recommended."""
        if self.histories is None or grouping != self.histories.groups.field:
            return {}
        own = self._member(grouping) & self.histories.member[self.items]
        return {"in_group_pairs": own.sum(0), "in_group_recommended": own[self.recommended()].sum(0)}

    def notes(self) -> Iterator[str]:
        """Over which grouping stereotypes are read, and whose are recommended too rarely for SF to say anything."""
        if self.histories is None:
            return
        field, names = self.histories.groups.field, self.histories.groups.names
        if sum(groups.kind == "user" for groups in self.groups.values()) > 1:
            yield f"sf: over {field}, the first of user_groups"
        for name, count in zip(names, self.counted(field)["in_group_recommended"].tolist(), strict=True):
            if 0 < count < FEW_PAIRS:
                yield f"sf: {count} recommended pairs of {name} with its own stereotypes; below {FEW_PAIRS} it is noise"
        for figure in ("sf", "sf_in"):
            if absent := groups_without(self._stereotyped(figure).value(), names):
                yield f"{figure}: no recommended stereotype item for {', '.join(absent)}; left out"

    def _counted_in(self, grouping: str) -> BoolArray:
        member = self._member(grouping)
        return np.stack([np.bincount(self.rows[column], minlength=len(self.users)) > 0 for column in member.T], axis=1)


_FIGURES = {
    "f1": answers.f1,
    "precision": answers.precision,
    "recall": answers.recall,
    "yes_share": answers.yes_share,
}


def _flips(table: AnswerTable, grouping: str, prompt: str) -> Terms:
    """Between the values of a grouping, or between two passes that differ in their batches alone."""
    if prompt == AGAIN:
        again = table.again if table.prompts else table.scored(NONE)
        if again is None:
            raise UsageError("flip_null: the model was not asked a second time")
        said_yes = np.stack([table.scored(NONE), again], axis=1) >= table.threshold
    else:
        said_yes = table.said_yes(grouping)
    return answers.flip(said_yes, table.rows, len(table.users)).by_group(np.ones((len(table.users), 1)))


def _pulls(table: AnswerTable, _: str, __: str) -> Terms:
    histories = _present(table.histories)
    given = table.given(histories.groups.field)
    return pull_terms(table.rows, table.items, given, histories.member, len(table.users))


def _present(histories: Histories | None) -> Histories:
    assert histories is not None, "the evaluator learns stereotypes where a metric reads them"
    return histories


# What compares answers to the same pair under several prompts.
_BETWEEN_PROMPTS: Mapping[str, Any] = {"flip": _flips, "pull": _pulls}

# "sf_every": of recommending every pair, which is not 0 either.
_OF_STEREOTYPES: Mapping[str, Any] = {"sf": sf_terms, "sf_every": sf_terms, "sf_in": sf_in_terms}

FEW_PAIRS = 30  # of a group: SF of fewer is noise (docs/metrics.md)

READ_STEREOTYPES = frozenset({*_OF_STEREOTYPES, "pull"})


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

    def of(self, rows: IntArray) -> Curve:
        """The same of some users only, in their order."""
        position = np.full(max(int(self.rows.max(initial=-1)), int(rows.max(initial=-1))) + 1, -1)
        position[rows] = np.arange(len(rows))
        kept = position[self.rows] >= 0
        return Curve(self.scores[kept], self.labels[kept], position[self.rows[kept]], self.member[kept])

    def resampled(self, weights: FloatArray) -> FloatArray:
        """[S, G] of resampled users."""
        return np.stack([self._drawn(column, weights) for column in self.member.T], axis=1)

    def _drawn(self, column: BoolArray, weights: FloatArray) -> FloatArray:
        return answers.auc_draws(self.scores[column], self.labels[column], self.rows[column], weights)


@dataclass(frozen=True)
class Folds:
    """A mean over folds of the mean over classes of an AUC: what an attribute probe says of held-out users."""

    folds: tuple[tuple[Curve, ...], ...]

    def value(self) -> FloatArray:
        """[1] of the mean; a fold without two classes has none."""
        return present_mean(np.array([_over_classes([curve.value()[0] for curve in fold]) for fold in self.folds]))[
            None
        ]

    def of(self, rows: IntArray) -> Folds:
        """The same of some users only."""
        return Folds(tuple(tuple(curve.of(rows) for curve in fold) for fold in self.folds))

    def resampled(self, weights: FloatArray) -> FloatArray:
        """[S, 1] of resampled users, the trained attackers kept as they are."""
        weights = np.asfortranarray(weights)
        folds = [_over_classes([curve.resampled(weights)[:, 0] for curve in fold]) for fold in self.folds]
        return present_mean(np.stack(folds, axis=-1))[:, None]


def _over_classes(areas: Sequence[FloatArray]) -> FloatArray:
    return present_mean(np.stack(areas, axis=-1))
