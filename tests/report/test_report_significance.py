"""Sums over users against double loops; tests against the bootstrap's own functions; the rule of claims."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_planted import USERS, change, plant

from recbole_fair.metrics import answers
from recbole_fair.metrics.bootstrap import detectable, holm, paired, percentile_interval, ratio_samples
from recbole_fair.report.assemble import Options, Report, assemble
from recbole_fair.report.statistics.by_group import Grouping, group_figures, groupings, metric_of
from recbole_fair.report.statistics.evidence import SAMPLES, SEED
from recbole_fair.report.statistics.significance import Difference, _verdict
from recbole_fair.report.statistics.sums import sums
from recbole_fair.report.users import Users, read_users

RECALL, CV, GAP = "recall@5", "cv@5[pop]", "gap_recall@5[gender]"


def users_of(folder: Path) -> Users:
    users = read_users(folder)
    assert users is not None
    return users


def column(folder: Path, name: str) -> np.ndarray:
    """A column of users.csv in the order of user ids, read plainly."""
    with (folder / "users.csv").open() as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: row["user_id"])
    return np.array([float(row[name]) for row in rows])


def stated(folder: Path, key: str) -> float:
    return json.loads((folder / "result.json").read_text())["test"][key]


@pytest.mark.parametrize("key", [RECALL, CV, GAP])
def test_sums_give_back_the_stated_figure(tmp_path: Path, key: str) -> None:
    folder = plant(tmp_path / "MF", "MF")
    found = sums(users_of(folder), key, stated(folder, key))
    assert found is not None
    assert found.value == pytest.approx(stated(folder, key), rel=1e-12)


@pytest.mark.parametrize(
    "key",
    [
        "auc",
        "cv@9[pop]",
        "cv@5[genre]",
        "gap_ndcg@5[gender]",
        "gap_recall@5[age]",
        "recall@9",
        "gd[gender]",
        "f1",
        "x y",
        "sum@5[pop]",
    ],
)
def test_what_users_do_not_give_is_not_made_up(tmp_path: Path, key: str) -> None:
    assert sums(users_of(plant(tmp_path / "MF", "MF")), key, 0.5) is None


def test_both_readings_of_group_utility_are_recognised(tmp_path: Path) -> None:
    """group_utility_users: all counts users without a test item in a group as 0."""
    folder = plant(tmp_path / "MF", "MF")
    utilities = []
    for group in ("pop:popular", "pop:rest"):
        hits, relevant = column(folder, f"hits[{group}@5]"), column(folder, f"relevant[{group}]")
        utilities.append(sum(h / r if r else 0.0 for h, r in zip(hits, relevant, strict=True)) / USERS)
    assert sums(users_of(folder), CV, float(np.std(utilities) / np.mean(utilities))) is not None


def write_predictions(folder: Path) -> dict[str, list[tuple[str, int, float]]]:
    """Three pairs a user and variant, answers drawn at random."""
    draw = np.random.default_rng(5)
    pairs: dict[str, list[tuple[str, int, float]]] = {"none": [], "actual": []}
    lines = ["user_id\titem_id\tlabel\tvariant\tscore"]
    for variant, kept in pairs.items():
        for place in range(USERS * 3):
            label, score = int(draw.integers(2)), float(draw.random())
            kept.append((f"u{place // 3}", label, score))
            lines.append(f"u{place // 3}\ti{place}\t{label}\t{variant}\t{score!r}")
    (folder / "predictions.tsv").write_text("\n".join(lines) + "\n")
    return pairs


def f1_of(pairs: list[tuple[str, int, float]]) -> float:
    right = sum(1 for _, label, score in pairs if label and score > 0.5)
    return 2 * right / sum(label + (score > 0.5) for _, label, score in pairs)


def test_a_score_says_yes_from_the_runs_own_threshold_on(tmp_path: Path) -> None:
    folder = plant(tmp_path / "MF", "MF")
    pairs = write_predictions(folder)["none"]
    said_yes = [score >= 0.25 for _, _, score in pairs]
    users = read_users(folder, 0.25)
    assert users is not None and 0 < np.mean(said_yes) < 1
    assert sums(users, "yes_share", float(np.mean(said_yes))) is not None
    assert sums(users, "yes_share", float(np.mean([score > 0.5 for _, _, score in pairs]))) is None


def test_yes_no_figures_against_loops_over_pairs(tmp_path: Path) -> None:
    folder = plant(tmp_path / "MF", "MF")
    pairs, users = write_predictions(folder), users_of(folder)
    women = {f"u{place}" for place in range(USERS) if place % 3 == 0}
    base = f1_of(pairs["none"])
    given = [f1_of([pair for pair in pairs["actual"] if (pair[0] in women) is side]) for side in (True, False)]
    figures = {
        "yes_share": np.mean([score > 0.5 for _, _, score in pairs["none"]]),
        "recall": np.mean([score > 0.5 for _, label, score in pairs["actual"] if label]),
        "precision": np.mean([label for _, label, score in pairs["none"] if score > 0.5]),
        "f1": base,
        "gd[gender]": math.sqrt(sum((value - base) ** 2 for value in given) / 2),
        "rate[gender]": sum(abs(1 - value / base) for value in given) / 2,
        "rate_sq[gender]": sum((1 - value / base) ** 2 for value in given) / 2,
    }
    for key, value in figures.items():
        found = sums(users, key, float(value))
        assert found is not None, key
        assert found.value == pytest.approx(value, rel=1e-12)
    assert sums(users, "f1", f1_of(pairs["actual"])) is not None
    assert sums(users, "f1", 0.123) is None


def two(root: Path, first: tuple[float, float], second: tuple[float, float], *keys: str, **options: Any) -> Report:
    plant(root / "Base", "Base", quality=first)
    plant(root / "New", "New", quality=second)
    return assemble([root], Options(metrics=keys or (RECALL,), **{"reference": "Base", **options}))


def test_differences_are_the_bootstraps_own(tmp_path: Path) -> None:
    (test,) = two(tmp_path, (0.5, 0.2), (0.55, 0.25)).blocks[0].tests
    runs = [(column(tmp_path / name, RECALL)[:, None], np.ones((USERS, 1))) for name in ("New", "Base")]
    expected = paired(*runs, samples=1000, seed=SEED)
    assert test.difference == pytest.approx(float(np.mean(runs[0][0]) - np.mean(runs[1][0])))
    assert (test.low, test.high, test.p) == pytest.approx((expected.low[0], expected.high[0], expected.p[0]))
    assert test.detectable == pytest.approx(float(detectable(expected.error)[0]))
    assert test.users == USERS


def test_holm_runs_over_all_tests_of_a_table(tmp_path: Path) -> None:
    plant(tmp_path / "Third", "Third", quality=(0.5, 0.3))
    tests = two(tmp_path, (0.5, 0.2), (0.57, 0.25), RECALL, CV, GAP).blocks[0].tests
    assert [(test.label, test.key) for test in tests] == [
        (row, key) for row in ("New", "Third") for key in (RECALL, CV, GAP)
    ]
    by_key = {}
    for name in ("New", "Third"):
        rows = [users_of(tmp_path / row) for row in (name, "Base")]
        for key in (RECALL, CV, GAP):
            pair = [sums(users, key, stated(users.folder, key)) for users in rows]
            by_key[name, key] = float(
                paired(*(one.terms for one in pair), aggregate=pair[0].reduce, samples=1000, seed=SEED).p
            )
    assert [test.p for test in tests] == pytest.approx(holm(list(by_key.values())).tolist())


def test_draws_suffice_for_holm_to_reach_five_per_cent(tmp_path: Path) -> None:
    """Sixty tests: with 1000 draws the smallest adjusted p would be .06."""
    plant(tmp_path / "Base", "Base", quality=(0.1, 0.1))
    for place in range(60):
        plant(tmp_path / f"{place}", f"Good{place}", quality=(0.9, 0.8), history=False)
    tests = assemble([tmp_path], Options(metrics=(RECALL,), reference="Base")).blocks[0].tests
    assert len(tests) == 60
    assert {test.verdict for test in tests} == {"shown"}


def test_shown_opposite_and_not_shown(tmp_path: Path) -> None:
    shown = {test.key: test for test in two(tmp_path / "a", (0.5, 0.1), (0.7, 0.6), RECALL, CV).blocks[0].tests}
    assert {key: test.verdict for key, test in shown.items()} == {RECALL: "shown", CV: "shown"}
    assert shown[RECALL].difference > 0 > shown[CV].difference
    turned = two(tmp_path / "b", (0.7, 0.6), (0.5, 0.1), RECALL, CV).blocks[0].tests
    assert {test.verdict for test in turned} == {"opposite"}
    (unclear,) = two(tmp_path / "c", (0.5, 0.2), (0.51, 0.2)).blocks[0].tests
    assert unclear.verdict == "not shown"
    assert unclear.detectable > abs(unclear.difference)


@pytest.mark.parametrize(
    ("key", "low", "high", "p", "verdict"),
    [
        ("recall@5", 0.1, 0.2, 0.05, "shown"), ("recall@5", 0.1, 0.2, 0.051, "not shown"),
        ("recall@5", -0.1, 0.2, 0.01, "not shown"), ("recall@5", -0.2, -0.1, 0.01, "opposite"),
        ("cv@5[pop]", -0.2, -0.1, 0.01, "shown"), ("cv@5[pop]", 0.1, 0.2, 0.01, "opposite"),
        ("attr_auc[gender]", -0.2, -0.1, 0.01, "shown"), ("sf", 0.1, 0.2, 0.01, "opposite"),
        ("recall@5", 0.1, 0.2, math.nan, "not shown"), ("recall@5", math.nan, math.nan, 0.01, "not shown"),
    ],
)  # fmt: skip
def test_the_rule_of_claims(key: str, low: float, high: float, p: float, verdict: str) -> None:
    assert _verdict(Difference("row", key, 0.0, low, high, p, 0.1, 50, ""), p) == verdict


def test_equal_numbers_of_seeds_keep_the_mean_of_their_figures(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        plant(tmp_path / f"B{seed}", "Base", seed)
        plant(tmp_path / f"N{seed}", "New", seed, quality=(0.6, 0.4))
    (test,) = assemble([tmp_path], Options(metrics=(CV,), reference="Base")).blocks[0].tests
    means = [np.mean([stated(tmp_path / f"{name}{seed}", CV) for seed in (1, 2, 3)]) for name in "NB"]
    assert test.difference == pytest.approx(means[0] - means[1])


def test_unequal_numbers_of_seeds_average_their_users(tmp_path: Path) -> None:
    plant(tmp_path / "New", "New", quality=(0.6, 0.4))
    for seed in (1, 2):
        plant(tmp_path / f"B{seed}", "Base", seed)
    (test,) = assemble([tmp_path], Options(metrics=(RECALL,), reference="Base")).blocks[0].tests
    base = np.mean([stated(tmp_path / f"B{seed}", RECALL) for seed in (1, 2)])
    assert test.difference == pytest.approx(stated(tmp_path / "New", RECALL) - base)
    assert test.users == USERS


def test_only_shared_users_are_paired(tmp_path: Path) -> None:
    for name, drop in (("Base", "u7,"), ("New", "u9,")):
        folder = plant(tmp_path / name, name)
        lines = [line for line in (folder / "users.csv").read_text().splitlines() if not line.startswith(drop)]
        (folder / "users.csv").write_text("\n".join(lines) + "\n")
        change(folder, test={RECALL: float(column(folder, RECALL).mean())})
    (test,) = assemble([tmp_path], Options(metrics=(RECALL,), reference="Base")).blocks[0].tests
    assert test.users == USERS - 2
    kept = [np.delete(column(plant(tmp_path / f"full{name}", name), RECALL), []) for name in ("Base", "New")]
    ids = sorted(f"u{place}" for place in range(USERS))
    both = [place for place, user in enumerate(ids) if user not in ("u7", "u9")]
    assert test.difference == pytest.approx(kept[1][both].mean() - kept[0][both].mean())


def test_collapsed_rows_claim_nothing(report: Report) -> None:
    assert {test.label for test in report.blocks[0].tests} == {"MF", "Pop"}
    assert "Yes: collapsed" in report.blocks[0].untested


def test_the_reference_is_the_best_row_unless_chosen(report: Report, tree: Path) -> None:
    assert report.blocks[0].reference.label == "BiFairMF"
    chosen = assemble([tree], Options(metrics=(RECALL,), reference="Pop")).blocks[0]
    assert chosen.reference.label == "Pop"
    assert {test.label for test in chosen.tests} == {"MF", "BiFairMF"}


def test_group_figures_and_their_intervals(tmp_path: Path) -> None:
    plant(tmp_path / "a", "MF", 1)
    row = assemble([tmp_path], Options(metrics=(RECALL,))).blocks[0].rows[0]
    assert groupings([row]) == [Grouping("user", "gender"), Grouping("item", "pop")]
    item, user = (
        group_figures(row, Grouping("item", "pop"), RECALL),
        group_figures(row, Grouping("user", "gender"), RECALL),
    )
    women = np.array([float(place % 3 == 0) for place in range(USERS)])
    order = np.argsort([f"u{place}" for place in range(USERS)])
    values = column(tmp_path / "a", RECALL)
    expected = percentile_interval(
        ratio_samples((values * women[order])[:, None], women[order][:, None], samples=SAMPLES, seed=SEED)
    )
    assert (user["F"].low, user["F"].high) == pytest.approx([float(end[0]) for end in expected])
    assert user["F"].value == pytest.approx(values[women[order] > 0].mean())
    assert item["rest"].low < item["rest"].value < item["rest"].high


def test_group_figures_stated_by_the_run_are_taken_and_small_groups_left_out(tmp_path: Path) -> None:
    facts = {"kind": "user", "field": "age", "size": 9, "users": 9}
    groups = [
        {**facts, "group": "young", RECALL: 0.4, f"{RECALL}_low": 0.3, f"{RECALL}_high": 0.5},
        {**facts, "group": "old", RECALL: None, f"{RECALL}_low": None, f"{RECALL}_high": None},
    ]
    plant(tmp_path / "a", "MF", groups=groups)
    row = assemble([tmp_path], Options(metrics=(RECALL,))).blocks[0].rows[0]
    assert metric_of([row], Grouping("user", "age"), ("ndcg@5",)) == RECALL
    (group,) = group_figures(row, Grouping("user", "age"), RECALL).items()
    assert (group[0], group[1].low, group[1].high) == ("young", 0.3, 0.5)


def test_group_intervals_need_users_that_give_the_stated_figure(tmp_path: Path) -> None:
    folder = plant(tmp_path / "a", "MF")
    groups = json.loads((folder / "result.json").read_text())["groups"]
    change(folder, groups=[{**groups[0], RECALL: 0.9}, *groups[1:]])
    row = assemble([tmp_path], Options(metrics=(RECALL,))).blocks[0].rows[0]
    found = group_figures(row, Grouping("user", "gender"), RECALL)
    assert (found["F"].value, found["F"].low) == (0.9, None)
    assert found["M"].low is not None


def test_answers_counts_by_user(tmp_path: Path) -> None:
    folder = plant(tmp_path / "MF", "MF")
    pairs = write_predictions(folder)
    counts = users_of(folder).answers("none")
    assert isinstance(counts, answers.Confusion)
    place = sorted(f"u{number}" for number in range(USERS)).index("u17")
    own = [pair for pair in pairs["none"] if pair[0] == "u17"]
    assert counts.tp[place] == sum(1 for _, label, score in own if label and score > 0.5)
    assert counts.tn[place] == sum(1 for _, label, score in own if not label and score <= 0.5)
