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
from scipy import stats
from sklearn.metrics import roc_auc_score

from recbole_fair.errors import UsageError
from recbole_fair.metrics.bootstrap import counts, holm, percentile_interval
from recbole_fair.metrics.power import detectable
from recbole_fair.report.assemble import Options, Report, assemble
from recbole_fair.report.statistics.by_group import Grouping, group_figures, groupings, metric_of
from recbole_fair.report.statistics.evaluated import SAMPLES, SEED, Resampled, evaluated
from recbole_fair.report.statistics.significance import Difference, _judged, _test, _verdict
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
    found = evaluated(users_of(folder), key, stated(folder, key))
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
    assert evaluated(users_of(plant(tmp_path / "MF", "MF")), key, 0.5) is None


def test_both_readings_of_group_utility_are_recognised(tmp_path: Path) -> None:
    """group_utility_users: all counts users without a test item in a group as 0."""
    folder = plant(tmp_path / "MF", "MF")
    utilities = []
    for group in ("pop:popular", "pop:rest"):
        hits, relevant = column(folder, f"hits[{group}@5]"), column(folder, f"relevant[{group}]")
        utilities.append(sum(h / r if r else 0.0 for h, r in zip(hits, relevant, strict=True)) / USERS)
    value = float(np.std(utilities) / np.mean(utilities))
    assert evaluated(users_of(folder), CV, value) is None, "the run's configuration says which reading it is"
    users = read_users(folder, config={"group_utility_users": "all"})
    assert users is not None and evaluated(users, CV, value) is not None


def write_predictions(folder: Path) -> dict[str, list[tuple[str, int, float]]]:
    """Three pairs a user, each asked under two variants, answers drawn at random."""
    draw = np.random.default_rng(5)
    pairs: dict[str, list[tuple[str, int, float]]] = {"none": [], "actual": []}
    lines, labels = ["user_id\titem_id\tlabel\tvariant\tscore"], draw.integers(2, size=USERS * 3).tolist()
    for variant, kept in pairs.items():
        for place, label in enumerate(labels):
            score = float(draw.random())
            kept.append((f"u{place // 3}", label, score))
            lines.append(f"u{place // 3}\ti{place}\t{label}\t{variant}\t{score!r}")
    (folder / "predictions.tsv").write_text("\n".join(lines) + "\n")
    return pairs


def f1_of(pairs: list[tuple[str, int, float]]) -> float:
    right = sum(1 for _, label, score in pairs if label and score > 0.5)
    return 2 * right / sum(label + (score > 0.5) for _, label, score in pairs)


def test_a_score_says_yes_from_the_runs_own_threshold_on(tmp_path: Path) -> None:
    folder = plant(tmp_path / "MF", "MF")
    pairs = write_predictions(folder)["actual"]
    said_yes = [score >= 0.25 for _, _, score in pairs]
    users = read_users(folder, 0.25)
    assert users is not None and 0 < np.mean(said_yes) < 1
    assert evaluated(users, "yes_share", float(np.mean(said_yes))) is not None
    assert evaluated(users, "yes_share", float(np.mean([score > 0.5 for _, _, score in pairs]))) is None


def test_yes_no_figures_against_loops_over_pairs(tmp_path: Path) -> None:
    folder = plant(tmp_path / "MF", "MF")
    pairs, users = write_predictions(folder), users_of(folder)
    women = {f"u{place}" for place in range(USERS) if place % 3 == 0}
    base = f1_of(pairs["none"])

    def by_gender(variant: str) -> list[float]:
        return [f1_of([pair for pair in pairs[variant] if (pair[0] in women) is side]) for side in (True, False)]

    given, without = by_gender("actual"), by_gender("none")
    used = pairs["actual"]  # what the prompt holds when the recommender is used
    shifts = [one - other for one, other in zip(given, without, strict=True)]
    figures = {
        "yes_share": np.mean([score > 0.5 for _, _, score in used]),
        "recall": np.mean([score > 0.5 for _, label, score in used if label]),
        "precision": np.mean([label for _, label, score in used if score > 0.5]),
        "f1": f1_of(used),
        "auc": roc_auc_score(*zip(*[(label, score) for _, label, score in used], strict=True)),
        "gd[gender]": math.sqrt(sum(shift**2 for shift in shifts) / 2),
        "gd_gap[gender]": abs(shifts[0] - shifts[1]) / 2,
        "gd_between[gender]": math.sqrt(sum((value - base) ** 2 for value in given) / 2),
        "rate[gender]": sum(abs(1 - one / other) for one, other in zip(given, without, strict=True)) / 2,
        "gap_f1[gender]": abs(given[0] - given[1]),
    }
    for key, value in figures.items():
        found = evaluated(users, key, float(value))
        assert found is not None, key
        assert found.value == pytest.approx(value, rel=1e-12)
        assert evaluated(users, key, float(value) + 0.01) is None, key
    assert evaluated(users, "flip[gender]", 0.1) is None, "no prompt gave everyone a gender"


def test_variants_of_different_pairs_are_refused(tmp_path: Path) -> None:
    folder = plant(tmp_path / "MF", "MF")
    write_predictions(folder)
    path = folder / "predictions.tsv"
    path.write_text(path.read_text().replace("u3\ti9\t", "u3\ti8\t", 1))
    with pytest.raises(UsageError, match="its variants have different pairs"):
        evaluated(users_of(folder), "f1", 0.5)


def two(root: Path, first: tuple[float, float], second: tuple[float, float], *keys: str, **options: Any) -> Report:
    """Three seeds of either; `seeds` for another number."""
    for seed in range(1, options.pop("seeds", 3) + 1):
        plant(root / f"Base{seed}", "Base", seed, quality=first)
        plant(root / f"New{seed}", "New", seed, quality=second)
    return assemble([root], Options(metrics=keys or (RECALL,), **{"reference": "Base", **options}))


def test_the_interval_of_single_seeds_is_over_users_and_says_nothing_more(tmp_path: Path) -> None:
    (test,) = two(tmp_path, (0.5, 0.1), (0.9, 0.8), seeds=1).blocks[0].tests
    differences = np.subtract(*(column(tmp_path / name, RECALL) for name in ("New1", "Base1")))
    draws = np.concatenate(list(counts(USERS, 1000, SEED))) @ differences / USERS
    assert test.difference == pytest.approx(differences.mean())
    assert (test.low, test.high) == pytest.approx(np.array(percentile_interval(draws)))
    assert test.detectable == pytest.approx(float(detectable(draws.std(), freedom=USERS - 1)))
    assert (test.users, test.verdict) == (USERS, "no verdict")
    assert test.low > 0, "however clear it is for the users"


def test_the_noise_of_seeds_is_added_as_welch_has_it(tmp_path: Path) -> None:
    (test,) = two(tmp_path, (0.5, 0.2), (0.55, 0.25), seeds=4).blocks[0].tests
    sides = [
        np.stack([column(tmp_path / f"{name}{seed}", RECALL) for seed in (1, 2, 3, 4)]) for name in ("New", "Base")
    ]
    each = [side.mean(axis=1) for side in sides]
    difference = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    parts = [difference.var() / USERS, each[0].var(ddof=1) / 4, each[1].var(ddof=1) / 4]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (USERS - 1) + (parts[1] ** 2 + parts[2] ** 2) / 3)
    assert test.difference == pytest.approx(difference.mean())
    assert test.p == pytest.approx(2 * stats.t.sf(abs(difference.mean()) / math.sqrt(sum(parts)), freedom), rel=0.15)
    power = [detectable(math.sqrt(sum(parts)), 1 - 0.05 / tests, freedom=freedom) for tests in (1, 3)]
    assert test.detectable == pytest.approx(power[0], rel=0.08)
    first = assemble([tmp_path], Options(metrics=(RECALL, CV, GAP), reference="Base")).blocks[0].tests[0]
    assert first.detectable / test.detectable == pytest.approx(power[1] / power[0], rel=0.02)
    reach = math.hypot(1.96 * math.sqrt(parts[0]), stats.t.ppf(0.975, freedom) * math.sqrt(parts[1] + parts[2]))
    assert test.high - test.low == pytest.approx(2 * reach, rel=0.08)


def test_seeds_of_one_model_do_not_differ(tmp_path: Path) -> None:
    """Where seeds differ by more than users do, users alone would make claims of nothing."""
    claims = alone = 0
    for table in range(12):
        draw, root = np.random.default_rng(table), tmp_path / str(table)
        for name in ("Base", "New"):
            for seed in (1, 2, 3):
                chance = float(np.clip(0.5 + 0.05 * draw.standard_normal(), 0.1, 0.9))
                plant(root / f"{name}{seed}", name, seed, quality=(chance, chance), history=False)
        (test,) = assemble([root], Options(metrics=(RECALL,), reference="Base")).blocks[0].tests
        claims += test.verdict in ("shown", "opposite")
        sides = [np.mean([column(root / f"{name}{seed}", RECALL) for seed in (1, 2, 3)], 0) for name in ("New", "Base")]
        alone += abs(np.mean(sides[0] - sides[1])) > 1.96 * np.std(sides[0] - sides[1]) / math.sqrt(USERS)
    assert claims <= 2 < alone


def test_holm_runs_over_all_tests_of_a_table(tmp_path: Path) -> None:
    def tests(*keys: str) -> dict[tuple[str, str], float]:
        block = assemble([tmp_path], Options(metrics=keys, reference="Base")).blocks[0]
        return {(test.label, test.key): test.p for test in block.tests}

    two(tmp_path, (0.5, 0.2), (0.57, 0.25))
    for seed in (1, 2, 3):
        plant(tmp_path / f"Third{seed}", "Third", seed, quality=(0.5, 0.3))
    together = tests(RECALL, CV, GAP)
    assert list(together) == [(row, key) for row in ("New", "Third") for key in (RECALL, CV, GAP)]
    adjusted = list(together.values())
    order = np.argsort(adjusted)
    assert holm([p / factor for p, factor in zip(np.sort(adjusted), range(6, 0, -1), strict=True)])[0] == pytest.approx(
        adjusted[order[0]]
    )
    alone = [next(iter(tests(key).values())) for key in (RECALL,)]
    assert alone[0] <= together["New", RECALL]


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


def test_unequal_numbers_of_seeds_are_compared_by_their_means(tmp_path: Path) -> None:
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


def test_seeds_that_err_to_either_side_of_the_best_value_are_not_near_it() -> None:
    """SF of +-.3 averages to 0, yet every seed is farther from 0 than .1."""
    noise = np.random.default_rng(0).normal(0, 0.01, (SAMPLES, 4))
    sides = [np.array(seeds) for seeds in ([0.3, -0.3, 0.3, -0.3], [0.1] * 4)]
    test = _test(("row", "sf"), *(_judged("sf", Resampled(seeds, seeds + noise)) for seeds in sides), 60, 1)
    assert test.difference == pytest.approx(0.2)
    assert _verdict(test, test.p) == "opposite"


def test_what_is_detectable_is_found_with_that_power_at_three_seeds() -> None:
    """Simulated rows that differ by exactly that much, in one of three tests."""
    draw, error = np.random.default_rng(0), math.sqrt(2 / 3)  # of a difference of means of three seeds, sd 1 each
    least = detectable(error, 1 - 0.05 / 3, freedom=4)
    sides = draw.standard_normal((20_000, 2, 3)) + np.array([least, 0])[:, None]
    p = stats.ttest_ind(sides[:, 0], sides[:, 1], axis=1).pvalue
    assert np.mean(p <= 0.05 / 3) == pytest.approx(0.8, abs=0.01)


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
    drawn = np.concatenate(list(counts(USERS, SAMPLES, SEED)))
    expected = percentile_interval((drawn @ (values * women[order])) / (drawn @ women[order]))
    assert (user["F"].low, user["F"].high) == pytest.approx(np.array(expected))
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
