"""Directions against RecBole's own attributes and against docs/metrics.md."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from recbole_fair.host import metric_register
from recbole_fair.metrics import directions


def test_hosts_metrics_have_the_hosts_direction() -> None:
    """tail percentage is the host's one that we call neither better nor worse."""
    for name, metric in metric_register.metrics_dict.items():
        if metric.__module__.startswith("recbole."):
            assert (directions.side(name) == "lower") == (metric.smaller and name != "tailpercentage"), name
            assert (directions.best(name) is None) == (name == "tailpercentage"), name


def test_documented_metrics_have_the_documented_direction() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    seen = 0
    for section in re.split(r"^### ", page, flags=re.M)[1:]:
        heading, text = section.split("\n", 1)
        told = re.search(r"\*Better\*: ([^.;]*)", text)
        for key in re.findall(r"`([^`]+)`", heading):
            if told and re.match(r"(lower|higher)\b", told.group(1)) and "," not in told.group(1):
                seen += 1
                expected = 0 if told.group(1).startswith("lower") else math.inf
                example = key.replace("@K", "@5").replace("METRIC", "recall")
                assert directions.best(example) == expected, key
    assert seen >= 9


@pytest.mark.parametrize(
    ("key", "best"),
    [
        ("cv_ndcg@20[gender*age]", 0), ("gap_recall@20[gender]", 0), ("ratio_hit@5[age]", math.inf),
        ("rate_sq[gender]", 0),
        ("gd_given[gender]", 0), ("flip[gender]", 0), ("sf_in", 0), ("attr_auc[gender]", 0.5), ("auc", math.inf),
        ("sf", 0), ("sf_every", None), ("flip_null", None), ("attr_auc_mlp[gender]", 0.5), ("attr_auc_null[age]", None),
        ("min@20[genre]", math.inf), ("NDCG@10", math.inf), ("yes_share", None), ("firsthit@5", None),
        ("recall_odd@5", None), ("weight of", None), ("giniindex@5", -math.inf),
    ],
)  # fmt: skip
def test_best_by_key(key: str, best: float | None) -> None:
    assert directions.best(key) == best


def test_cost_falls_towards_the_best_value() -> None:
    assert directions.cost("attr_auc[g]", [0.4, 0.5, 0.7]).tolist() == pytest.approx([0.1, 0, 0.2])
    assert directions.cost("ndcg@5", [0.1, 0.3]).tolist() == [-0.1, -0.3]
    assert all(math.isnan(value) for value in directions.cost("yes_share", [0.1, 0.3]))
    assert [directions.arrow(key) for key in ("ndcg@5", "cv@5[pop]", "attr_auc[g]", "yes_share")] == [
        "↑",
        "↓",
        "→0.5",
        "",
    ]
