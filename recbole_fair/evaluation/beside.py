"""What stands beside the figures of a model that answers: other wordings, and what needs no model at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recbole_fair.data.labeled import likes
from recbole_fair.data.load import Data
from recbole_fair.evaluation.asking import Worded
from recbole_fair.groups.variants import NONE
from recbole_fair.metrics.answer_table import AnswerTable, choose_threshold
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray, divide

Figures = dict[str, float]


def in_other_words(trainer: Any, loader: Any) -> list[Mapping[str, float]]:
    """The figures under each other way to word the attributes; the threshold of a Yes stays that of the run's own."""
    model = trainer.model
    if not isinstance(model, Worded):
        return []
    own, figures = model.wording, []
    for wording in range(model.wordings):
        if wording != min(own, model.wordings - 1):
            model.wording = wording
            figures.append(trainer.evaluate(loader, load_best_model=False))
    model.wording = own
    return figures


def spread(figures: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The lowest and the highest value of each figure that is always defined; none where there is one wording.

    >>> spread([{"f1": 0.5, "rate": 0.1}, {"f1": 0.4, "rate": float("nan")}])
    {'f1': [0.4, 0.5]}
    """
    if len(figures) < 2:
        return {}
    values = {name: [float(each[name]) for each in figures] for name in figures[0]}
    return {name: [min(of), max(of)] for name, of in values.items() if not np.isnan(of).any()}


def without_model(config: Any, loaded: Data, table: AnswerTable) -> dict[str, Figures]:
    """Figures of the test pairs that need no model: Yes always, and each item's share of likes in training.

    The item's share answers by the rule of `yes_threshold` on validation; an item that training lacks has the share of
    all.
    """
    items, liked = loaded.pairs("train")[1], likes(config, loaded.parts["train"])
    counts = np.bincount(items, minlength=loaded.dataset.item_num)
    share = divide(np.bincount(items, weights=liked, minlength=len(counts)), counts)
    share = np.where(np.isnan(share), liked.mean(), share)
    threshold = choose_threshold(config["yes_threshold"], *_validation(loaded, share))
    return {
        "yes_always": _figures(table, np.ones(len(table.items)), 0.5),
        "item_mean": _figures(table, share[table.items], threshold),
    }


def _validation(loaded: Data, share: FloatArray) -> tuple[FloatArray, BoolArray]:
    items: IntArray = np.array([item for _, item in loaded.valid.labels])
    return share[items], np.array(list(loaded.valid.labels.values()))


def _figures(table: AnswerTable, scores: FloatArray, threshold: float) -> Figures:
    """F1, AUC and the share of Yes of scores [P] that no prompt changes."""
    answered = replace(table, scores={NONE: scores}, threshold=threshold, prompts=False, stored=())
    return {name: float(answered.terms(name).value()[0]) for name in ("f1", "auc", "yes_share")}


def of_base(test: Mapping[str, float | None]) -> Figures:
    """The figures of the run that a model stands on, as far as they are defined."""
    return {name: value for name, value in test.items() if value is not None}
