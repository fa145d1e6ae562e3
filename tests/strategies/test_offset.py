"""Offset: the way its offsets take, the point it chooses, and runs that stand on a trained one."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_fair import run
from recbole_fair.errors import UsageError
from recbole_fair.registry import resolve
from recbole_fair.runner import open_run
from recbole_fair.strategies.after import Point, fairest_within
from recbole_fair.strategies.offset import path
from recbole_fair.training import rescored as rescoring

Toy = Callable[..., dict[str, Any]]


def planted(offsets: torch.Tensor) -> Point:
    """Two groups whose utilities answer to the difference of their offsets; accuracy falls with its square."""
    shift = float(offsets[1] - offsets[0])
    utilities = (0.4 - 0.1 * shift, 0.1 + 0.1 * shift)
    mean = sum(utilities) / 2
    cv = float(np.std(utilities) / mean)
    return Point(tuple(offsets.tolist()), 1 - 0.01 * shift**2, utilities, cv, min(utilities))


def test_the_way_leads_to_equal_utilities_and_starts_without_offsets() -> None:
    points = path(planted, 2, 200, 0.2)
    assert points[0].setting == (0.0, 0.0)
    assert points[-1].utilities == pytest.approx((0.25, 0.25), abs=1e-3)
    assert all(sum(point.setting) == pytest.approx(0, abs=1e-4) for point in points)
    cvs = [point.cv for point in points]
    assert cvs == sorted(cvs, reverse=True), "each step is fairer here"


def test_a_step_is_that_of_the_formula() -> None:
    points = path(planted, 2, 1, 0.2)
    expected = np.array([0.2 * (0.25 - 0.4) / 0.25, 0.2 * (0.25 - 0.1) / 0.25])
    assert points[1].setting == pytest.approx(tuple(expected - expected.mean()))


def test_an_absent_group_is_left_where_it_is_and_a_model_without_hits_has_no_way() -> None:
    def absent(offsets: torch.Tensor) -> Point:
        return Point(tuple(offsets.tolist()), 1.0, (0.4, 0.2, float("nan")), 0.3, 0.2)

    step = np.array(path(absent, 3, 1, 0.1)[1].setting)
    assert step[2] == pytest.approx(0, abs=1e-6), "the others moved as far up as down"

    def nothing(offsets: torch.Tensor) -> Point:
        return Point(tuple(offsets.tolist()), 0.0, (0.0, 0.0), float("nan"), 0.0)

    assert len(path(nothing, 2, 10, 0.1)) == 1


def test_the_chosen_point_is_the_fairest_within_the_budget() -> None:
    points = [
        Point((0.0,), 1.00, (), 0.9, 0.1), Point((0.0,), 0.99, (), 0.5, 0.2), Point((0.0,), 0.98, (), 0.6, 0.4),
        Point((0.0,), 0.90, (), 0.1, 0.9),
    ]  # fmt: skip
    assert fairest_within(points, 0.98, "cv") == 1
    assert fairest_within(points, 0.98, "min") == 2
    assert fairest_within(points, 0.5, "cv") == 3
    assert fairest_within(points, 1.0, "cv") == 0
    nothing_right = Point((0.0,), 1.00, (), float("nan"), 0.0)
    assert fairest_within([nothing_right, *points], 0.98, "cv") == 2
    assert fairest_within([nothing_right, nothing_right], 0.98, "cv") == 0


@pytest.fixture
def base(toy: Toy, tmp_path: Path) -> str:
    return str(run(**toy("MF", epochs=4, run_dir=str(tmp_path / "base"))).run_dir)


def test_offsets_on_a_trained_run(toy: Toy, tmp_path: Path, base: str) -> None:
    given = {"data_path": toy("MF")["data_path"], "run_dir": str(tmp_path / "offset"), "fair_group": "genre"}
    result = run(strategy="Offset", base=base, offset_steps=8, ndcg_budget=0.9, **given)
    assert (result.model, result.strategy, result.base) == ("OffsetMF", "Offset", base)
    rows = list(csv.DictReader((tmp_path / "offset" / "frontier.csv").open()))
    chosen = [row for row in rows if row["chosen"] == "1"]
    assert len(chosen) == 1
    assert float(chosen[0]["valid accuracy"]) >= 0.9 * float(rows[0]["valid accuracy"])
    assert result.valid["ndcg@5"] == pytest.approx(float(chosen[0]["valid accuracy"]), abs=1e-12)
    assert result.test["ndcg@5"] == pytest.approx(float(chosen[0]["test accuracy"]), abs=1e-12)
    assert result.test["cv@5[genre]"] == pytest.approx(float(chosen[0]["test cv"]), abs=1e-12)


def test_scores_of_some_users_only_are_said_to_be_so(
    toy: Toy, tmp_path: Path, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescoring, "_CELLS", 400)
    given = {"data_path": toy("MF")["data_path"], "run_dir": str(tmp_path / "offset"), "fair_group": "genre"}
    result = run(strategy="Offset", base=base, offset_steps=2, eval_batch_size=1, **given)
    assert any("Offset was fitted to" in warning for warning in result.warnings)


def test_scores_are_those_of_the_base_shifted_by_group_and_reload_so(toy: Toy, tmp_path: Path, base: str) -> None:
    given = {"data_path": toy("MF")["data_path"], "run_dir": str(tmp_path / "offset"), "fair_group": "genre"}
    run(strategy="Offset", base=base, offset_steps=8, ndcg_budget=0.0, **given)
    (_, data, plain), (_, _, shifted) = open_run(Path(base)), open_run(tmp_path / "offset")
    batch = next(iter(data.test))[0]
    with torch.no_grad():
        before, after = (one.model.full_sort_predict(batch).view(len(batch), -1) for one in (plain, shifted))
        pairs = batch.repeat_interleave(2)
        pairs["item_id"] = torch.tensor([1, 2] * len(batch))
        by_pair = shifted.model.predict(pairs).view(len(batch), 2)
    shift = (after - before)[0]
    assert torch.allclose(after - before, shift.expand_as(before), atol=1e-5)
    assert torch.allclose(by_pair, after[:, [1, 2]], atol=1e-5)
    genres = data.values("genre", "test")
    by_genre = {
        genre: {round(float(shift[item]), 5) for item, held in enumerate(genres) if held == genre} for genre in genres
    }
    assert all(len(found) == 1 for found in by_genre.values()), "items of the same genres are shifted alike"
    assert len({value for found in by_genre.values() for value in found}) > 1


def test_the_base_is_made_where_none_is_named(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(**toy("OffsetReweightMF", fair_group="genre", offset_steps=3))
    assert result.base is not None
    assert "ReweightMF" in result.base
    with pytest.raises(UsageError, match="MF"):
        run(**toy("OffsetMF", fair_group="genre", base=result.base, run_dir=str(tmp_path / "other")))


def test_names_stack_only_where_the_last_works_after_training() -> None:
    choice = resolve("ReweightMF", "Offset")
    assert (choice.name, choice.base_name) == ("OffsetReweightMF", "ReweightMF")
    assert resolve("OffsetReweightMF") == choice
    with pytest.raises(UsageError, match="already names a strategy"):
        resolve("ReweightMF", "ITFR")


def test_groups_of_users_cannot_be_shifted(toy: Toy, tmp_path: Path, base: str) -> None:
    given = {"data_path": toy("MF")["data_path"], "run_dir": str(tmp_path / "offset"), "fair_group": "gender"}
    with pytest.raises(UsageError, match="Offset moves items"):
        run(strategy="Offset", base=base, **given)


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"valid_metric": "CV@5[genre]"}, "a share of an accuracy"), ({"eval_protocol": "labeled"}, "yes/no answers")],
)
def test_what_has_no_budget_to_keep_is_refused(toy: Toy, tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    more = {"likes": "[4,inf)", "metrics": ["AUC"], "valid_metric": "AUC"} if "eval_protocol" in keys else {}
    base = run(**toy("MF", epochs=1, run_dir=str(tmp_path / "base"), **{**more, **keys})).run_dir
    given = {"data_path": toy("MF")["data_path"], "run_dir": str(tmp_path / "offset"), "fair_group": "genre"}
    with pytest.raises(UsageError, match=message):
        run(strategy="Offset", base=base, **given)


def test_refined_item_vectors_of_the_base_are_stored_with_the_offsets(toy: Toy, tmp_path: Path) -> None:
    keys = {"fair_group": "genre", "outer_lr": 0.5, "outer_every": 1, "epochs": 2}
    base = run(**toy("BiFairLinear", run_dir=str(tmp_path / "base"), **keys)).run_dir
    given = {"data_path": toy("MF")["data_path"], "fair_group": "genre", "offset_steps": 2}
    result = run(strategy="Offset", base=base, run_dir=str(tmp_path / "offset"), **given)
    again = run(load=result.run_dir, **toy("OffsetBiFairLinear", **keys, offset_steps=2, base=base))
    assert again.test == result.test
    _, _, trainer = open_run(tmp_path / "offset")
    _, _, trained = open_run(Path(base))
    assert torch.equal(trainer.model.item_vectors, trained.model.item_vectors)


def test_seeds_of_a_comparison_share_one_hash(toy: Toy, tmp_path: Path) -> None:
    where = {"data_path": toy("MF")["data_path"], "fair_group": "genre", "offset_steps": 1}
    hashes = set()
    for seed in (1, 2):
        trained = run(**toy("MF", seed=seed, run_dir=str(tmp_path / f"base{seed}")))
        hashes.add(
            run(strategy="Offset", base=trained.run_dir, run_dir=str(tmp_path / f"offset{seed}"), **where).config_hash
        )
    assert len(hashes) == 1
