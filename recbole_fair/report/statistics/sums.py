"""A metric of one run as sums over its users, so that users can be resampled and two runs paired.

A metric stands here only if the sums give back the figure of result.json: what cannot be recomputed is not tested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recbole_fair.metrics import answers, formulas
from recbole_fair.metrics.bootstrap import Aggregate
from recbole_fair.metrics.formulas import FloatArray, Terms
from recbole_fair.report.users import StrArray, Users

_KEY = re.compile(r"(?P<name>\w+?)(?:@(?P<cutoff>\d+))?(?:\[(?P<field>.+)\])?")
_AGGREGATES: dict[str, Aggregate] = {
    "cv": formulas.cv,
    "min": formulas.minimum,
    "gap": formulas.gap,
    "ratio": formulas.ratio,
}
_OF_ANSWERS: dict[str, Callable[[answers.Confusion], Terms]] = {
    "f1": answers.f1,
    "precision": answers.precision,
    "recall": answers.recall,
    "yes_share": answers.yes_share,
}
_OF_ATTRIBUTES: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "gd": answers.gd,
    "rate": answers.rate,
    "rate_sq": answers.rate_sq,
}
_VARIANTS = ("actual", "none")  # which of them a labeled run's overall figures are of, the figures themselves tell
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Sums:
    """A figure made of sum_u numerator / sum_u denominator, by `reduce` from [..., C] to [...]."""

    users: StrArray  # [U]
    terms: Terms  # [U, C]
    reduce: Aggregate

    @property
    def value(self) -> float:
        """The figure over all users."""
        return float(self.reduce(self.terms.value()))

    def of(self, users: StrArray) -> Sums:
        """The same for some of the users."""
        rows = np.searchsorted(self.users, users)
        return Sums(users, Terms(*(matrix[rows] for matrix in self.terms)), self.reduce)


class _Key(NamedTuple):
    name: str
    cutoff: str
    field: str


def sums(users: Users, key: str, stated: float) -> Sums | None:
    """The sums behind `key`, None if users.csv and predictions.tsv do not give `stated`."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    parsed = _Key(*(part or "" for part in found.groups()))
    made = (maker(users, parsed) for maker in (_mean, _item_groups, _user_groups, _answers, _attributes))
    return next((one for some in made for one in some if _gives(one, stated)), None)


def _gives(found: Sums, stated: float) -> bool:
    return bool(np.isclose(found.value, stated, rtol=_TOLERANCE, atol=1e-12))


def _mean(users: Users, key: _Key) -> list[Sums]:
    values = users.figures.get(f"{key.name}@{key.cutoff}")
    return [] if key.field or values is None else [Sums(users.ids, _defined(values[:, None]), _first)]


def _defined(values: FloatArray) -> Terms:
    """Mean over the users who have the figure."""
    known = ~np.isnan(values)
    return Terms(np.where(known, values, 0.0), known.astype(float))


def _first(figures: FloatArray) -> FloatArray:
    return figures[..., 0]


def _item_groups(users: Users, key: _Key) -> list[Sums]:
    if key.name not in _AGGREGATES:
        return []
    return [Sums(users.ids, terms, _AGGREGATES[key.name]) for terms in by_item_group(users, key.field, key.cutoff)[1]]


def by_item_group(users: Users, field: str, cutoff: str) -> tuple[list[str], list[Terms]]:
    """BiFair's utility by item group, [U, G], in both readings of whose mean it is; nothing if users.csv lacks it."""
    names = [name[9:-1] for name in users.figures if name.startswith(f"relevant[{field}:")]
    if not names or not all(f"hits[{name}@{cutoff}]" in users.figures for name in names):
        return [], []
    hits = np.stack([users.figures[f"hits[{name}@{cutoff}]"] for name in names], axis=1)  # [U, G]
    relevant = np.stack([users.figures[f"relevant[{name}]"] for name in names], axis=1)
    readings = [formulas.group_utility_terms(hits, relevant, whose) for whose in ("relevant", "all")]
    return [name.removeprefix(f"{field}:") for name in names], readings


def _user_groups(users: Users, key: _Key) -> list[Sums]:
    name, _, metric = key.name.partition("_")
    terms = by_user_group(users, key.field, f"{metric}@{key.cutoff}")[1] if name in _AGGREGATES else []
    return [Sums(users.ids, one, _AGGREGATES[name]) for one in terms]


def by_user_group(users: Users, field: str, metric: str) -> tuple[list[str], list[Terms]]:
    """The mean of a metric over each user group, [U, G]; nothing if users.csv lacks it."""
    if metric not in users.figures or field not in users.labels:
        return [], []
    return users.groups(field), [_defined(users.figures[metric]).by_group(users.membership(field))]


def _answers(users: Users, key: _Key) -> list[Sums]:
    if key.name not in _OF_ANSWERS or key.cutoff or key.field:
        return []
    counts = [found for variant in _VARIANTS if (found := users.answers(variant)) is not None]
    columns = [Terms(*(part[:, None] for part in _OF_ANSWERS[key.name](count))) for count in counts]
    return [Sums(users.ids, terms, _first) for terms in columns]


def _attributes(users: Users, key: _Key) -> list[Sums]:
    """GD and Rate: F1 by group with the users' own attribute in the prompt, and F1 of all users without it.

    A model that knows users by id is asked once, without an attribute, and both are of that.
    """
    base = users.answers("none")
    given = users.answers("actual") or base
    if key.name not in _OF_ATTRIBUTES or key.field not in users.labels or given is None or base is None:
        return []
    by_group = answers.f1(given).by_group(users.membership(key.field))  # [U, G]
    columns = zip(by_group, answers.f1(base), strict=True)
    terms = Terms(*(np.column_stack([groups, everyone]) for groups, everyone in columns))
    figure = _OF_ATTRIBUTES[key.name]
    return [Sums(users.ids, terms, lambda figures: figure(figures[..., :-1], figures[..., -1]))]


def shared_users(several: Sequence[Sums]) -> StrArray:
    """The users that all of them have."""
    ids = several[0].users
    for other in several[1:]:
        ids = ids if np.array_equal(ids, other.users) else np.intersect1d(ids, other.users)
    return ids


def seeds_side_by_side(several: Sequence[Sums], users: StrArray) -> Sums:
    """Seeds as blocks of columns, whose mean figure it is: what a table's cell shows."""
    parts = [one.of(users) for one in several]
    width, reduce = parts[0].terms.numerator.shape[1], parts[0].reduce

    def mean(figures: FloatArray) -> FloatArray:
        blocks = figures.reshape(*figures.shape[:-1], len(parts), width)
        return formulas.present_mean(reduce(blocks))

    return Sums(
        users, Terms(*(np.concatenate(side, axis=1) for side in zip(*(one.terms for one in parts), strict=True))), mean
    )


def seeds_averaged(several: Sequence[Sums], users: StrArray) -> Sums:
    """Seeds as one run whose users have the mean row: for rows with unequal numbers of seeds."""
    parts = [one.of(users).terms for one in several]
    return Sums(users, Terms(*(np.mean(side, axis=0) for side in zip(*parts, strict=True))), several[0].reduce)
