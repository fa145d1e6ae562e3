"""Figures by group against double loops, fairlearn, and what must hold whatever the figures."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import recbole_fair
from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import by_value, product
from recbole_fair.metrics import formulas
from recbole_fair.metrics.formulas import cv, gap, group_utility_terms, minimum, ratio, user_mean

pytestmark = pytest.mark.newest
fast = settings(max_examples=80, deadline=None)

UTILITY = st.one_of(st.just(math.nan), st.just(0.0), st.floats(1e-3, 1.0))
UTILITIES = st.lists(UTILITY, max_size=9).map(np.array)
DISPARITIES = {"cv": cv, "gap": gap, "ratio": ratio}


def slow_cv(present: list[float]) -> float:
    mean = sum(present) / len(present)
    variance = sum((value - mean) ** 2 for value in present) / len(present)
    return math.sqrt(variance) / mean if mean else math.nan


def slow_minimum(present: list[float]) -> float:
    lowest = sorted(present)[: max(1, len(present) // 4)]
    return sum(lowest) / len(lowest)


SLOW = {
    "cv": slow_cv,
    "gap": lambda present: max(present) - min(present),
    "ratio": lambda present: min(present) / max(present) if max(present) else math.nan,
}


@pytest.mark.parametrize("name", DISPARITIES)
@fast
@given(UTILITIES)
def test_disparities_against_a_loop(name: str, utilities: np.ndarray) -> None:
    present = [value for value in utilities.tolist() if not math.isnan(value)]
    expected = SLOW[name](present) if len(present) >= 2 else math.nan
    assert float(DISPARITIES[name](utilities)) == pytest.approx(expected, rel=1e-9, nan_ok=True)


@fast
@given(UTILITIES)
def test_minimum_against_a_loop(utilities: np.ndarray) -> None:
    present = [value for value in utilities.tolist() if not math.isnan(value)]
    expected = slow_minimum(present) if present else math.nan
    assert float(minimum(utilities)) == pytest.approx(expected, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("groups", range(1, 13))
def test_minimum_is_the_lowest_quarter_rounded_down_and_at_least_one(groups: int) -> None:
    utilities = np.random.default_rng(groups).permutation(groups) / 10
    taken = {1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 2, 9: 2, 10: 2, 11: 2, 12: 3}[groups]
    assert float(minimum(utilities)) == pytest.approx(sum(range(taken)) / taken / 10)


@pytest.mark.parametrize("function", [*DISPARITIES.values(), minimum])
@fast
@given(hnp.arrays(float, (5, 6), elements=UTILITY))
def test_samples_are_judged_row_by_row(function, samples: np.ndarray) -> None:
    np.testing.assert_array_equal(function(samples), [function(row) for row in samples])


@pytest.mark.parametrize("function", [*DISPARITIES.values(), minimum])
@fast
@given(UTILITIES, st.randoms())
def test_names_and_absent_groups_do_not_matter(function, utilities: np.ndarray, random) -> None:
    relabelled = [*utilities.tolist(), math.nan]
    random.shuffle(relabelled)
    assert float(function(np.array(relabelled))) == pytest.approx(float(function(utilities)), nan_ok=True)


@fast
@given(UTILITIES, st.floats(0.01, 100))
def test_scaling_utilities(utilities: np.ndarray, factor: float) -> None:
    """CV and ratio have no unit; gap and MIN have the metric's."""
    for function, power in ((cv, 0), (ratio, 0), (gap, 1), (minimum, 1)):
        expected = float(function(utilities)) * factor**power
        assert float(function(utilities * factor)) == pytest.approx(expected, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1.0])
@pytest.mark.parametrize("groups", [2, 3, 7])
def test_equal_groups(value: float, groups: int) -> None:
    utilities = np.full(groups, value)
    assert float(cv(utilities)) == pytest.approx(0, abs=1e-15)
    assert float(gap(utilities)) == 0
    assert float(ratio(utilities)) == 1
    assert float(minimum(utilities)) == pytest.approx(value)


def test_one_group_and_no_group() -> None:
    for utilities in (np.array([0.4]), np.array([math.nan, 0.4])):
        assert all(math.isnan(float(function(utilities))) for function in DISPARITIES.values())
        assert float(minimum(utilities)) == 0.4
    for utilities in (np.array([]), np.array([math.nan, math.nan])):
        assert all(math.isnan(float(function(utilities))) for function in (*DISPARITIES.values(), minimum))


def test_nothing_is_divided_by_zero() -> None:
    zeros = np.zeros(3)
    assert math.isnan(float(cv(zeros))) and math.isnan(float(ratio(zeros)))
    assert float(gap(zeros)) == 0 and float(minimum(zeros)) == 0


def test_the_standard_deviation_is_the_one_that_fits_the_printed_figures() -> None:
    """BiFair prints CV .7759, MIN .0154 and Recall .0713 for two groups; ddof 1 would make the CV of these 1.11."""
    low, mean = 0.0154, 0.0713
    assert float(cv(np.array([low, 2 * mean - low]))) == pytest.approx(0.7759, abs=0.01)


def test_quotients() -> None:
    np.testing.assert_array_equal(formulas.divide([1, 0, 3], [2, 0, 0]), [0.5, math.nan, math.nan])


COUNTS = st.integers(1, 7).flatmap(
    lambda users: hnp.arrays(np.int64, (users, 4), elements=st.integers(0, 3)).flatmap(
        lambda relevant: hnp.arrays(float, relevant.shape, elements=st.floats(0, 1)).map(
            lambda share: ((share * (relevant + 0.999)).astype(int), relevant)
        )
    )
)


@fast
@given(COUNTS, st.sampled_from(["relevant", "all"]))
def test_group_utility_against_a_loop(counts: tuple[np.ndarray, np.ndarray], users: str) -> None:
    hits, relevant = counts
    utilities = group_utility_terms(hits, relevant, users).value()
    for group in range(hits.shape[1]):
        having = [u for u in range(len(hits)) if relevant[u, group]]
        total = sum(hits[u, group] / relevant[u, group] for u in having)
        counted = len(having) if users == "relevant" else len(hits)
        expected = total / counted if having else math.nan
        assert utilities[group] == pytest.approx(expected, nan_ok=True)


@fast
@given(COUNTS, st.randoms())
def test_group_utility_does_not_depend_on_the_order_of_users(counts: tuple[np.ndarray, np.ndarray], random) -> None:
    order = list(range(len(counts[0])))
    random.shuffle(order)
    np.testing.assert_allclose(
        group_utility_terms(counts[0][order], counts[1][order]).value(), group_utility_terms(*counts).value()
    )


@fast
@given(COUNTS, st.data())
def test_resampled_terms_are_the_figure_of_the_resample(counts: tuple[np.ndarray, np.ndarray], data) -> None:
    hits, relevant = counts
    drawn = data.draw(st.lists(st.integers(0, len(hits) - 1), min_size=1, max_size=9))
    terms = formulas.group_utility_terms(hits, relevant)
    times = np.bincount(drawn, minlength=len(hits))
    resampled = formulas.divide(times @ terms.numerator, times @ terms.denominator)
    np.testing.assert_allclose(resampled, group_utility_terms(hits[drawn], relevant[drawn]).value())


def test_an_unknown_reading_of_the_users_is_refused() -> None:
    with pytest.raises(UsageError, match="group_utility_users='some'"):
        group_utility_terms(np.ones((1, 1)), np.ones((1, 1)), "some")


def people(seed: int, count: int = 80) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    table = pd.DataFrame({"gender": random.choice(["F", "M"], count), "age": random.choice(["young", "mid"], count)})
    table.loc[table.gender.eq("F") & table.age.eq("mid"), "age"] = "young"  # an empty intersection
    table.loc[:4, "age"] = "old"
    return table.assign(recall=random.random(count))


@pytest.mark.parametrize("seed", range(3))
def test_intersections_equal_fairlearn(seed: int) -> None:
    """Gender x age, an empty intersection included; CV and MIN follow from fairlearn's figures in plain numpy."""
    metrics = pytest.importorskip("fairlearn.metrics")
    table = people(seed)
    frame = metrics.MetricFrame(
        metrics=lambda y_true, y_pred: float(np.mean(y_pred)),
        y_true=table.recall,
        y_pred=table.recall,
        sensitive_features=table[["gender", "age"]],
    )
    parts = [by_value("user", name, [(value,) for value in table[name]]) for name in ("gender", "age")]
    groups = product(parts)
    ours = user_mean(table.recall.to_numpy()).by_group(groups.membership).value()
    theirs = {"*".join(key): value for key, value in frame.by_group.items()}
    assert theirs.keys() == set(groups.names) and np.isnan(ours[groups.names.index("F*mid")])
    np.testing.assert_allclose(ours, [theirs[name] for name in groups.names], rtol=1e-12)
    present = frame.by_group.dropna().to_numpy()
    assert float(gap(ours)) == pytest.approx(frame.difference(method="between_groups"))
    assert float(ratio(ours)) == pytest.approx(frame.ratio(method="between_groups"))
    assert float(cv(ours)) == pytest.approx(np.std(present) / np.mean(present))
    assert float(minimum(ours)) == pytest.approx(np.mean(np.sort(present)[: max(1, len(present) // 4)]))


@pytest.mark.parametrize("seed", range(3))
def test_genres_equal_fairlearn_on_exploded_rows(seed: int) -> None:
    """A test item of several genres is a row for each; a user's utility in a genre is a row of its own."""
    metrics = pytest.importorskip("fairlearn.metrics")
    random = np.random.default_rng(seed)
    names = ["action", "drama", "noir", "war"]
    genres = {item: list(random.choice(names[:3], random.integers(1, 3), replace=False)) for item in range(12)}
    pairs = pd.DataFrame({"user": random.integers(0, 20, 90), "item": random.integers(0, 12, 90)}).drop_duplicates()
    pairs["hit"] = random.random(len(pairs)) < 0.3
    exploded = pairs.assign(genre=pairs.item.map(genres)).explode("genre")
    rows = exploded.groupby(["user", "genre"]).hit.mean().reset_index()
    frame = metrics.MetricFrame(
        metrics=lambda y_true, y_pred: float(np.mean(y_pred)),
        y_true=rows.hit,
        y_pred=rows.hit,
        sensitive_features=rows.genre,
    )
    hits, relevant = np.zeros((20, 4)), np.zeros((20, 4))
    for pair in pairs.itertuples():
        for genre in genres[pair.item]:
            relevant[pair.user, names.index(genre)] += 1
            hits[pair.user, names.index(genre)] += pair.hit
    utilities = group_utility_terms(hits, relevant).value()
    np.testing.assert_allclose(utilities[:3], frame.by_group[names[:3]], rtol=1e-12)
    assert np.isnan(utilities[3]), "nobody has a test item of this genre"
    present = frame.by_group.to_numpy(dtype=float)
    assert float(cv(utilities)) == pytest.approx(np.std(present) / np.mean(present))
    assert float(minimum(utilities)) == pytest.approx(np.sort(present)[0])


@pytest.mark.parametrize("module", ["formulas", "answers", "exposure", "parity", "stereotypes"])
def test_formulas_need_numpy_alone(module: str) -> None:
    source = Path(recbole_fair.__file__).parent / "metrics" / f"{module}.py"
    nodes = list(ast.walk(ast.parse(source.read_text())))
    roots = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    froms = {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert roots - {"math"} == {"numpy"}
    ours = {name for name in froms if name.startswith("recbole_fair")}
    assert ours <= {"recbole_fair.errors", "recbole_fair.groups.membership", "recbole_fair.metrics.formulas"}
