"""Metrics of yes/no answers, for labeled evaluation: F1, AUC, precision and recall of "Yes", GD, Rate and their kin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from types import MappingProxyType
from typing import Any, ClassVar

from recbole_fair.metrics import answers, formulas, parity, stereotypes
from recbole_fair.metrics.answer_table import NO_ATTRIBUTES
from recbole_fair.metrics.list_metrics import Formula, Measure, TableMetric, only, register
from recbole_fair.metrics.list_table import Table


class AnswerMetric(TableMetric):
    """A metric of labeled runs only; keys have no @K."""

    protocol = "labeled"
    metric_need: ClassVar[list[str]] = []
    bounds = (0.0, inf)
    has_better_side: ClassVar[bool] = True  # else no epoch can be chosen by it


class Overall(AnswerMetric):
    """One figure over all judged pairs."""

    figure: ClassVar[str]
    smaller = False
    bounds = (0.0, 1.0)

    def measures(self, table: Table) -> Iterator[Measure]:
        """The figure itself."""
        yield Measure(self.figure, ((self.figure, ""),), only)


@register
class F1(Overall):
    """F1 of "Yes"."""

    figure = "f1"


@register
class Yes_AUC(Overall):  # noqa: N801 (RecBole's own AUC judges other runs)
    """Area under the ROC curve of the scores."""

    figure = "auc"


@register
class Yes_Precision(Overall):  # noqa: N801
    """Share of liked pairs among those answered Yes."""

    figure = "precision"


@register
class Yes_Recall(Overall):  # noqa: N801
    """Share of liked pairs that were answered Yes."""

    figure = "recall"


@register
class Yes_Share(Overall):  # noqa: N801
    """Share of pairs answered Yes; near 0 or 1 the model has collapsed, and its fairness means nothing."""

    figure = "yes_share"
    has_better_side = False


class BetweenUsers(AnswerMetric):
    """Compares a figure between the groups of each user grouping."""

    kind = "user"

    def fields(self, table: Table) -> list[str]:
        """The user groupings."""
        return [field for field, groups in table.groups.items() if groups.kind == self.kind]


class Given(BetweenUsers):
    """Compares g, the F1 of "Yes", of each user group with that of everyone without attributes in the prompt."""

    formula: ClassVar[Formula]

    def measures(self, table: Table) -> Iterator[Measure]:
        """One a user grouping: gd[gender]."""
        for field in self.fields(table):
            key = f"{type(self).__name__.lower()}[{field}]"
            yield Measure(key, (("f1:actual", field), ("f1", "")), type(self)._of, equal=0.0)

    @classmethod
    def _of(cls, given: Any, base: Any) -> Any:
        return cls.formula(given, only(base))


@register
class GD(Given):
    """Group disparity (CL-MoE, Eq. 2)."""

    formula = staticmethod(answers.gd)


@register
class Rate(Given):
    """Mean relative change (CL-MoE, Eq. 3)."""

    formula = staticmethod(answers.rate)


@register
class Rate_Sq(Given):  # noqa: N801
    """Its square, which CL-MoE's tables print."""

    formula = staticmethod(answers.rate_sq)


@register
class GD_Gap(Given):  # noqa: N801
    """GD without the shift common to all groups."""

    @classmethod
    def _of(cls, given: Any, _: Any) -> Any:
        return answers.gd_gap(given)


class OfStereotypes(AnswerMetric):
    """Stereotype-aware fairness over the first user grouping (MoS, Eq. 4); 0 is calibrated, so no side is better."""

    bounds = (-inf, 1.0)
    smaller = has_better_side = False

    def measures(self, table: Table) -> Iterator[Measure]:
        """One figure."""
        name = type(self).__name__.lower()
        yield Measure(name, ((name, ""),), stereotypes.sf)


@register
class SF(OfStereotypes):
    """Of the pairs answered Yes."""


@register
class SF_Every(OfStereotypes):  # noqa: N801
    """Of recommending every pair, to be read beside SF."""


@register
class SF_In(OfStereotypes):  # noqa: N801
    """Over pairs whose user and item are both in the group."""


class Gap(BetweenUsers):
    """The largest difference of a figure between user groups."""

    figure: ClassVar[str]
    bounds = (0.0, 1.0)

    def measures(self, table: Table) -> Iterator[Measure]:
        """One a user grouping: gap_f1[gender]."""
        for field in self.fields(table):
            yield Measure(f"gap_{self.figure}[{field}]", ((self.figure, field),), formulas.gap, equal=0.0)


@register
class Gap_F1(Gap):  # noqa: N801
    """Gap of F1."""

    figure = "f1"


@register
class Gap_AUC(Gap):  # noqa: N801
    """Gap of AUC."""

    figure = "auc"


@register
class Gap_Yes_Share(Gap):  # noqa: N801
    """Gap of the share of Yes: demographic parity."""

    figure = "yes_share"


class WithoutInterval(BetweenUsers):
    """A figure that is not made of ratios of sums over users, so that there is nothing to resample."""

    def measures(self, table: Table) -> Iterator[Measure]:
        """None."""
        return iter(())

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        """One a user grouping: non_parity[gender]."""
        table, name = dataobject.get("table"), type(self).__name__.lower()
        return {f"{name}[{field}]": float(self.value(table, field)) for field in self.fields(table)}

    def value(self, table: Any, field: str) -> Any:
        """The figure of one grouping; nan where it is undefined."""
        raise NotImplementedError


class OfErrors(WithoutInterval):
    """Yao and Huang's unfairness of scores read as ratings, between the two groups of a user grouping."""

    formula: ClassVar[Formula]

    def value(self, table: Any, field: str) -> Any:
        """Of exactly two groups; for others it is not defined."""
        groups = table.groups[field]
        two = len(groups.names) == 2
        return self.of_two(table, groups.membership[table.users[table.rows]]) if two else float("nan")

    def of_two(self, table: Any, member: Any) -> Any:
        """The formula on the errors by item; member [P, 2] says whose pair it is."""
        scores, labels = table.scores[NO_ATTRIBUTES], table.labels.astype(float)
        return type(self).formula(parity.item_errors(scores, labels, table.items, member))


_OF_ERRORS = {
    "Value_Unfairness": parity.value_unfairness,
    "Absolute_Unfairness": parity.absolute_unfairness,
    "Under_Unfairness": parity.underestimation_unfairness,
    "Over_Unfairness": parity.overestimation_unfairness,
}
ERRORS = tuple(
    register(type(name, (OfErrors,), {"__doc__": formula.__doc__, "formula": staticmethod(formula)}))
    for name, formula in _OF_ERRORS.items()
)


@register
class Non_Parity(OfErrors):  # noqa: N801
    """Difference of the mean scores of two groups (Yao and Huang 2017)."""

    def of_two(self, table: Any, member: Any) -> Any:
        """On the scores alone."""
        return parity.non_parity(table.scores[NO_ATTRIBUTES], member)


@register
class Differential_Fairness(WithoutInterval):  # noqa: N801
    """Smoothed epsilon of the answers between user groups (Foulds et al. 2020)."""

    def value(self, table: Any, field: str) -> Any:
        """From counts of "Yes" and of pairs by group."""
        return parity.differential_fairness(*(part.sum(axis=0) for part in table.terms("yes_share", field)))


# What a user types in a labeled run: RecBole has metrics of these names that judge lists.
NAMES: Mapping[str, str] = MappingProxyType({"auc": "Yes_AUC", "precision": "Yes_Precision", "recall": "Yes_Recall"})
KEYS: Mapping[str, str] = MappingProxyType({registered.lower(): key for key, registered in NAMES.items()})
