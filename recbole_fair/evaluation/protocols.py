"""What is judged and by what: lists over all items, lists over drawn candidates, or answers to labeled pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from types import MappingProxyType
from typing import Any

import numpy as np

from recbole_fair.data import candidates, labeled
from recbole_fair.data.labeled import NO_ATTRIBUTES, AnswerCollector, AnswerTable
from recbole_fair.errors import UsageError
from recbole_fair.evaluation.histories import Histories, histories
from recbole_fair.evaluation.ranked import FullCollector, KeepingEvaluator
from recbole_fair.groups.membership import Groups
from recbole_fair.host import Collector, Dataset, DataStruct, FullSortEvalDataLoader, Sampler
from recbole_fair.metrics.formulas import IntArray

_LEAST_YES = 0.1  # share of either answer below which a model has collapsed (docs/metrics.md)


@dataclass(frozen=True)
class Protocol:
    """One way to judge: its loader for a part, the digest of what it asks beyond the split, collector and evaluator."""

    loader: Callable[[Any, Mapping[str, Dataset], str, Sampler], FullSortEvalDataLoader]
    digest: Callable[[list[Any]], str | None]
    collector: Callable[[Any, Sequence[Groups]], Collector]
    evaluator: Callable[[Any, Sequence[Groups], Sequence[Groups]], KeepingEvaluator]


class AnswerEvaluator(KeepingEvaluator):
    """The host's evaluator over answers; the threshold comes from the latest validation."""

    threshold: float = float("nan")
    histories: Histories | None = None

    def learn(self, users: IntArray, items: IntArray, item_count: int) -> None:
        """Stereotypes from the training interactions, where a metric asks for them."""
        asked = any(metric.startswith("sf") for metric in self.metrics)
        users_by = [groups for groups in self.groups.values() if groups.kind == "user"]
        if asked and not users_by:
            raise UsageError("metrics: SF compares groups of users; name one with user_groups=gender")
        if asked:
            self.histories = histories(self.config, users_by[0], users, items, item_count)

    def _table(self, judged: DataStruct) -> Any:
        scores, labels = judged.get("pair.score").astype(float), judged.get("pair.label")
        if judged.get("phase") == "valid":
            self.threshold = labeled.choose_threshold(self.config["yes_threshold"], scores, labels)
        if isnan(self.threshold):
            raise UsageError("eval_protocol=labeled: judge validation first; the threshold of a Yes is chosen there")
        users, rows = np.unique(judged.get("pair.user"), return_inverse=True)
        answered = {NO_ATTRIBUTES: scores}
        return AnswerTable(
            users, rows, judged.get("pair.item"), labels, answered, self.threshold, self.groups, self.histories
        )

    def collapse(self) -> str | None:
        """Nearly always the same answer: it is the same for every group, and fair to nobody."""
        share = float(self.table.terms("yes_share").value()[0])
        if _LEAST_YES <= share <= 1 - _LEAST_YES:
            return None
        return f"collapsed: {share:.1%} of the answers are Yes, so GD, Rate and their kin say nothing of fairness"


def _full_loader(config: Any, parts: Mapping[str, Dataset], phase: str, history: Sampler) -> FullSortEvalDataLoader:
    return FullSortEvalDataLoader(config, parts[phase], history.set_phase(phase), shuffle=False)


def _nothing(_: list[Any]) -> None:
    """Full ranking asks nothing beyond the split."""


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "full": Protocol(_full_loader, _nothing, FullCollector, KeepingEvaluator),
        "candidates": Protocol(candidates.candidate_loader, candidates.digest, FullCollector, KeepingEvaluator),
        "labeled": Protocol(labeled.labeled_loader, labeled.digest, AnswerCollector, AnswerEvaluator),
    }
)
