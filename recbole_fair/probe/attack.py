"""Classifiers that try to tell a user's class from its frozen state, and the AUC of what they say (UP5, A.3).

Pure functions of states [U, D] and classes [U] (whole numbers 0..C-1). States are standardised inside each fold, from
its training users alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import ShuffleSplit, StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from recbole_fair.metrics.answers import auc_draws
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray, present_mean

_BATCH, _MOST_BATCHES, _PATIENCE, _MOST_EPOCHS, _HIDDEN = 64, 100, 5, 200, 64
_SAMPLES = 1000
_NEWTON = 400  # coefficients up to which Newton's steps are the faster ones: user states are nearly collinear


class EarlyStoppedMLP(ClassifierMixin, BaseEstimator):
    """One hidden layer, kept at its lowest log loss on a fifth of the training users.

    scikit-learn's own early stopping looks at accuracy, which the majority class alone maximises.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, states: FloatArray, classes: IntArray) -> EarlyStoppedMLP:
        """Train by epochs until the log loss has not fallen for `_PATIENCE` of them."""
        self.classes_ = np.unique(classes)
        parts = train_test_split(states, classes, test_size=0.2, stratify=classes, random_state=self.seed)
        seen, held_out, seen_classes, held_out_classes = parts
        batch = min(max(_BATCH, len(seen) // _MOST_BATCHES), len(seen))  # an epoch of many users is as long as of few
        net = MLPClassifier((_HIDDEN,), batch_size=batch, random_state=self.seed)
        losses: list[float] = []
        while len(losses) < _MOST_EPOCHS and len(losses) - int(np.argmin(losses or [0])) <= _PATIENCE:
            net.partial_fit(seen, seen_classes, classes=self.classes_)
            losses.append(log_loss(held_out_classes, net.predict_proba(held_out), labels=self.classes_))
            if losses[-1] == min(losses):
                self.net_ = deepcopy(net)
        return self

    def predict_proba(self, states: FloatArray) -> FloatArray:
        """Probabilities [U, C] in the order of `classes_`."""
        return self.net_.predict_proba(states)


def logistic(coefficients: int) -> LogisticRegression:
    """The logistic attacker of so many coefficients, features x classes: either solver finds its one optimum."""
    return LogisticRegression(max_iter=1000, solver="newton-cholesky" if coefficients <= _NEWTON else "lbfgs")


ATTACKERS: Mapping[str, Callable[[int, int], Any]] = MappingProxyType(
    {"logistic": lambda coefficients, _: logistic(coefficients), "mlp": lambda _, seed: EarlyStoppedMLP(seed)}
)


@dataclass(frozen=True)
class Plan:
    """How users are held out: `folds` stratified folds drawn `repeats` times, or one plain split of 9:1."""

    split: str = "cv"  # cv | single
    folds: int = 10
    repeats: int = 3
    average: str = "ovr"  # ovr | ovo
    seed: int = 0

    def draws(self) -> Iterator[Any]:
        """One splitter a repeat, each with a seed of its own."""
        for seed in range(self.seed, self.seed + self.repeats):
            if self.split == "single":
                yield ShuffleSplit(1, test_size=0.1, random_state=seed)
            else:
                yield StratifiedKFold(self.folds, shuffle=True, random_state=seed)


@dataclass(frozen=True)
class Fold:
    """What one attacker says of the users it was not trained on; a class that it never saw has nan."""

    users: IntArray  # [T] places in the states
    classes: IntArray  # [T] the truth
    probabilities: FloatArray  # [T, C]

    @property
    def present(self) -> IntArray:
        """Classes with an AUC here: held-out users have them, and the attacker saw them."""
        return np.intersect1d(self.classes, np.flatnonzero(np.isfinite(self.probabilities[0])))


@dataclass(frozen=True)
class Attack:
    """All folds of one attacker, repeat after repeat."""

    folds: tuple[Fold, ...]
    plan: Plan

    @property
    def by_fold(self) -> FloatArray:
        """AUC of each fold."""
        return np.array([float(fold_auc(fold, self.plan.average)[0]) for fold in self.folds])

    @property
    def by_draw(self) -> FloatArray:
        """Mean over the folds of each repeat."""
        return present_mean(self.by_fold.reshape(self.plan.repeats, -1))

    @property
    def auc(self) -> float:
        """Mean over folds and repeats; nan if no fold has two classes."""
        return float(present_mean(self.by_fold))

    @property
    def accuracy(self) -> float:
        """Share of held-out users whose most probable class is theirs."""
        right = [fold.classes == np.nanargmax(fold.probabilities, axis=1) for fold in self.folds]
        return float(np.concatenate(right).mean())

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 % percentile bootstrap over held-out users, the trained attackers kept as they are."""
        generator = np.random.default_rng(self.plan.seed)
        held_out = np.unique(np.concatenate([fold.users for fold in self.folds]))  # [H]; a single split asks few users
        weights = np.zeros((_SAMPLES, held_out[-1] + 1), order="F")  # [S, U]
        weights[:, held_out] = generator.multinomial(len(held_out), np.full(len(held_out), 1 / len(held_out)), _SAMPLES)
        figures = np.array([fold_auc(fold, self.plan.average, weights) for fold in self.folds])  # [F, S]
        low, high = np.nanpercentile(present_mean(figures.T), [2.5, 97.5])
        return float(low), float(high)


def attack(states: FloatArray, classes: IntArray, attacker: str, plan: Plan) -> Attack:
    """Hold users out by the plan, train on the rest, ask for the held-out users' probabilities."""

    def probabilities_of(seen: IntArray, held_out: IntArray, seed: int) -> FloatArray:
        known = int(classes.max()) + 1
        classifier = ATTACKERS[attacker](states.shape[1] * known, seed)
        model = make_pipeline(StandardScaler(), classifier).fit(states[seen], classes[seen])
        probabilities = np.full((len(held_out), known), np.nan)
        probabilities[:, model.classes_] = model.predict_proba(states[held_out])
        return probabilities

    return attack_by(probabilities_of, classes, plan)


def attack_by(attacker: Callable[[IntArray, IntArray, int], FloatArray], classes: IntArray, plan: Plan) -> Attack:
    """The folds of `attacker(seen, held out, seed)`, the probabilities of held-out users' classes; users are places."""
    folds = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # such a class is named by our caller
        for number, draw in enumerate(plan.draws()):
            for seen, held_out in draw.split(classes[:, None], classes):
                folds.append(Fold(held_out, classes[held_out], attacker(seen, held_out, plan.seed + number)))
    return Attack(tuple(folds), plan)


def fold_auc(fold: Fold, average: str, weights: FloatArray | None = None) -> FloatArray:
    """Macro AUC [S] of a fold's present classes under user weights [S, U] (none: each user once); nan below two.

    ovr: mean over classes c of AUC(users of c against all others by p_c). ovo (Hand and Till 2001): mean over ordered
    pairs (c, d) of AUC(users of c against users of d by p_c).
    """
    weights = np.ones((1, int(fold.users.max()) + 1)) if weights is None else weights
    if len(fold.present) < 2:
        return np.full(len(weights), np.nan)
    values = [
        auc_draws(fold.probabilities[rows, column], positive[rows], fold.users[rows], weights)
        for column, positive, rows in _contrasts(fold, average)
    ]
    return present_mean(np.array(values).T)  # a resampled fold may lack a class


def _contrasts(fold: Fold, average: str) -> Iterator[tuple[int, BoolArray, BoolArray]]:
    """A class, which held-out users have it [T], and which stand against each other [T]."""
    if average == "ovr":
        yield from ((one, fold.classes == one, np.ones(len(fold.users), dtype=bool)) for one in fold.present)
    else:
        pairs = permutations(fold.present, 2)
        yield from ((one, fold.classes == one, np.isin(fold.classes, (one, other))) for one, other in pairs)


def null_aucs(states: FloatArray, classes: IntArray, attacker: str, plan: Plan, shuffles: int) -> FloatArray:
    """AUCs [S] when classes are dealt to users at random: what chance alone gives on these very states.

    Each shuffle has one draw of folds, so the spread is if anything wider than that of a mean over several draws.
    """
    generator = np.random.default_rng(plan.seed)
    once = Plan(plan.split, plan.folds, 1, plan.average, plan.seed)
    return np.array([attack(states, generator.permutation(classes), attacker, once).auc for _ in range(shuffles)])


def told_from_chance(null: FloatArray) -> float:
    """Mean + t(.95, S - 1) sd sqrt(1 + 1/S): one further shuffle stays below it in 19 of 20 cases."""
    quantile = stats.t.ppf(0.95, len(null) - 1)
    return float(null.mean() + quantile * null.std(ddof=1) * np.sqrt(1 + 1 / len(null)))


def detectable_leak(null: FloatArray) -> float:
    """told_from_chance + z(.80) sd: the smallest leak that is told from chance in 4 of 5 attempts."""
    return float(told_from_chance(null) + stats.norm.ppf(0.80) * null.std(ddof=1))
