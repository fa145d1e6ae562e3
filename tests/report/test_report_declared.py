"""Reports evaluate the metrics that runs were judged by: what is declared once has its direction, interval and test."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import run_planted
from report_planted import change, plant

from recbole_fair.metrics import Metric, declared, directions, register
from recbole_fair.metrics.declared import HOST, METRICS
from recbole_fair.metrics.formulas import deviation
from recbole_fair.metrics.intervals import Resampling
from recbole_fair.report.assemble import Options, assemble
from recbole_fair.report.runs import config_of
from recbole_fair.report.statistics.evaluated import evaluated, recomputed
from recbole_fair.report.users import read_users
from recbole_fair.rundir.result import Result
from recbole_fair.runner import run

Toy = Callable[..., dict[str, Any]]


def test_one_declaration_is_ranked_and_tested_in_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/authoring.md, on Recall."""
    monkeypatch.setattr(declared, "METRICS", dict(declared.METRICS))
    key = "spread_recall@5[gender]"
    assert directions.best(key) is None
    register(Metric("Spread_Recall", ["recall"], deviation, over="user", best=0.0, bounds=(0.0, 1.0), equal=0.0))
    for name in ("Base", "New"):
        for seed in (1, 2, 3):
            folder = plant(tmp_path / f"{name}{seed}", name, seed)
            test = json.loads((folder / "result.json").read_text())["test"]
            change(folder, test={**test, key: test["gap_recall@5[gender]"] / 2})  # of two groups the sd is half the gap
    block = assemble([tmp_path], Options(metrics=(key,), reference="Base")).blocks[0]
    (test,) = block.tests
    assert test.key == key and test.low < test.difference < test.high and test.verdict == "not shown"
    cells = {row.label: row.cells[key] for row in block.rows}
    assert {cell.mark for cell in cells.values()} == {"best", "second"}
    assert min(cells.values(), key=lambda cell: cell.value).mark == "best"
    assert all(0 <= cell.low < cell.high for cell in cells.values())
    assert directions.wish(key) == "lower is better"


def uneven(user: str, item: str, _: int) -> float:
    liked = (item[0] == "n") == (user[1] == "M")
    return float(liked) / 2 + math.sin(sum(ord(sign) * (place + 3) ** 2 for place, sign in enumerate(f"{user}|{item}")))


LISTS = ["Recall", "NDCG", "Hit", "CV", "MIN", "REO", "RSP", "Exposure_CV", "Merit_CV", "Gap_NDCG", "Ratio_Hit"]
ANSWERS = ["AUC", "F1", "Precision", "Recall", "Yes_Share", "SF", "SF_Every", "SF_In", "GD", "GD_Given", "Rate",
           "GD_Gap", "GD_Between", "Flip", "Gap_F1", "Gap_AUC"]  # fmt: skip


@pytest.mark.parametrize(
    "keys",
    [
        {"metrics": LISTS},
        {"metrics": ["CV"], "group_utility": "hit", "group_utility_users": "all"},
        {"metrics": LISTS, "eval_protocol": "candidates", "num_candidates": 6},
        {"metrics": ANSWERS, "eval_protocol": "labeled", "valid_metric": "AUC", "likes": "[4,inf)"},
    ],
    ids=["lists", "another utility", "candidates", "answers"],
)
def test_files_give_every_figure_of_a_run_and_its_interval(keys: dict[str, Any], toy: Toy) -> None:
    result = run_planted(toy, uneven, bootstrap=600, **keys)
    folder = Path(result.run_dir)
    users = read_users(folder, result.threshold, config_of(folder))
    assert users is not None
    anew = recomputed(folder, Resampling(0.95, 600))
    for key, value in result.test.items():
        assert value is not None, key
        found = evaluated(users, key, value)
        assert found is not None, key
        assert found.value == pytest.approx(value, rel=1e-9, abs=1e-12)
        stated = result.interval[key]
        assert (anew[key] is None) == (stated is None), key
        if stated is not None:
            assert anew[key] == pytest.approx(stated, abs=0.25 * (stated[1] - stated[0]) + 1e-9), key


def test_an_attribute_attack_is_tested_from_its_folds(toy: Toy) -> None:
    keys = {
        "probe": ["gender"],
        "user_groups": ["gender"],
        "probe_folds": 3,
        "probe_repeats": 2,
        "probe_shuffles": 3,
        "min_class_users": 10,
    }
    result = run(**toy("MF", epochs=1, **keys))
    users = read_users(Path(result.run_dir))
    assert users is not None
    found = evaluated(users, "attr_auc[gender]", result.test["attr_auc[gender]"])
    assert found is not None
    (draws,) = (block.resampled(np.ones((1, len(users.ids)))) for block in found.blocks.values())
    assert draws[0, 0] == pytest.approx(result.test["attr_auc[gender]"])
    assert evaluated(users, "attr_auc_null[gender]", result.test["attr_auc_null[gender]"]) is None


def test_what_an_interval_is_of_stands_in_the_result_and_reports_have_one_level(toy: Toy) -> None:
    wide = run_planted(toy, uneven, metrics=["NDCG"], interval=0.99, bootstrap=900)
    folder = Path(wide.run_dir)
    assert Result.read(folder).resampling == {"level": 0.99, "samples": 900, "seed": 0, "method": "widened"}
    cell = assemble([folder], Options(metrics=("ndcg@5",))).blocks[0].rows[0].cells["ndcg@5"]
    low, high = wide.interval["ndcg@5"]
    assert low < cell.low < cell.high < high, "95 % as its caption says"
    assert recomputed(folder, Resampling(0.99, 900))["ndcg@5"] == pytest.approx([low, high], abs=0.02)
    narrow = recomputed(folder, Resampling(0.5, 900))["ndcg@5"]
    assert cell.low < narrow[0] < narrow[1] < cell.high


def test_every_metric_says_in_a_few_words_what_it_is() -> None:
    ours = {metric.name: metric.means for metric in METRICS.values()}
    said = [*ours.items(), *((name, metric.means) for name, metric in HOST.items())]
    assert [name for name, means in said if not means or len(means) > 120] == []
    assert "attacker" in directions.meaning("attr_auc_mlp[gender]")
    assert directions.meaning("recall@20") != directions.meaning("recall")
