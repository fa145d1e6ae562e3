"""Cells, best and second, labels, and what a row says of itself."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from report_planted import change, plant

from recbole_fair.errors import UsageError
from recbole_fair.report.assemble import Options, Report, assemble
from recbole_fair.report.charts.plane import front
from recbole_fair.report.findings import findings
from recbole_fair.report.ranking import flattered
from recbole_fair.report.rows import Row


def row_of(report: Report, label: str) -> Row:
    return next(row for block in report.blocks for row in block.rows if row.label == label)


def only(root: Path, *keys: str, **options: Any) -> Report:
    return assemble([root], Options(metrics=keys or ("recall@5",), **options))


def test_mean_and_spread_over_seeds(report: Report, tree: Path) -> None:
    values = [json.loads((tree / f"MF-s{seed}/result.json").read_text())["test"]["cv@5[pop]"] for seed in (1, 2, 3)]
    cell = row_of(report, "MF").cells["cv@5[pop]"]
    assert cell.value == pytest.approx(sum(values) / 3, rel=1e-12)
    assert cell.spread == pytest.approx(statistics.stdev(values), rel=1e-12)
    assert row_of(report, "Pop").cells["cv@5[pop]"].spread is None


def test_best_and_second_go_by_direction_and_leave_collapsed_rows_out(report: Report) -> None:
    marks = {row.label: [row.cells[key].mark for key in ("recall@5", "cv@5[pop]")] for row in report.blocks[0].rows}
    assert marks["BiFairMF"] == ["best", "best"]
    assert marks["MF"] == ["second", "second"]
    assert marks["Pop"] == marks["Yes"] == marks["Wild"] == ["", ""]
    assert row_of(report, "Yes").cells["recall@5"].value > row_of(report, "BiFairMF").cells["recall@5"].value


def test_rows_are_ordered_best_first_then_collapsed_then_failed(report: Report) -> None:
    assert [row.label for row in report.blocks[0].rows] == ["BiFairMF", "MF", "Pop", "Yes", "Slow", "Wild"]


def test_figures_that_read_alike_are_marked_alike(tmp_path: Path) -> None:
    for name, value in (("A", 0.30001), ("B", 0.30002), ("C", 0.2)):
        plant(tmp_path / name, name, test={"recall@5": value})
    marks = {row.label: row.cells["recall@5"].mark for row in only(tmp_path).blocks[0].rows}
    assert marks == {"A": "best", "B": "best", "C": "second"}


def test_the_share_of_trained_parameters_is_a_column_where_it_is_asked_for(tmp_path: Path) -> None:
    for name, counts in (("A", {"total": 1000, "trainable": 3}), ("B", {"total": 1000, "trainable": 1000}), ("C", {})):
        plant(tmp_path / name, name, test={"recall@5": 0.1}, parameters=counts)
    report = only(tmp_path, "recall@5", "trained_share")
    cells = {row.label: row.cells["trained_share"] for row in report.blocks[0].rows}
    assert {label: (cell.value, cell.mark) for label, cell in cells.items()} == {
        "A": (0.003, ""), "B": (1.0, ""), "C": (None, ""),
    }  # fmt: skip
    assert cells["C"].note == "not measured"
    assert "trained_share" not in only(tmp_path).all_keys
    with pytest.raises(UsageError, match=r"trained_shar: no run has it\. Did you mean 'trained_share'"):
        only(tmp_path, "trained_shar")


def test_a_metric_without_a_better_side_marks_nothing(tmp_path: Path) -> None:
    for name in "AB":
        plant(tmp_path / name, name, test={"yes_share": 0.4, "recall@5": 0.1})
    report = only(tmp_path, "yes_share", "recall@5")
    assert {row.cells["yes_share"].mark for row in report.blocks[0].rows} == {""}
    assert "yes_share: no better side" in report.blocks[0].untested


def test_an_attack_on_users_whose_labels_a_defence_had_is_shown_and_neither_marked_nor_tested(tmp_path: Path) -> None:
    for name, seen, unseen in (("Erase", 0.5, 0.6), ("P5", 0.7, 0.59)):
        figures = {
            "attr_auc[age]": seen,
            "attr_auc_all[age]": seen,
            "attr_auc[gender]": seen,
            "attr_auc_unseen[age]": unseen,
        }
        plant(tmp_path / name, name, test={**figures, "recall@5": 0.1})
    block = only(tmp_path, "recall@5", *figures).blocks[0]
    marks = {row.label: [row.cells[key].mark for key in figures] for row in block.rows}
    assert marks == {"Erase": ["", "", "best", "second"], "P5": ["", "", "second", "best"]}
    said = "attr_auc[age], attr_auc_all[age]: of users whose labels the defences had; attr_auc_unseen is of the others"
    assert said in block.untested
    assert flattered("attr_auc_seen[age]", figures) and not flattered("attr_auc_null[age]", figures)
    assert not any("attr_auc[age]" in sentence for sentence in findings(block, ["recall@5", *figures]))


def test_a_metric_that_is_best_at_a_value_is_ranked_by_each_seeds_distance(tmp_path: Path) -> None:
    for name, seeds in {"Wide": (0.3, -0.3, 0.3, -0.3), "Near": (0.1,) * 4}.items():
        for seed, value in enumerate(seeds):
            plant(tmp_path / f"{name}{seed}", name, seed, test={"sf": value, "recall@5": 0.1})
    rows = only(tmp_path, "sf", "recall@5").blocks[0].rows
    assert [(row.label, row.cells["sf"].mark) for row in rows] == [("Near", "best"), ("Wide", "second")]
    assert [row.label for row in front(rows, "sf", "recall@5")] == ["Near"]


def test_failed_and_unfinished_runs_are_rows_that_say_why(report: Report) -> None:
    assert row_of(report, "Wild").remarks(report.keys) == ["seed 1 failed: loss is nan in epoch 2"]
    assert "--resume=True" in row_of(report, "Slow").remarks(report.keys)[0]
    assert row_of(report, "Wild").cells["recall@5"].value is None
    assert "collapsed" in row_of(report, "Yes").remarks(report.keys)[0]
    assert "answers Yes to 97 % of pairs" in row_of(report, "Yes").remarks(report.keys)


def test_a_failed_seed_is_told_and_the_others_count(tmp_path: Path) -> None:
    for seed in (1, 2):
        plant(tmp_path / f"s{seed}", "MF", seed)
    plant(tmp_path / "s3", "MF", 3, status="failed", error=None, test={})
    row = row_of(only(tmp_path), "MF")
    assert len(row.finished) == 2
    assert row.cells["recall@5"].spread is not None
    assert row.remarks(["recall@5"]) == ["seed 3 failed: no reason stated"]


@pytest.mark.parametrize(
    "reason",
    [
        "cv@5[pop] is undefined: one group",  # as the first versions said it
        "cv[pop] is undefined on test (K = 5, 10)",
        "pop: fewer than two groups with judged users, so there is nothing to compare",
    ],
)
def test_undefined_is_a_dash_with_its_reason(reason: str, tmp_path: Path) -> None:
    others = ["recall[pop] is undefined on test (K = 5)", "pop: no judged user for rare; left out"]
    plant(tmp_path / "A", "A", test={"recall@5": 0.1, "cv@5[pop]": None}, warnings=[*others, reason])
    plant(tmp_path / "B", "B")
    plant(tmp_path / "C", "C", test={"recall@5": 0.1})
    report = only(tmp_path, "recall@5", "cv@5[pop]")
    assert row_of(report, "A").cells["cv@5[pop]"].note == f"undefined ({reason})"
    assert row_of(report, "C").cells["cv@5[pop]"].note == "not measured"


def test_undefined_in_some_seeds_is_told(tmp_path: Path) -> None:
    plant(tmp_path / "A", "A", 1)
    plant(tmp_path / "B", "A", 2, test={"recall@5": None})
    cell = row_of(only(tmp_path), "A").cells["recall@5"]
    assert cell.value is not None
    assert cell.note == "undefined in 1 of 2 seeds"


def test_a_stated_interval_is_taken_and_a_missing_one_computed(tmp_path: Path) -> None:
    plant(tmp_path / "A", "A", interval={"recall@5": [0.25, 0.75]})
    plant(tmp_path / "B", "B")
    report = only(tmp_path)
    stated, computed = (row_of(report, name).cells["recall@5"] for name in "AB")
    assert (stated.low, stated.high) == (0.25, 0.75)
    assert computed.low < computed.value < computed.high


def test_users_that_do_not_give_the_stated_figure_are_not_used(tmp_path: Path) -> None:
    plant(tmp_path / "A", "A")
    change(plant(tmp_path / "B", "B"), test={"recall@5": 0.9})
    (plant(tmp_path / "C", "C") / "users.csv").unlink()
    report = only(tmp_path)
    assert row_of(report, "B").cells["recall@5"].low is None
    assert report.blocks[0].untested == (
        "B in recall@5: the run's files do not give back what result.json states",
        "C in recall@5: no users.csv",
    )


def test_near_the_boundary_the_reading_is_one_sided(report: Report) -> None:
    assert row_of(report, "BiFairMF").cells["cv@5[pop]"].reading == "at most"
    assert row_of(report, "MF").cells["cv@5[pop]"].reading == ""
    assert row_of(report, "MF").cells["recall@5"].reading == ""


def test_twins_are_told_apart_by_the_keys_they_differ_in(tmp_path: Path) -> None:
    first = {"epochs": 5, "eval_args": {"order": "TO"}, "seed": 1, "run_dir": "x"}
    second = {"epochs": 5, "eval_args": {"order": "RO"}, "seed": 2, "run_dir": "y", "new": 1}
    plant(tmp_path / "a", "MF", config_hash="aaaaaaaa", config=first)
    plant(tmp_path / "b", "MF", config_hash="bbbbbbbb", config=second)
    plant(tmp_path / "c", "Pop")
    assert {row.label for row in only(tmp_path).blocks[0].rows} == {
        "MF (eval_args.order=TO)",
        "MF (eval_args.order=RO)",
        "Pop",
    }


def test_a_method_that_is_not_run_by_its_defaults_says_so_in_its_name(tmp_path: Path) -> None:
    mixed = {"fair_weight": 0.3, "solver_steps": 100, "fair_group": "pop"}
    plant(tmp_path / "a", "MultiFRMF", strategy="MultiFR", config=mixed)
    plant(tmp_path / "b", "OffsetReweightMF", strategy="Offset", config={"fair_weight": 0.1, "ndcg_budget": 0.95})
    plant(tmp_path / "c", "ReweightMF", strategy="Reweight", config={"fair_weight": 0.3})
    plant(tmp_path / "d", "MF", config={"fair_weight": 0.9})
    assert {row.label for row in only(tmp_path).blocks[0].rows} == {
        "MultiFRMF (fair_weight=0.3)",
        "OffsetReweightMF (fair_weight=0.1, ndcg_budget=0.95)",
        "ReweightMF",
        "MF",
    }


def test_of_many_keys_the_fewest_that_tell_twins_apart_are_named(tmp_path: Path) -> None:
    same = {"a": 1, "b": 1, "c": 1, "d": 1, "epochs": 1, "eval_step": 1}
    for place, name in enumerate("xyz"):
        own = dict.fromkeys("abcd", int(place > 0)) | {"epochs": place, "eval_step": min(place, 1)}
        plant(tmp_path / name, "MF", config_hash=name * 8, config=same | own)
    assert {row.label for row in only(tmp_path).blocks[0].rows} == {"MF (epochs=0)", "MF (epochs=1)", "MF (epochs=2)"}


def test_a_blend_is_named_by_what_it_is_made_of(tmp_path: Path) -> None:
    for name, parts in {"a": ["MF", "EASE"], "b": ["MF", "ItemKNN"], "c": [f"MF-{seed}" for seed in range(5)]}.items():
        plant(tmp_path / name, "Blend", config_hash=name * 8, bases=dict.fromkeys(parts, "runs/x"))
    assert {row.label for row in only(tmp_path).blocks[0].rows} == {
        "Blend of EASE + MF",
        "Blend of ItemKNN + MF",
        "Blend of 5 runs",
    }


def test_twins_that_no_few_keys_tell_apart_show_their_hash(tmp_path: Path) -> None:
    plant(tmp_path / "a", "MF", config_hash="aaaaaaaa")
    plant(tmp_path / "b", "MF", config_hash="bbbbbbbb")
    report = only(tmp_path, reference="MF [bbbbbb]")
    assert {row.label for row in report.blocks[0].rows} == {"MF [aaaaaa]", "MF [bbbbbb]"}
    assert report.blocks[0].reference.label == "MF [bbbbbb]"


@pytest.mark.parametrize(("value", "decimals"), [(0.3, 4), (0.0062, 5), (0.00012, 6), (12.0, 4)])
def test_small_figures_get_more_digits(tmp_path: Path, value: float, decimals: int) -> None:
    from recbole_fair.report import ranking

    plant(tmp_path / "A", "A", test={"gd[gender]": value})
    assert ranking.decimals(only(tmp_path, "gd[gender]").blocks[0].rows, "gd[gender]") == decimals


def test_usual_metrics_unless_asked(tmp_path: Path) -> None:
    plant(tmp_path / "A", "A", test={"hit@7": 0.5, "ndcg@20": 0.1, "cv@20[pop]": 0.3})
    assert assemble([tmp_path], Options()).keys == ("ndcg@20", "cv@20[pop]")
    plant(tmp_path / "B" / "C", "B", test={"hit@7": 0.5, "mrr@7": 0.1, "map@7": 0.3, "recall@7": 0.3})
    assert assemble([tmp_path / "B"], Options()).keys == ("recall@7", "hit@7")


def test_a_row_less_accurate_than_pop_is_shown_and_not_marked(tmp_path: Path) -> None:
    for name, recall, spread in (("MF", 0.3, 0.5), ("Pop", 0.2, 0.9), ("Random", 0.02, 0.01)):
        plant(tmp_path / name, name, test={"recall@5": recall, "cv@5[pop]": spread})
    report = only(tmp_path, "recall@5", "cv@5[pop]")
    marks = {row.label: row.cells["cv@5[pop]"].mark for row in report.blocks[0].rows}
    assert marks == {"MF": "best", "Pop": "second", "Random": ""}
    assert row_of(report, "Random").remarks(()) == ["recall@5 below Pop's, 0.2000: not marked"]


def test_without_pop_the_floor_is_half_of_the_best_row(tmp_path: Path) -> None:
    for name, recall in (("MF", 0.3), ("Close", 0.16), ("Low", 0.14)):
        plant(tmp_path / name, name, test={"recall@5": recall, "cv@5[pop]": recall})
    rows = {row.label: row.floor for row in only(tmp_path, "recall@5", "cv@5[pop]").blocks[0].rows}
    assert rows == {"MF": "", "Close": "", "Low": "recall@5 below half of the best, 0.1500: not marked"}


def test_only_failed_runs_still_make_a_report(tmp_path: Path) -> None:
    plant(tmp_path / "A", "A", status="failed", error="no", test={}, data={})
    report = assemble([tmp_path], Options())
    assert report.keys == ()
    assert report.blocks[0].rows[0].remarks(()) == ["seed 1 failed: no"]


def test_pareto_line_against_every_pair(tmp_path: Path) -> None:
    from recbole_fair.report.charts.plane import front

    figures = [(0.1, 0.5), (0.2, 0.6), (0.3, 0.9), (0.3, 0.8), (0.05, 0.7), (0.25, 0.6), (0.25, 0.6)]
    for place, (recall, spread) in enumerate(figures):
        plant(tmp_path / f"{place}", f"M{place}", test={"recall@5": recall, "cv@5[pop]": spread})
    rows = only(tmp_path, "recall@5", "cv@5[pop]").blocks[0].rows
    best = {
        f"M{place}"
        for place, (recall, spread) in enumerate(figures)
        if not any(r >= recall and s <= spread and (r, s) != (recall, spread) for r, s in figures)
    }
    assert {row.label for row in front(rows, "recall@5", "cv@5[pop]")} == best == {"M0", "M3", "M5", "M6"}


def test_strengths_of_one_model_are_joined_in_their_order_and_nothing_else_is(tmp_path: Path) -> None:
    from recbole_fair.report.charts.plane import families

    def row(model: str, place: int, **config: Any) -> None:
        plant(tmp_path / f"{model}{place}", model, config=config, config_hash=f"{model}{place}")

    for place, strength in enumerate((0.5, 0.1, 1.0)):
        row("OneNumber", place, fair_weight=strength)
        row("TwoNumbers", place, fair_weight=strength, gain=place)
        row("Words", place, item_encoder=f"encoder-{place}")
    for place in range(2):
        row("OnlyTwo", place, gain=place)
    found = families(only(tmp_path, "recall@5").blocks[0].rows)
    assert {model: [(value, row.label) for value, row in of.items()] for model, of in found.items()} == {
        "OneNumber": [(strength, f"OneNumber (fair_weight={strength})") for strength in (0.1, 0.5, 1.0)]
    }


def test_seconds_and_memory_are_medians_of_finished_runs(report: Report) -> None:
    assert row_of(report, "MF").seconds() == 4.0
    assert row_of(report, "MF").memory() == 250_000_000
    assert row_of(report, "Wild").seconds() is None
    assert not math.isnan(row_of(report, "Pop").seconds() or 0)
