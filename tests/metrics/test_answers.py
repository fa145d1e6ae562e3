"""Yes/no figures against scikit-learn, torchmetrics, double loops and identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sklearn

from recbole_fair.metrics import answers as formulas
from recbole_fair.metrics.answers import auc, auc_draws, confusion, flip, gd, gd_gap, rate, rate_sq

pytestmark = pytest.mark.newest
fast = settings(max_examples=80, deadline=None)

PAIRS = st.integers(1, 30).flatmap(
    lambda size: st.tuples(
        hnp.arrays(bool, size), hnp.arrays(bool, size), hnp.arrays(np.int64, size, elements=st.integers(0, 5))
    )
)
SKLEARN = {"f1": sklearn.f1_score, "precision": sklearn.precision_score, "recall": sklearn.recall_score}


@fast
@given(PAIRS)
def test_counts_against_a_loop(pairs: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    labels, answers, users = pairs
    counts = confusion(labels, answers, users, 7)
    expected = np.zeros((4, 7))
    for label, answer, user in zip(*pairs, strict=True):
        case = {(True, True): 0, (False, True): 1, (True, False): 2, (False, False): 3}[bool(label), bool(answer)]
        expected[case, user] += 1
    np.testing.assert_array_equal(np.stack(counts), expected)
    whole = confusion(labels.astype(int), answers.astype(int), users, 7)
    np.testing.assert_array_equal(np.stack(whole), expected, err_msg="0 and 1 as read from a file")


@pytest.mark.parametrize("name", SKLEARN)
@fast
@given(PAIRS)
def test_figures_of_yes_equal_scikit_learn(name: str, pairs: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    labels, answers, users = pairs
    ours = float(getattr(formulas, name)(confusion(labels, answers, users, 6)).value())
    theirs = SKLEARN[name](labels, answers, zero_division=np.nan)
    assert ours == pytest.approx(theirs, nan_ok=True)


@fast
@given(PAIRS, st.randoms())
def test_by_group_is_the_figure_of_the_group_s_pairs(pairs: tuple[np.ndarray, np.ndarray, np.ndarray], random) -> None:
    labels, answers, users = pairs
    membership = np.array([[random.random() < 0.5, random.random() < 0.5, False] for _ in range(6)])
    ours = formulas.f1(confusion(labels, answers, users, 6)).by_group(membership).value()
    for group in range(3):
        chosen = membership[users, group]
        theirs = sklearn.f1_score(labels[chosen], answers[chosen], zero_division=np.nan) if chosen.any() else math.nan
        assert ours[group] == pytest.approx(theirs, nan_ok=True)


def test_always_yes_and_never_yes() -> None:
    labels, users = np.array([True, False, True, False, False]), np.array([0, 0, 1, 1, 2])
    always, never = (confusion(labels, np.full(5, answer), users, 3) for answer in (True, False))
    share = labels.mean()
    assert float(formulas.f1(always).value()) == pytest.approx(2 * share / (1 + share))
    assert float(formulas.precision(always).value()) == share and float(formulas.recall(always).value()) == 1
    assert float(formulas.yes_share(always).value()) == 1 and float(formulas.yes_share(never).value()) == 0
    assert float(formulas.f1(never).value()) == 0 and float(formulas.recall(never).value()) == 0
    assert math.isnan(float(formulas.precision(never).value()))


def test_torchmetrics_agrees() -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    random = np.random.default_rng(0)
    labels, scores = random.random(400) < 0.4, random.integers(0, 20, 400) / 20
    counts = confusion(labels, scores > 0.5, random.integers(0, 9, 400), 9)
    given, truth = torch.tensor(scores), torch.tensor(labels).int()
    assert float(formulas.f1(counts).value()) == pytest.approx(float(functional.binary_f1_score(given, truth)))
    assert float(auc(scores, labels)) == pytest.approx(float(functional.binary_auroc(given, truth)), rel=1e-6)


SCORED = st.integers(2, 25).flatmap(
    lambda size: st.tuples(
        hnp.arrays(float, size, elements=st.integers(0, 6).map(lambda value: value / 7)),  # many ties
        hnp.arrays(bool, size),
        hnp.arrays(np.int64, size, elements=st.integers(0, 3)),
    )
)


def slow_auc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    won, total = 0.0, 0.0
    for i in np.flatnonzero(labels):
        for j in np.flatnonzero(~labels):
            pairs = weights[i] * weights[j]
            total += pairs
            won += pairs * ((scores[i] > scores[j]) + (scores[i] == scores[j]) / 2)
    return won / total if total else math.nan


@fast
@given(SCORED)
def test_auc_against_a_loop_and_scikit_learn(scored: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    scores, labels, weights = scored
    assert float(auc(scores, labels)) == pytest.approx(slow_auc(scores, labels, np.ones(len(scores))), nan_ok=True)
    assert float(auc(scores, labels, weights)) == pytest.approx(slow_auc(*scored), nan_ok=True)
    if 0 < labels.sum() < len(labels):
        assert float(auc(scores, labels)) == pytest.approx(sklearn.roc_auc_score(labels, scores))
    if weights[labels].sum() and weights[~labels].sum():
        expected = sklearn.roc_auc_score(labels, scores, sample_weight=weights)
        assert float(auc(scores, labels, weights)) == pytest.approx(expected)


@fast
@given(SCORED)
def test_auc_is_a_rank_statistic(scored: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    scores, labels, weights = scored
    value = float(auc(scores, labels, weights))
    assert float(auc(np.exp(3 * scores), labels, weights)) == pytest.approx(value, nan_ok=True)
    assert float(auc(-scores, labels, weights)) == pytest.approx(1 - value, nan_ok=True)
    assert float(auc(np.zeros(len(scores)), labels, weights)) == pytest.approx(
        0.5 if value == value else value, nan_ok=True
    )


@pytest.mark.parametrize("cells", [1, 50, 1 << 22])
def test_resampled_auc_is_the_auc_of_the_resample(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "_CELLS", cells)  # one sample at a time, several, all
    random = np.random.default_rng(3)
    scores, labels, users = random.integers(0, 9, 40), random.random(40) < 0.5, random.integers(0, 8, 40)
    draws = random.multinomial(8, np.full(8, 1 / 8), size=12)
    values = auc_draws(scores.astype(float), labels, users, draws)
    for value, times in zip(values, draws, strict=True):
        rows = np.repeat(np.arange(40), times[users])
        assert value == pytest.approx(sklearn.roc_auc_score(labels[rows], scores[rows]))
    np.testing.assert_allclose(auc(scores.astype(float), labels, draws[:, users]), values)


def test_auc_without_a_class_without_rows_or_with_an_undefined_score() -> None:
    one_class = np.ones(3, dtype=bool)
    assert math.isnan(float(auc(np.arange(3.0), one_class)))
    assert math.isnan(float(auc(np.array([]), np.array([], dtype=bool))))
    users, draws = np.array([0, 1, 1]), np.ones((4, 2))
    assert np.isnan(auc_draws(np.arange(3.0), one_class, users, draws)).all()
    scores = np.array([0.1, math.nan, 0.3])
    assert math.isnan(float(auc(scores, np.array([True, False, True]))))
    assert np.isnan(auc_draws(scores, np.array([True, False, True]), users, draws)).all()


GIVEN = st.lists(st.one_of(st.just(math.nan), st.floats(0.05, 1)), max_size=6).map(np.array)


@fast
@given(GIVEN, st.floats(0.05, 1))
def test_gd_and_rate_against_a_loop(given_figures: np.ndarray, base: float) -> None:
    present = [value for value in given_figures.tolist() if not math.isnan(value)]
    expected = [math.nan] * 4
    if len(present) >= 2:
        mean = sum(present) / len(present)
        expected = [
            math.sqrt(sum((value - base) ** 2 for value in present) / len(present)),
            sum(abs(1 - value / base) for value in present) / len(present),
            sum((1 - value / base) ** 2 for value in present) / len(present),
            math.sqrt(sum((value - mean) ** 2 for value in present) / len(present)),
        ]
    found = [gd(given_figures, base), rate(given_figures, base), rate_sq(given_figures, base)]
    found.append(gd_gap(given_figures, base))
    assert [float(value) for value in found] == pytest.approx(expected, rel=1e-7, abs=1e-12, nan_ok=True)
    if len(present) >= 2:
        shift = np.mean(present) - base
        assert float(found[0]) ** 2 == pytest.approx(float(found[3]) ** 2 + shift**2, abs=1e-12)
        assert float(found[2]) == pytest.approx((float(found[0]) / base) ** 2, abs=1e-12)


def test_gd_of_samples_and_without_a_base() -> None:
    given_figures, base = np.array([[0.7, 0.8], [0.5, 0.5], [0.2, 0.4]]), np.array([[0.75], [0.5], [0.0]])
    np.testing.assert_allclose(gd(given_figures, base), [0.05, 0, math.sqrt(0.1)])
    np.testing.assert_allclose(rate(given_figures, base), [0.05 / 0.75, 0, math.nan])
    np.testing.assert_allclose(rate_sq(given_figures, base)[:2], [(0.05 / 0.75) ** 2, 0])
    assert np.isnan(gd(given_figures[0], np.array(math.nan)))


def test_rate_sq_is_what_the_paper_prints() -> None:
    """CL-MoE, Table 1: GD 6.02e-3 at F1 .7775 stands beside a "Rate" of 6.0e-5."""
    given_figures = np.array([0.7775 - 6.02e-3, 0.7775 + 6.02e-3])
    base = np.array(0.7775)
    assert float(gd(given_figures, base)) == pytest.approx(6.02e-3)
    assert float(rate_sq(given_figures, base)) == pytest.approx(6.0e-5, rel=1e-2)
    assert float(rate(given_figures, base)) == pytest.approx(7.7e-3, rel=1e-2)


@fast
@given(PAIRS, st.integers(1, 4))
def test_flips_against_a_loop(pairs: tuple[np.ndarray, np.ndarray, np.ndarray], prompts: int) -> None:
    answers = np.random.default_rng(len(pairs[0])).random((len(pairs[0]), prompts)) < 0.5
    differing = [len(set(line.tolist())) > 1 for line in answers]
    terms = flip(answers, pairs[2], 7)
    assert float(terms.value()) == pytest.approx(sum(differing) / len(differing))
    for user in range(7):
        assert terms.numerator[user] == sum(d for d, u in zip(differing, pairs[2], strict=True) if u == user)
    if prompts == 1:
        assert terms.value() == 0, "one prompt cannot disagree with itself"
