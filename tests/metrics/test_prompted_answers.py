"""Figures of what a prompt says of a user: a model with prompts and known scores, against plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pytest

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.variants import NONE, OWN, Variant
from recbole_fair.metrics.answer_table import AnswerTable
from recbole_fair.metrics.declared import METRICS, variants
from recbole_fair.metrics.intervals import Resampling
from recbole_fair.metrics.judging import judge
from recbole_fair.metrics.stereotypes import Histories, Stereotypes

USERS, PAIRS = 40, 240
AGES = ("young", "middle", "old")
DRAW = np.random.default_rng(11)
ROWS = np.arange(PAIRS) % USERS
ITEMS = DRAW.integers(1, 9, PAIRS)
LABELS = DRAW.random(PAIRS) < 0.5
AGE_OF = [(0, 1, 2, None)[user % 4] for user in range(USERS)]  # every fourth user's age is not known
VARIANTS = [NONE, OWN, *(Variant("age", age) for age in AGES)]
SCORES = {variant: DRAW.random(PAIRS) for variant in VARIANTS}
AGAIN = np.where(np.arange(PAIRS) == 7, 1 - SCORES[NONE], SCORES[NONE])


def grouping() -> Groups:
    member = np.zeros((USERS + 1, len(AGES)), dtype=bool)
    for user, age in enumerate(AGE_OF, start=1):
        if age is not None:
            member[user, age] = True
    return Groups("user", "age", AGES, member)


STEREOTYPE = DRAW.random((9, len(AGES))) < 0.4


def table(**changes: object) -> AnswerTable:
    groups = grouping()
    decided = Stereotypes(np.ones(STEREOTYPE.shape), np.ones(len(AGES)), STEREOTYPE)
    histories = Histories(groups, decided, np.full((USERS + 1, 3), 0.5), "in_group")
    parts: dict[str, object] = {
        "users": np.arange(1, USERS + 1), "rows": ROWS, "items": ITEMS, "labels": LABELS, "scores": SCORES,
        "threshold": 0.5, "groups": {"age": groups}, "histories": histories, "prompts": True, "again": AGAIN,
    }  # fmt: skip
    return AnswerTable(**{**parts, **changes})  # type: ignore[arg-type]


def f1(variant: Variant, pairs: Iterable[int]) -> float:
    right = said = liked = 0
    for pair in pairs:
        yes = SCORES[variant][pair] >= 0.5
        right += bool(yes and LABELS[pair])
        said += bool(yes)
        liked += bool(LABELS[pair])
    return 2 * right / (said + liked)


def of(age: int) -> list[int]:
    return [pair for pair in range(PAIRS) if AGE_OF[ROWS[pair]] == age]


EVERYONE = range(PAIRS)
OWN_SHIFTS = [f1(OWN, of(age)) - f1(NONE, of(age)) for age in range(3)]
GIVEN_SHIFTS = [f1(Variant("age", age), EVERYONE) - f1(NONE, EVERYONE) for age in AGES]
BETWEEN = [f1(OWN, of(age)) - f1(NONE, EVERYONE) for age in range(3)]


def root_mean(shifts: list[float]) -> float:
    return math.sqrt(sum(shift**2 for shift in shifts) / len(shifts))


def flipped() -> float:
    """Over all pairs: whether the answers of two ages differ."""
    cases = [len({SCORES[Variant("age", age)][pair] >= 0.5 for age in AGES}) > 1 for pair in range(PAIRS)]
    return sum(cases) / len(cases)


def pulled() -> float:
    differences: list[list[float]] = [[], [], []]
    for pair, group in itertools.product(range(PAIRS), range(3)):
        if STEREOTYPE[ITEMS[pair], group]:
            own, *others = (SCORES[Variant("age", AGES[(group + step) % 3])][pair] for step in range(3))
            differences[group].append(own - sum(others) / 2)
    return sum(sum(of_group) / len(of_group) for of_group in differences) / 3


EXPECTED = {
    "gd": root_mean(OWN_SHIFTS),
    "gd_given": root_mean(GIVEN_SHIFTS),
    "gd_between": root_mean(BETWEEN),
    "gd_gap": float(np.std(OWN_SHIFTS)),
    "rate": sum(abs(shift) / f1(NONE, of(age)) for age, shift in enumerate(OWN_SHIFTS)) / 3,
    "rate_sq": sum((shift / f1(NONE, of(age))) ** 2 for age, shift in enumerate(OWN_SHIFTS)) / 3,
    "rate_given": sum(abs(shift) / f1(NONE, EVERYONE) for shift in GIVEN_SHIFTS) / 3,
    "rate_sq_given": sum((shift / f1(NONE, EVERYONE)) ** 2 for shift in GIVEN_SHIFTS) / 3,
    "flip": flipped(),
    "flip_null": 1 / PAIRS,
    "pull": pulled(),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_figures_of_prompts_against_loops(name: str) -> None:
    ((key, value),) = METRICS[name].values(table()).items()
    assert key == (name if name in ("pull", "flip_null") else f"{name}[age]")
    assert value == pytest.approx(EXPECTED[name], abs=1e-12)
    assert value != 0


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - {"gd_between"}))
def test_a_model_without_prompts_has_none_of_it(name: str) -> None:
    plain = table(prompts=False, scores={NONE: SCORES[NONE]}, again=None)
    assert list(METRICS[name].values(plain).values()) == [0.0]
    notes = judge(plain, [METRICS[name], METRICS["f1"]], None, 1).notes
    assert f"the model has no prompts and cannot be told an attribute, so there is no {name}" in notes


def test_a_variant_that_was_not_asked_is_refused() -> None:
    some = table(scores={NONE: SCORES[NONE], OWN: SCORES[OWN]}, again=None)
    assert METRICS["gd"].values(some)["gd[age]"] == pytest.approx(EXPECTED["gd"])
    with pytest.raises(UsageError, match="not asked with age=young in its prompt, only with none, actual"):
        METRICS["gd_given"].values(some)
    with pytest.raises(UsageError, match="not asked a second time"):
        METRICS["flip_null"].values(some)


def test_metrics_name_exactly_the_variants_they_need() -> None:
    def needed(*names: str) -> set[Variant]:
        return set(variants([METRICS[name] for name in names], [grouping()]))

    assert needed("sf", "flip_null", "non_parity") == {NONE}
    assert needed("f1") == needed("gap_auc") == {OWN}, "the prompt in use, whatever else is asked for"
    assert needed("gd") == needed("gd_gap", "rate", "gd_between", "auc") == {NONE, OWN}
    assert needed("flip") == needed("pull") == {Variant("age", age) for age in AGES}
    assert needed("gd_given", "gd") == set(VARIANTS)
    assert variants([METRICS["auc"]], []) == [OWN]


@pytest.mark.parametrize("name", ["gd", "gd_given", "flip", "pull"])
def test_intervals_of_prompted_answers_hold_the_figure(name: str) -> None:
    judged = judge(table(), [METRICS[name]], Resampling(0.95, 400), 1)
    ((low, high),) = judged.interval.values()
    assert low < EXPECTED[name] < high or (low <= EXPECTED[name] <= high and low == 0)
