"""Metrics of yes/no answers, each declared once: F1, AUC, precision and recall of "Yes", GD, Rate and their kin."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from recbole_fair.metrics import answers, formulas, parity, stereotypes
from recbole_fair.metrics.formulas import BoolArray, FloatArray
from recbole_fair.metrics.metric import AGAIN, AS_USED, GIVEN, OWN_VALUES, Formula, Metric, Reads, WholeTable

_SHARE = (0.0, 1.0)

# One figure over all judged pairs. Yes_Share near 0 or 1: the model has collapsed, and its fairness means nothing.
OVERALL = (
    *(
        Metric(name, [Reads(name.lower(), AS_USED)], best=inf, bounds=_SHARE, answers=True)
        for name in ("F1", "AUC", "Precision", "Recall")
    ),
    Metric("Yes_Share", [Reads("yes_share", AS_USED)], bounds=_SHARE, answers=True),
)

# g is the F1 of "Yes": with a value A_i in the prompt, and of the same users without it.
_OWN = (Reads("f1", OWN_VALUES), Reads("f1"))  # of the users who have A_i
_GIVEN = (Reads("f1", GIVEN), Reads("f1", by_group=False))  # of everyone, given A_i
_BETWEEN = (Reads("f1", OWN_VALUES), Reads("f1", by_group=False))  # of the users who have A_i against everyone
_DISPARITY: dict[str, Any] = {"over": "user", "best": 0.0, "bounds": (0.0, inf), "equal": 0.0, "answers": True}

OF_PROMPTS = (
    *(Metric(f"GD{suffix}", reads, answers.gd, **_DISPARITY) for suffix, reads in
      (("", _OWN), ("_Given", _GIVEN), ("_Between", _BETWEEN))),  # CL-MoE, Eq. 2
    *(Metric(f"Rate{suffix}", reads, answers.rate, **_DISPARITY) for suffix, reads in
      (("", _OWN), ("_Given", _GIVEN))),  # CL-MoE, Eq. 3
    *(Metric(f"Rate_Sq{suffix}", reads, answers.rate_sq, **_DISPARITY) for suffix, reads in
      (("", _OWN), ("_Given", _GIVEN))),  # what CL-MoE's tables print
    Metric("GD_Gap", _OWN, answers.gd_gap, **_DISPARITY),
    Metric("Flip", [Reads("flip", GIVEN)], over="user", best=0.0, bounds=_SHARE, answers=True),
    Metric("Flip_Null", [Reads("flip", AGAIN)], bounds=_SHARE, answers=True),  # what numerics alone flip
)  # fmt: skip

# Stereotypes over the first user grouping (MoS, Eq. 4): 0 is calibrated, from either side.
OF_STEREOTYPES = (
    Metric("SF", ["sf"], stereotypes.sf, best=0.0, bounds=(-inf, 1.0), answers=True),
    # of recommending every pair: a property of the data, to be read beside SF
    Metric("SF_Every", ["sf_every"], stereotypes.sf, bounds=(-inf, 1.0), answers=True),
    # over pairs whose user and item are both in the group
    Metric("SF_In", ["sf_in"], stereotypes.sf, best=0.0, bounds=(0.0, 1.0), answers=True),
    Metric("Pull", [Reads("pull", GIVEN)], stereotypes.pull, best=0.0, bounds=(-1.0, 1.0), answers=True),
)

# The largest difference between user groups; of the share of Yes it is demographic parity.
GAPS = tuple(
    Metric(f"Gap_{name}", [Reads(name.lower(), AS_USED)], formulas.gap, **{**_DISPARITY, "bounds": _SHARE})
    for name in ("F1", "AUC", "Yes_Share")
)


def _of_two(formula: Formula) -> Formula:
    """Unfairness of scores read as ratings, of exactly two groups of users; of other groupings it is not defined."""

    def value(table: Any, grouping: str) -> Any:
        groups = table.groups[grouping]
        if len(groups.names) != 2:
            return float("nan")
        return formula(table, groups.membership[table.users[table.rows]])

    return value


def _of_errors(formula: Formula) -> Formula:
    def value(table: Any, member: BoolArray) -> FloatArray:
        errors = parity.item_errors(table.scored(), table.labels.astype(float), table.items, member)
        return np.asarray(formula(errors))

    return _of_two(value)


def _non_parity(table: Any, member: BoolArray) -> Any:
    return parity.non_parity(table.scored(), member)


def _differential_fairness(table: Any, grouping: str) -> Any:
    """From counts of "Yes" and of pairs by group."""
    return parity.differential_fairness(*(part.sum(axis=0) for part in table.terms("yes_share", grouping, AS_USED)))


_ERRORS = {
    "Value": parity.value_unfairness,
    "Absolute": parity.absolute_unfairness,
    "Under": parity.underestimation_unfairness,
    "Over": parity.overestimation_unfairness,
}
_WHOLE: dict[str, Any] = {"over": "user", "best": 0.0, "bounds": (0.0, inf), "answers": True}
OF_ALL_PAIRS = (
    # Yao and Huang 2017; Foulds et al. 2020
    *(WholeTable(f"{name}_Unfairness", (), _of_errors(formula), **_WHOLE) for name, formula in _ERRORS.items()),
    WholeTable("Non_Parity", (), _of_two(_non_parity), **_WHOLE),
    WholeTable("Differential_Fairness", (), _differential_fairness, **_WHOLE),
)

ANSWER_METRICS = (*OVERALL, *OF_PROMPTS, *OF_STEREOTYPES, *GAPS, *OF_ALL_PAIRS)
