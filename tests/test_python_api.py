"""The package as it is used from Python."""

from __future__ import annotations

import csv
import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import recbole_fair
from recbole_fair import cli
from recbole_fair.errors import UsageError
from recbole_fair.rundir.result import Result

Run = Callable[..., Any]


@pytest.fixture
def made(run_toy: Run) -> Result:
    return run_toy("MF", epochs=2)  # type: ignore[no-any-return]


def test_the_package_says_what_it_offers_and_offers_it() -> None:
    assert sorted([*recbole_fair.__all__, "__version__"]) == dir(recbole_fair)
    assert all(callable(getattr(recbole_fair, name)) for name in recbole_fair.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(recbole_fair, "nothing")  # noqa: B009


def test_a_room_stays_callable_whatever_was_imported_first() -> None:
    """In a process of its own, since imports are remembered."""
    code = "".join(
        f"import recbole_fair.{room}.{module} as inner\n"
        "import recbole_fair\n"
        f"assert recbole_fair.{room}.{module} is inner and callable(recbole_fair.{room})\n"
        f"from recbole_fair import {room}\n"
        f"assert callable({room})\n"
        for room, module in (("report", "write"), ("audit", "judge"), ("probe", "findings"))
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_room_is_called_with_the_arguments_of_its_function() -> None:
    from recbole_fair import verbs

    for name in ("audit", "compare", "probe", "report"):
        room = importlib.import_module(f"recbole_fair.{name}")
        assert inspect.signature(room) == inspect.signature(getattr(verbs, name))


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import recbole_fair, sys; dir(recbole_fair); assert not {'torch', 'pandas', 'recbole'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_result_is_short_where_it_is_shown(made: Result) -> None:
    assert len(repr(made)) < 250 and "\n" not in repr(made)
    assert "MF on toy, seed 2020" in repr(made)
    shown = made._repr_html_()
    assert "<table" in shown and f"{made.test['ndcg@5']:.4f}" in shown


def test_a_result_names_nothing_that_a_page_would_run(made: Result) -> None:
    made.dataset = "<script>"
    assert "<script>" not in made._repr_html_()


def test_tables_hold_what_the_files_hold(made: Result) -> None:
    folder = Path(made.run_dir)
    assert made.metrics["test"].to_dict() == made.test
    assert made.metrics.loc["ndcg@5", ["low", "high"]].tolist() == made.interval["ndcg@5"]
    with (folder / "users.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert made.users["user_id"].tolist() == [row["user_id"] for row in rows]
    assert made.users["ndcg@5"].tolist() == [float(row["ndcg@5"]) for row in rows]
    sizes = made.groups.set_index(["field", "group"])["size"]
    assert sizes["gender", "F"] == 29
    assert made.history.index.tolist() == [0, 1]
    with (folder / "history.csv").open(newline="") as stream:
        losses = [float(row["value"]) for row in csv.DictReader(stream) if row["metric"] == "loss"]
    assert made.history["loss"].tolist() == losses


def test_a_stored_result_keeps_its_form(made: Result) -> None:
    stored = json.loads((Path(made.run_dir) / "result.json").read_text())
    assert stored["groups"] == made.group_rows
    assert "group_rows" not in stored
    assert recbole_fair.load(made.run_dir).group_rows == made.group_rows


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        recbole_fair.load(tmp_path)


def test_recommendations_are_the_lists_that_were_judged(run_toy: Run) -> None:
    made = run_toy("MF", epochs=2, save_recommendations=True)
    judged = made.recommendations
    with (Path(made.run_dir) / "recommendations.tsv").open(newline="") as stream:
        rows = [(*row.values(),) for row in csv.DictReader(stream, delimiter="\t")]
    assert [(user, item, str(rank), score) for user, item, rank, score in judged.itertuples(index=False)] == [
        (user, item, rank, float(score)) for user, item, rank, score in rows
    ]
    listed = made.recommend(k=5)
    assert (
        listed[["user_id", "item_id", "rank"]].values.tolist() == judged[["user_id", "item_id", "rank"]].values.tolist()
    )
    assert listed["title"].str.contains("comic|night").all()
    one = made.recommend("uF1", k=2)
    assert one["user_id"].tolist() == ["uF1", "uF1"]
    assert one["item_id"].tolist() == listed.query("user_id == 'uF1'")["item_id"].tolist()[:2]
    for k in (0, True, "5"):
        with pytest.raises(UsageError, match="positive whole number"):
            made.recommend("uF1", k=k)


def test_a_run_that_kept_no_lists_says_how_to_get_them(made: Result) -> None:
    with pytest.raises(UsageError, match=r"recommendations\.tsv: no such file; save_recommendations=True keeps"):
        _ = made.recommendations


@pytest.mark.parametrize(("suffix", "read"), [("csv", pd.read_csv), ("tsv", pd.read_table), ("json", pd.read_json)])
def test_recommendations_are_written_for_everyone(
    suffix: str, read: Run, made: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"lists.{suffix}"
    assert cli.main(["recommend", made.run_dir, "--users=all", "--k=2", f"--out={file}"]) == 0
    assert "84 items for 42 users" in capsys.readouterr().out
    assert read(file)["item_id"].tolist() == made.recommend(k=2)["item_id"].tolist()
    assert cli.main(["recommend", made.run_dir, "--users=all", "--out=lists.xls"]) == 2
    assert ".csv, .tsv, .json" in capsys.readouterr().err


def test_a_plot_shows_each_group_once(made: Result) -> None:
    (axes,) = made.plot("genre").axes
    assert sorted(label.get_text() for label in axes.get_yticklabels()) == ["comic (10)", "drawn (10)", "noir (14)"]
    points = axes.lines[-1].get_xdata().tolist()
    assert points == sorted(row["recall@5"] for row in made.group_rows if row["field"] == "genre")
    with pytest.raises(UsageError, match="the run has pop, genre, gender"):
        made.plot("colour")


def test_a_result_writes_its_page(made: Result, tmp_path: Path) -> None:
    assert "MF" in made.report().read_text()
    assert recbole_fair.report(made, out=tmp_path / "page", title="Mine").parent == tmp_path / "page"


def test_lists_are_audited_from_python(run_toy: Run, tmp_path: Path) -> None:
    made = run_toy("MF", save_recommendations=True)
    folder = Path(made.run_dir)
    files = folder / "recommendations.tsv", folder / "interactions.tsv"
    audited = recbole_fair.audit(*files, tmp_path / "audit", topk=[3, 5], item_groups=["pop"], system="ours")
    assert audited.model == "ours"
    assert audited.test["ndcg@5"] == pytest.approx(made.test["ndcg@5"], abs=1e-12)


def test_a_run_is_probed_from_python(made: Result) -> None:
    probed = recbole_fair.probe(made, "gender", probe_shuffles=2, probe_repeats=1, probe_folds=2, min_class_users=10)
    assert probed.loc["attr_auc[gender]", "low"] <= probed.loc["attr_auc[gender]", "value"]
    with pytest.raises(UsageError, match="name the attribute"):
        recbole_fair.probe(made)
    with pytest.raises(UsageError, match="epochs: probe does not take it"):
        recbole_fair.probe(made, "gender", epochs=3)
