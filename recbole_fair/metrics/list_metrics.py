"""Fairness metrics in RecBole's evaluator: `metrics: [Recall, NDCG, CV, MIN]` in any property file.

A metric here is thin: it names the figures it reads from the table of users and the formula (functions.py) that makes
one number of them. Direction, needs and bounds are its attributes. From the same names follow its intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf, nan
from typing import Any, ClassVar

import numpy as np

from recbole_fair.errors import UsageError
from recbole_fair.host import AbstractMetric, DataStruct, EvaluatorType, metric_register
from recbole_fair.metrics import exposure, formulas
from recbole_fair.metrics.formulas import FloatArray
from recbole_fair.metrics.list_table import Table

Formula = Callable[..., Any]
BlockName = tuple[str, str]  # (metric, grouping)


@dataclass(frozen=True)
class Measure:
    """One number: a formula over the figures of one or more blocks, each an array [..., G]."""

    key: str  # cv@20[pop]
    blocks: tuple[BlockName, ...]
    formula: Formula
    equal: float = nan  # its value where groups are equal, if that bounds it
    bounds: tuple[float, float] = (-inf, inf)  # of its metric

    def of(self, figures: Mapping[BlockName, FloatArray]) -> FloatArray:
        """The formula on each block's figures: [G] for the number itself, [S, G] for S resamplings."""
        return np.asarray(self.formula(*(figures[name] for name in self.blocks)))

    def value(self, table: Table) -> float:
        """The number itself; nan where it is undefined."""
        return float(self.of({name: table.terms(*name).value() for name in self.blocks}))


def only(figures: FloatArray) -> FloatArray:
    """The figure of a block that has but one."""
    return figures[..., 0]


def register(metric: type[AbstractMetric]) -> type[AbstractMetric]:
    """Add a RecBole metric class under its lower-case name; usable as a decorator.

    RecBole's Config, Register and Evaluator share four module-level objects and look only there, so these are
    changed in place; a rebound name would change nothing.
    """
    if metric_register.metrics_dict.get(metric.__name__.lower(), metric) is not metric:
        raise UsageError(f"metric {metric.__name__}: RecBole has one of this name; choose another")
    return register_instead(metric)


def register_instead(metric: type[AbstractMetric]) -> type[AbstractMetric]:
    """Put a metric in the place of RecBole's own of that name, where that is wrong."""
    name = metric.__name__.lower()
    metric_register.metrics_dict[name] = metric
    metric_register.metric_information[name] = metric.metric_need
    metric_register.metric_types[name] = metric.metric_type
    if metric.smaller and name not in metric_register.smaller_metrics:
        metric_register.smaller_metrics.append(name)
    return metric


def base_metric(name: str, config: Any) -> Any:
    """A registered metric by name, for those that others are made of."""
    return metric_register.metrics_dict[name](config)


class TableMetric(AbstractMetric):
    """A metric that reads the table of users; a subclass yields its measures."""

    metric_type = EvaluatorType.RANKING
    metric_need: ClassVar[list[str]] = ["rec.topk"]
    bounds: ClassVar[tuple[float, float]] = (-inf, inf)  # its intervals end there
    smaller = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.topk = config["topk"]

    def measures(self, table: Table) -> Iterator[Measure]:
        """What this metric reports; nothing for one that is no formula over sums, which then has no interval."""
        yield from ()

    def calculate_metric(self, dataobject: DataStruct) -> dict[str, float]:
        """The value of each measure."""
        table = dataobject.get("table")
        return {measure.key: measure.value(table) for measure in self.measures(table)}


class UserMean(TableMetric):
    """A host metric that is a mean over users, read from the table rather than computed a second time."""

    def __init__(self, name: str, config: Any) -> None:
        super().__init__(config)
        self.name = name
        self.smaller = name in metric_register.smaller_metrics

    def measures(self, table: Table) -> Iterator[Measure]:
        """One a K."""
        for k in self.topk:
            yield Measure(f"{self.name}@{k}", ((f"{self.name}@{k}", ""),), only)


class OverGroups(TableMetric):
    """A formula over the figures of all groups of a grouping, for each grouping of one kind and each K.

    `equal` is its value where groups are equal, if it cannot lie on both sides of it.
    """

    kind: ClassVar[str]  # of groups: item or user
    figure: str  # what is compared between them
    formula: ClassVar[Formula] = staticmethod(formulas.cv)
    equal: ClassVar[float] = nan

    def measures(self, table: Table) -> Iterator[Measure]:
        """One a grouping and K, as in cv@20[pop]."""
        name = type(self).__name__.lower()
        for field, groups in table.groups.items():
            for k in self.topk if groups.kind == self.kind else ():
                yield Measure(f"{name}@{k}[{field}]", ((f"{self.figure}@{k}", field),), type(self).formula, self.equal)


class Dispersion(OverGroups):
    """sd / mean."""

    bounds = (0.0, inf)
    equal = 0.0


class OverUtilities(OverGroups):
    """Compares the utility of item groups: Recall within the group, or what `group_utility` names."""

    kind = "item"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.figure = config["group_utility"]


@register
class CV(OverUtilities):
    """Coefficient of variation of the group utilities (BiFair, section 4.3.2)."""

    bounds = (0.0, inf)
    equal = 0.0


@register
class MIN(OverUtilities):
    """Mean utility of the worst quarter of the groups (BiFair, section 4.3.2)."""

    formula = staticmethod(formulas.minimum)
    bounds = (0.0, 1.0)
    smaller = False


@register
class REO(Dispersion):
    """Ranking-based equal opportunity: sd / mean of P(recommended | group, relevant) (Zhu et al. 2020)."""

    kind, figure = "item", "found"


@register
class RSP(Dispersion):
    """Ranking-based statistical parity: sd / mean of P(recommended | group) (Zhu et al. 2020)."""

    kind, figure = "item", "shown"
    metric_need: ClassVar[list[str]] = ["rec.topk", "groups.masked"]


@register
class Exposure_CV(Dispersion):  # noqa: N801 (the name that users type)
    """sd / mean of the groups' shares of list places."""

    kind, figure = "item", "exposure"


@register
class Merit_CV(Dispersion):  # noqa: N801
    """sd / mean over groups of exposure / merit, merit being the group's share of test items."""

    kind, figure = "item", "exposure"

    def measures(self, table: Table) -> Iterator[Measure]:
        """Exposure and merit of each grouping."""
        for measure in super().measures(table):
            ((figure, field),) = measure.blocks
            merit = figure.replace("exposure", "merit")
            yield Measure(measure.key, ((figure, field), (merit, field)), _exposure_to_merit_cv, self.equal)


def _exposure_to_merit_cv(exposures: FloatArray, merits: FloatArray) -> FloatArray:
    return formulas.cv(exposure.exposure_to_merit(exposures, merits))


_BASES = ("Recall", "NDCG", "Hit", "MRR", "MAP", "Precision")
# Formula, whether smaller is better, bounds, value where groups are equal.
_DISPARITIES: dict[str, tuple[Formula, bool, tuple[float, float], float]] = {
    "Gap": (formulas.gap, True, (0.0, 1.0), 0.0),
    "Ratio": (formulas.ratio, False, (0.0, 1.0), 1.0),
    "CV": (formulas.cv, True, (0.0, inf), 0.0),
    "MIN": (formulas.minimum, False, (0.0, 1.0), nan),
}


def _between_users(prefix: str, base: str) -> type[OverGroups]:
    """Gap_NDCG and its kin: a disparity of a top-K metric between groups of users."""
    formula, smaller, bounds, equal = _DISPARITIES[prefix]
    entries = {
        "__doc__": f"{prefix} of {base} over the groups of users.",
        "kind": "user",
        "figure": base.lower(),
        "base": base.lower(),
        "formula": staticmethod(formula),
        "smaller": smaller,
        "bounds": bounds,
        "equal": equal,
    }
    return type(f"{prefix}_{base}", (OverGroups,), entries)


BETWEEN_USERS = tuple(register(_between_users(prefix, base)) for prefix in _DISPARITIES for base in _BASES)


@dataclass(frozen=True)
class Cell:
    """One figure of one group: a cell of groups.csv."""

    grouping: str
    group: str
    figure: str
    measure: Measure


def cells(table: Table) -> Iterator[Cell]:
    """Every figure of every group."""
    for field, groups in table.groups.items():
        for figure in table.figures(groups.kind):
            for place, name in enumerate(groups.names):
                yield Cell(field, name, figure, Measure(f"{figure}[{field}:{name}]", ((figure, field),), _Pick(place)))


@dataclass(frozen=True)
class _Pick:
    """One group's figure."""

    place: int

    def __call__(self, figures: FloatArray) -> FloatArray:
        return np.asarray(figures[..., self.place])
