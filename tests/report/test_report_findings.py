"""What a table says in sentences, from planted figures."""

from __future__ import annotations

from pathlib import Path

from report_planted import plant

from recbole_fair.report.assemble import Block, Options, assemble
from recbole_fair.report.findings import findings

KEYS = ("recall@5", "cv@5[pop]", "gap_recall@5[gender]")


def block_of(folder: Path) -> Block:
    (block,) = assemble([folder], Options(metrics=KEYS)).blocks
    return block


def test_the_most_accurate_the_fairest_with_its_cost_and_the_users_served_worse(tmp_path: Path) -> None:
    sizes = {"kind": "user", "field": "gender", "size": 30}
    served = [
        {**sizes, "group": "F", "users": 12, "recall@5": 0.2},
        {**sizes, "group": "M", "users": 30, "recall@5": 0.5},
    ]
    gap = {"interval": {"gap_recall@5[gender]": [0.1, 0.5]}, "groups": served}
    plant(tmp_path / "a", "MF", test={"recall@5": 0.4, "cv@5[pop]": 0.8, "gap_recall@5[gender]": 0.3}, **gap)
    plant(tmp_path / "b", "FairMF", test={"recall@5": 0.38, "cv@5[pop]": 0.2, "gap_recall@5[gender]": 0.4})
    first, fairest, own, users = findings(block_of(tmp_path), KEYS)
    assert first.startswith("Highest recall@5: MF, 0.4000")
    assert fairest.startswith("Best in cv@5[pop]: FairMF, 0.2000")
    assert "where MF has 0.8000" in fairest and "its recall@5 is 5.0 % lower" in fairest
    assert own.startswith("Best in gap_recall@5[gender] too: MF")
    assert "F 0.2000 (12 users) below M 0.5000 (30 users), gap 0.3000 [0.1000, 0.5000]: sure." in users


def test_a_gap_whose_interval_reaches_zero_says_so(tmp_path: Path) -> None:
    served = [
        {"kind": "user", "field": "gender", "size": 30, "group": group, "users": 9, "recall@5": value}
        for group, value in (("F", 0.3), ("M", 0.31))
    ]
    gap = {"interval": {"gap_recall@5[gender]": [0.0, 0.2]}, "groups": served}
    plant(tmp_path / "a", "MF", test={"recall@5": 0.4, "cv@5[pop]": 0.8, "gap_recall@5[gender]": 0.01}, **gap)
    assert findings(block_of(tmp_path), KEYS)[-1].endswith("[0.0000, 0.2000]: not sure.")


def test_one_row_alone_is_best_in_nothing(tmp_path: Path) -> None:
    plant(tmp_path / "a", "MF", test={"recall@5": 0.4, "cv@5[pop]": 0.8, "gap_recall@5[gender]": 0.0})
    plant(tmp_path / "b", "Late", status="failed", error="no", test={}, data={})
    block = block_of(tmp_path)
    sentence, *served = findings(block, KEYS)
    assert all("as MF serves it" in one for one in served)
    assert sentence.startswith("MF alone: recall@5 0.4000") and "cv@5[pop] 0.8000" in sentence
    assert "gap_recall@5[gender] 0.0000" in sentence, "a figure of 0 is a figure"
    assert not any(cell.mark for cell in block.rows[0].cells.values())


def test_rows_that_do_not_beat_pop_are_named(tmp_path: Path) -> None:
    difference = {"metric": "recall@5", "pop": 0.3, "difference": 0.1, "low": 0.05, "high": 0.15}
    bounds = {"Strong": (0.05, 0.15), "Weak": (0.0, 0.1), "Worse": (-0.3, -0.1), "Pop": (0.0, 0.0)}
    for place, (name, (low, high)) in enumerate(bounds.items()):
        popularity = {**difference, "low": low, "high": high}
        plant(tmp_path / name, name, test=dict.fromkeys(KEYS, 0.4 - place / 10), popularity=popularity)
    said = findings(block_of(tmp_path), KEYS)
    assert "Worse than Pop: Worse. Not shown to beat Pop: Weak. Pop lists what is popular;" in " ".join(said)


def test_a_best_row_is_one_of_those_that_are_accurate_enough(tmp_path: Path) -> None:
    plant(tmp_path / "Strong", "Strong", test={KEYS[0]: 0.4, **dict.fromkeys(KEYS[1:], 0.3)})
    plant(tmp_path / "Pop", "Pop", test={KEYS[0]: 0.3, **dict.fromkeys(KEYS[1:], 0.4)})
    before = findings(block_of(tmp_path), KEYS)
    plant(tmp_path / "Equal", "Equal", test={KEYS[0]: 0.1, **dict.fromkeys(KEYS[1:], 0.0)})
    after = findings(block_of(tmp_path), KEYS)
    assert f"Best in {KEYS[1]} too: Strong" in " ".join(before)
    assert f"Best in {KEYS[1]} too among the rows at least as accurate as Pop: Strong" in " ".join(after)


def test_where_nothing_has_figures_nothing_is_said(tmp_path: Path) -> None:
    plant(tmp_path / "a", "MF", status="failed", error="no", test={}, data={})
    (block,) = assemble([tmp_path], Options()).blocks
    assert findings(block, ()) == []
