"""Intervals of a run against resampling its users anew from users.csv and predictions.tsv, by code of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import loops
import numpy as np
import pytest
from planted import run_planted
from sklearn.metrics import roc_auc_score

from recbole_fair.errors import UsageError
from recbole_fair.metrics import Metric, declared, formulas, register
from recbole_fair.metrics.bootstrap import NOISE
from recbole_fair.metrics.intervals import Resampling, intervals
from recbole_fair.metrics.metric import Figure, Measure
from recbole_fair.runner import run

Toy = Callable[..., dict[str, Any]]
Statistic = Callable[[Sequence[dict[str, str]]], float]

LABELED = {"eval_protocol": "labeled", "valid_metric": "AUC", "likes": "[4,inf)"}


def bounds(rows: Sequence[dict[str, str]], statistic: Statistic, samples: int = 1500) -> list[float]:
    """The 95 % percentile interval from Python's own random numbers; samples without a value are left out."""
    draw, found = random.Random(5), []
    for _ in range(samples):
        value = statistic([rows[draw.randrange(len(rows))] for _ in rows])
        if value == value:
            found.append(value)
    found.sort()
    return [found[int(0.025 * len(found))], found[int(0.975 * len(found))]]


def mean_of(column: str, **where: str) -> Statistic:
    def statistic(rows: Sequence[dict[str, str]]) -> float:
        return loops.mean(float(row[column]) for row in rows if all(row[key] == value for key, value in where.items()))

    return statistic


def utility_of(group: str) -> Statistic:
    def statistic(rows: Sequence[dict[str, str]]) -> float:
        counts = [(float(row[f"hits[genre:{group}@5]"]), float(row[f"relevant[genre:{group}]"])) for row in rows]
        return loops.mean(hits / relevant for hits, relevant in counts if relevant)

    return statistic


GENRES = [utility_of(group) for group in ("comic", "drawn", "noir")]
GENDERS = [mean_of("ndcg@5", gender=gender) for gender in "FM"]
STATISTICS: dict[str, Statistic] = {
    "ndcg@5": mean_of("ndcg@5"),
    "precision@3": mean_of("precision@3"),
    "cv@5[genre]": lambda rows: loops.cv(utility(rows) for utility in GENRES),
    "min@5[genre]": lambda rows: loops.minimum(utility(rows) for utility in GENRES),
    "gap_ndcg@5[gender]": lambda rows: loops.gap(of_gender(rows) for of_gender in GENDERS),
}


def uneven(user: str, item: str, _: int) -> float:
    """Women are served, most men are not, and not all alike."""
    noise = sum(ord(sign) for sign in user + item) % 7 / 10
    return noise + float((user[1] == "F" or int(user[2:]) % 3 == 0) == (item[0] == "c"))


@pytest.fixture
def judged(toy: Toy) -> Any:
    return run_planted(toy, uneven, bootstrap=4000)


def test_intervals_are_those_of_users_drawn_anew(judged: Any) -> None:
    """Tolerances are about four standard errors of a quantile of 1,500 draws."""
    rows = loops.rows(Path(judged.run_dir) / "users.csv")
    assert len(rows) == 42
    for key, statistic in STATISTICS.items():
        assert statistic(rows) == pytest.approx(judged.test[key], abs=1e-9), key
        low, high = judged.interval[key]
        assert high - low > 0
        mine = bounds(rows, statistic)
        assert [low, high] == pytest.approx(mine, abs=0.15 * (high - low)), key
    cells = {(row["field"], row["group"]): row for row in loops.rows(Path(judged.run_dir) / "groups.csv")}
    for group, statistic in {"M": GENDERS[1], "comic": GENRES[0]}.items():
        field, figure = ("gender", "ndcg@5") if group == "M" else ("genre", "recall@5")
        low, high = (float(cells[field, group][f"{figure}_{end}"]) for end in ("low", "high"))
        assert [low, high] == pytest.approx(bounds(rows, statistic), abs=0.15 * (high - low)), group


def test_every_mean_lies_in_its_interval(judged: Any) -> None:
    assert judged.interval.keys() == judged.test.keys()
    for key, value in judged.test.items():
        low, high = judged.interval[key]
        assert low <= high, key
        if "[" not in key:
            assert low - 1e-12 <= value <= high + 1e-12, key
    shown = 0
    for row in judged.group_rows:
        for figure in (name for name in row if name.endswith(("@3", "@5"))):
            low, value, high = row[f"{figure}_low"], row[figure], row[f"{figure}_high"]
            assert (value is None) == (low is None) == (high is None)
            if value is not None:
                shown += 1
                assert low - 1e-12 <= value <= high + 1e-12, (row["group"], figure)
    assert shown == 40
    header = (Path(judged.run_dir) / "groups.csv").read_text().splitlines()[0].split(",")
    assert header[:5] == ["kind", "field", "group", "size", "users"]
    figures = [name for name in header[5:] if not name.endswith(("_low", "_high"))]
    assert header[5:] == [column for name in figures for column in (name, f"{name}_low", f"{name}_high")]


@pytest.mark.parametrize("keys", [{"interval": None}, {"bootstrap": 0}])
def test_no_interval_is_made_where_none_is_wanted(keys: dict[str, Any], toy: Toy) -> None:
    result = run_planted(toy, uneven, **keys)
    assert result.interval == dict.fromkeys(result.test)
    assert all(row[name] is None for row in result.group_rows for name in row if name.endswith(("_low", "_high")))
    assert not any("interval" in warning for warning in result.warnings)


def test_level_and_method_are_as_asked_and_change_no_figure(toy: Toy, tmp_path: Path) -> None:
    def of(name: str, **more: Any) -> Any:
        return run_planted(toy, uneven, run_dir=str(tmp_path / name), **more)

    wide, again = of("wide"), of("again")
    assert wide.interval == again.interval, "seeded"
    narrow, corrected = of("narrow", interval=0.5), of("corrected", interval_method="bias_corrected")
    assert wide.test == narrow.test == corrected.test
    assert len({result.config_hash for result in (wide, narrow, corrected)}) == 1, "one run, shown otherwise"
    for key in ("ndcg@5", "gap_ndcg@5[gender]"):
        (low, high), (inner, outer) = wide.interval[key], narrow.interval[key]
        assert low < inner < outer < high
    assert corrected.interval["cv@5[genre]"] != wide.interval["cv@5[genre]"]


def test_what_leans_on_a_boundary_is_named(toy: Toy) -> None:
    """Scores of a sine: no group is served better, so all disparity is noise, which resampling only adds to."""
    result = run_planted(toy, lambda user, item, _: (sum(map(ord, user)) * sum(map(ord, item))) % 101 / 101)
    (note,) = [warning for warning in result.warnings if warning.startswith(NOISE)]
    named = note.removeprefix(NOISE).partition(":")[0].strip().split(", ")
    assert "gap_ndcg@5[gender]" in named
    assert all("[" in key for key in named), "means lean on none"


def test_a_widened_interval_ends_at_the_bounds_of_its_metric() -> None:
    """Four groups of five users, so noisy that the reflection of MIN's interval about MIN is below 0."""
    draw = np.random.default_rng(0)
    terms = formulas.user_mean(draw.random(20) ** 6).by_group(np.arange(20)[:, None] % 4 == [[0, 1, 2, 3]])
    free = Measure("min_ndcg@3[age]", (Figure("ndcg@3", "age"),), formulas.minimum)
    how = Resampling(0.95, 1000, method="widened")

    def interval(measure: Measure) -> list[float]:
        found = intervals({Figure("ndcg@3", "age"): terms}, [measure], 20, how).bounds[measure.key]
        assert found is not None
        return found

    low, high = interval(free)
    assert low < 0 < high
    assert interval(replace(free, bounds=(0.0, 1.0))) == [0, high]


def test_a_metric_of_a_users_own_may_be_negative(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it states bounds and a value of equality, its interval is the percentiles."""
    monkeypatch.setattr(declared, "METRICS", dict(declared.METRICS))
    register(Metric("Signed_NDCG", ["ndcg"], lambda groups: groups[..., 1] - groups[..., 0], over="user"))
    result = run_planted(toy, uneven, metrics=["NDCG", "Signed_NDCG"], user_groups=["gender"])
    value, (low, high) = result.test["signed_ndcg@5[gender]"], result.interval["signed_ndcg@5[gender]"]
    assert low < value < high < 0


def test_one_judged_user_has_no_interval_and_that_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "lonely"
    folder.mkdir(parents=True)
    met = [("a", f"i{number}", number) for number in range(10)] + [("b", "i1", 20), ("c", "other", 21)]
    lines = [f"{user}\t{item}\t{time}" for user, item, time in met]
    (folder / "lonely.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *lines]) + "\n")
    keys = {"data_path": str(tmp_path / "data"), "topk": [2], "valid_metric": "NDCG@2", "use_gpu": False}
    result = run("Pop", "lonely", run_dir=str(tmp_path / "run"), metrics=["Recall", "CV"], **keys)
    assert len(loops.rows(tmp_path / "run" / "users.csv")) == 1
    assert result.test["recall@2"] is not None
    assert set(result.interval.values()) == {None}
    assert "no intervals: 1 judged user(s)" in result.warnings


def test_a_group_of_a_few_users_has_a_figure_and_no_interval(toy: Toy) -> None:
    """Two users are missing from every seventh resampling: what is left says nothing of them."""
    bins = {"age": {"two": "[20,22)", "others": "[22,inf)"}}
    result = run_planted(toy, uneven, user_groups=["age"], group_bins=bins, min_group_users=1)
    row = next(row for row in result.group_rows if row["group"] == "two")
    assert row["users"] == 2 and row["ndcg@5"] is not None
    assert row["ndcg@5_low"] is row["ndcg@5_high"] is None


def test_figures_that_are_no_sums_over_users_have_no_interval(toy: Toy) -> None:
    result = run_planted(toy, uneven, metrics=["NDCG", "ItemCoverage", "GiniIndex", "GAUC"])
    assert result.interval["ndcg@5"] is not None
    assert {result.interval[key] for key in ("itemcoverage@5", "giniindex@3", "gauc")} == {None}


def test_intervals_of_answers_are_those_of_users_drawn_anew(toy: Toy) -> None:
    """A user's pairs are drawn together."""
    result = run_planted(toy, uneven, **LABELED, bootstrap=4000)
    pairs: dict[str, list[tuple[bool, float]]] = {}
    for row in loops.rows(Path(result.run_dir) / "predictions.tsv", "\t"):
        pairs.setdefault(row["user_id"], []).append((row["label"] == "1", float(row["score"])))
    users = [{"user_id": user} for user in pairs]

    def answered(rows: Sequence[dict[str, str]]) -> list[tuple[bool, float]]:
        return [pair for row in rows for pair in pairs[row["user_id"]]]

    def f1(rows: Sequence[dict[str, str]]) -> float:
        cases = [(label, score >= result.threshold) for label, score in answered(rows)]
        right = sum(label and yes for label, yes in cases)
        return 2 * right / (2 * right + sum(label != yes for label, yes in cases))

    def auc(rows: Sequence[dict[str, str]]) -> float:
        return float(roc_auc_score(*zip(*answered(rows), strict=True)))

    for key, statistic in {"f1": f1, "auc": auc}.items():
        assert statistic(users) == pytest.approx(result.test[key], abs=1e-12)
        low, high = result.interval[key]
        assert low <= result.test[key] <= high
        assert [low, high] == pytest.approx(bounds(users, statistic, samples=600), abs=0.2 * (high - low)), key
    assert result.interval["gd[gender]"] is not None


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"interval": 1.0}, "interval=1.0"),
        ({"interval": 95}, "interval=95"),
        ({"bootstrap": -1}, "bootstrap=-1"),
        ({"interval_method": "normal"}, "interval_method='normal'"),
        ({"min_group_users": 0}, "min_group_users=0"),
    ],
)
def test_wrong_settings_are_refused(keys: dict[str, Any], says: str, toy: Toy) -> None:
    with pytest.raises(UsageError) as caught:
        run_planted(toy, uneven, **keys)
    assert says in str(caught.value)
