"""From judged lists to the table of users, with all that the metrics that were asked for need of each user.

Numpy alone: a run comes here with what it collected from its model, an audit with what it read from files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.metrics import declared
from recbole_fair.metrics.catalogue import Catalogue
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray, Terms
from recbole_fair.metrics.list_table import OF_LISTS, RankingTable, by_field
from recbole_fair.metrics.metric import Figure, Metric, OfEachUser, OfHits, OfScores
from recbole_fair.metrics.shown import Shown
from recbole_fair.metrics.stability import SIMILARITIES, PromptedLists


@dataclass(frozen=True)
class JudgedLists:
    """Lists of judged users beside their held-out items."""

    users: IntArray  # [U]
    lists: IntArray  # [U, K] item ids, best first, 0 where there is none
    scores: FloatArray  # [U, K]
    hit: BoolArray  # [U, K] whether a listed item is held out
    relevant: IntArray  # [U] of held-out items
    # All item groupings beside each other: "hits" [U, T, G] within each of the T cutoffs, "relevant" [U, G], and
    # "masked" [U, G] of items that a user could not be shown.
    counts: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    prompted: PromptedLists | None = None  # of a model with prompts, where a metric compares lists under several


class Asked:
    """The metrics that are asked for, of which groups and at which cutoffs."""

    catalogue: Catalogue | None = None  # known once `learn` was told of the training interactions

    def __init__(
        self,
        config: Any,
        metrics: Sequence[Metric],
        item_groups: Sequence[Groups] = (),
        user_groups: Sequence[Groups] = (),
    ) -> None:
        self.config, self.metrics, self.item_groups = config, list(metrics), item_groups
        self.groups = by_field([*item_groups, *user_groups])
        self._refuse_unfit()

    def _refuse_unfit(self) -> None:
        """A metric of certain groupings would not be reported without them."""
        for metric in self.metrics:
            if isinstance(metric, OfEachUser) and metric.fields and not metric.groupings(self):
                raise UsageError(
                    f"metrics: {metric.name} is of {' or '.join(metric.fields)}; name one among item_groups, which are"
                    f" {[groups.field for groups in self.item_groups]}"
                )

    def learn(self, users: IntArray, items: IntArray, item_count: int) -> None:
        """What metrics need of the training interactions."""
        trained = np.bincount(items, minlength=item_count)
        self.training, self.catalogue = (users, items), Catalogue(trained, self.config["tail_ratio"] or 0.1)

    @property
    def shape(self) -> Any:
        """What measures read of a table before there is one: its groupings and cutoffs."""
        topk, utility = list(self.config["topk"]), self.config["group_utility"]
        return SimpleNamespace(groups=self.groups, topk=topk, utility=utility)

    def stored(self, lost: Collection[str]) -> tuple[Figure, ...]:
        """What users.csv keeps of each user, so that a report can evaluate figures that its other columns lack."""
        measures = (measure for metric in self.metrics for measure in metric.measures(self.shape))
        figures = dict.fromkeys(figure for measure in measures for figure in measure.blocks)
        return tuple(figure for figure in figures if figure.name.partition("@")[0] in lost)

    def table(self, judged: JudgedLists) -> RankingTable:
        """One row a user."""
        counts = _by_grouping(judged.counts, self.item_groups)
        own = dict(self._of_each_user(judged, counts.get("relevant", {})))
        ratios = {key: values for key, values in own.items() if isinstance(values, Terms)}
        means = {key: values for key, values in own.items() if not isinstance(values, Terms)}
        return RankingTable(
            users=judged.users,
            lists=judged.lists,
            scores=judged.scores,
            topk=list(self.config["topk"]),
            per_user=dict(self._of_hits(judged)) | means,
            ratios=ratios,
            groups=self.groups,
            utility=self.config["group_utility"],
            utility_users=self.config["group_utility_users"],
            stored=(*self.stored(OF_LISTS | SIMILARITIES.keys()), *map(Figure, ratios)),
            prompted=judged.prompted,
            catalogue=self.catalogue,
            **counts,
        )

    def _of_hits(self, judged: JudgedLists) -> Iterator[tuple[str, FloatArray]]:
        """The columns of means over users: of those asked for, and of those that groups of users are compared by."""
        compared = [read.figure for metric in self.metrics if metric.over == "user" for read in metric.figures]
        for name in dict.fromkeys([*(metric.name.lower() for metric in self.metrics), *compared]):
            values = self._within_each_k(name, judged)
            if values is not None:
                for k in self.config["topk"]:
                    yield f"{name}@{k}", values[:, k - 1].copy()

    def _within_each_k(self, name: str, judged: JudgedLists) -> FloatArray | None:
        """[U, K] of a mean over users of how well lists find what was held out; None of any other metric."""
        if name in declared.CLASSES:
            return _of_class(declared.CLASSES[name](self.config), judged)
        metric = declared.HOST.get(name)
        return metric.of(judged.hit, judged.relevant) if isinstance(metric, OfHits) else None

    def _of_each_user(
        self, judged: JudgedLists, relevant: Mapping[str, IntArray]
    ) -> Iterator[tuple[str, FloatArray | Terms]]:
        """The columns of the other metrics that are means over users."""
        asked = [metric for metric in self.metrics if isinstance(metric, OfEachUser)]
        if asked and self.catalogue is not None:
            size = len(self.catalogue.trained)
            shown = Shown(judged.users, judged.lists, self.training, size, self.groups, relevant, judged.relevant)
            for metric in asked:
                for key, k, grouping in metric.columns(self.shape):
                    yield key, metric.of(shown, k, grouping)


def _by_grouping(
    counts: Mapping[str, npt.NDArray[Any]], item_groups: Sequence[Groups]
) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """The counted columns of all groupings, by grouping."""
    stops = np.cumsum([len(groups.names) for groups in item_groups])[:-1]
    fields = [groups.field for groups in item_groups]
    return {name: dict(zip(fields, np.split(columns, stops, axis=-1), strict=True)) for name, columns in counts.items()}


def of_table(name: str) -> Metric | None:
    """The metric of a lower-case name in RecBole's table, if the table of users is all it reads."""
    metric, made = declared.by_host_name()[name], declared.CLASSES.get(name)
    return None if isinstance(metric, OfScores) or (made is not None and not _is_additive(made)) else metric


def _is_additive(made: type) -> bool:
    """Whether a RecBole metric class is a mean over users of how well a list finds what was held out."""
    return list(getattr(made, "metric_need", ())) == ["rec.topk"] and hasattr(made, "metric_info")


def _of_class(metric: Any, judged: JudgedLists) -> FloatArray:
    """[U, K] of a RecBole metric class."""
    lengths = {"pos_len": judged.relevant} if "pos_len" in signature(metric.metric_info).parameters else {}
    return np.asarray(metric.metric_info(judged.hit, **lengths), dtype=float)
