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
        Metric(name, [Reads(name.lower(), AS_USED)], best=inf, bounds=_SHARE, answers=True, means=means)
        for name, means in (
            ("F1", 'F1 of the answer "Yes"'),
            ("AUC", "chance that a liked pair scores above a disliked one"),
            ("Precision", 'share of the answers "Yes" whose pair was liked'),
            ("Recall", 'share of the liked pairs that are answered "Yes"'),
        )
    ),
    Metric("Yes_Share", [Reads("yes_share", AS_USED)], bounds=_SHARE, answers=True,
           means='share of the answers that are "Yes"; near 0 or 1 the model has collapsed'),
)  # fmt: skip

# g is the F1 of "Yes": with a value A_i in the prompt, and of the same users without it.
_OWN = (Reads("f1", OWN_VALUES), Reads("f1"))  # of the users who have A_i
_GIVEN = (Reads("f1", GIVEN), Reads("f1", by_group=False))  # of everyone, given A_i
_BETWEEN = (Reads("f1", OWN_VALUES), Reads("f1", by_group=False))  # of the users who have A_i against everyone
_DISPARITY: dict[str, Any] = {"over": "user", "best": 0.0, "bounds": (0.0, inf), "equal": 0.0, "answers": True}
_SAID = "when the prompt says the attribute: "
_WHOSE = {"": "of the users who have its value", "_Given": "of everyone, given each value"}

OF_PROMPTS = (
    *(Metric(f"GD{suffix}", reads, answers.gd, **_DISPARITY,
             means=f"how far F1 moves {_SAID}root mean square over its values, {_WHOSE[suffix]}")
      for suffix, reads in (("", _OWN), ("_Given", _GIVEN))),  # CL-MoE, Eq. 2
    Metric("GD_Between", _BETWEEN, answers.gd, **_DISPARITY,
           means="root mean square over groups of their F1 with the attribute in the prompt minus everyone's without"),
    *(Metric(f"Rate{suffix}", reads, answers.rate, **_DISPARITY,
             means=f"by what share F1 moves {_SAID}mean over its values, {_WHOSE[suffix]}")
      for suffix, reads in (("", _OWN), ("_Given", _GIVEN))),  # CL-MoE, Eq. 3
    *(Metric(f"Rate_Sq{suffix}", reads, answers.rate_sq, **_DISPARITY,
             means=f"by what share F1 moves {_SAID}mean square over its values, {_WHOSE[suffix]}")
      for suffix, reads in (("", _OWN), ("_Given", _GIVEN))),  # what CL-MoE's tables print
    Metric("GD_Gap", _OWN, answers.gd_gap, **_DISPARITY,
           means=f"how differently F1 of the groups moves {_SAID}sd over groups"),
    Metric("Flip", [Reads("flip", GIVEN)], over="user", best=0.0, bounds=_SHARE, answers=True,
           means="share of pairs whose answer changes with the attribute's value in the prompt"),
    Metric("Flip_Null", [Reads("flip", AGAIN)], bounds=_SHARE, answers=True,
           means="share of pairs whose answer changes when nothing but the batches does: numerics"),
)  # fmt: skip

# Stereotypes over the first user grouping (MoS, Eq. 4): 0 is calibrated, from either side.
OF_STEREOTYPES = (
    Metric("SF", ["sf"], stereotypes.sf, best=0.0, bounds=(-inf, 1.0), answers=True,
           means="above 0 a group is given more of its stereotype items than its users had, below 0 fewer"),
    Metric("SF_Every", ["sf_every"], stereotypes.sf, bounds=(-inf, 1.0), answers=True,
           means="sf of recommending every pair: a property of the data, to be read beside sf"),
    Metric("SF_In", ["sf_in"], stereotypes.sf, best=0.0, bounds=(0.0, 1.0), answers=True,
           means="sf over pairs whose user and item are both in the group"),
    Metric("Pull", [Reads("pull", GIVEN)], stereotypes.pull, best=0.0, bounds=(-1.0, 1.0), answers=True,
           means='how much likelier "Yes" to a group\'s stereotype items is when the prompt names that group'),
)  # fmt: skip

# The largest difference between user groups; of the share of Yes it is demographic parity.
GAPS = tuple(
    Metric(f"Gap_{name}", [Reads(name.lower(), AS_USED)], formulas.gap, **{**_DISPARITY, "bounds": _SHARE},
           means=f"largest minus smallest {name} of a user group")
    for name in ("F1", "AUC", "Yes_Share")
)  # fmt: skip


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
    "Value": (parity.value_unfairness, "signed errors of scores"),
    "Absolute": (parity.absolute_unfairness, "sizes of the errors of scores"),
    "Under": (parity.underestimation_unfairness, "underestimations"),
    "Over": (parity.overestimation_unfairness, "overestimations"),
}
_WHOLE: dict[str, Any] = {"over": "user", "best": 0.0, "bounds": (0.0, inf), "answers": True}
OF_ALL_PAIRS = (
    # Yao and Huang 2017; Foulds et al. 2020
    *(WholeTable(f"{name}_Unfairness", (), _of_errors(formula), **_WHOLE,
                 means=f"mean over items of how far the {errors} differ between two user groups")
      for name, (formula, errors) in _ERRORS.items()),
    WholeTable("Non_Parity", (), _of_two(_non_parity), **_WHOLE,
               means="difference of the mean scores of two user groups"),
    WholeTable("Differential_Fairness", (), _differential_fairness, **_WHOLE,
               means='by which factor e^x the chance of "Yes" or of "No" differs between user groups at most'),
)  # fmt: skip

ANSWER_METRICS = (*OVERALL, *OF_PROMPTS, *OF_STEREOTYPES, *GAPS, *OF_ALL_PAIRS)
