"""Held-out items that training does not hold: counted in every run, left out where `drop_unseen` asks for it."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest

from recbole_fair import run


@pytest.fixture
def rare(toy: Any, tmp_path: Path) -> Any:
    """The toy data with ten items that one user each has as the latest: no training row names them."""
    from toy import write_toy

    folder = write_toy(tmp_path / "data", "toy")
    rows = [f"uF{place}\trare{place}\t5\t{10**6 + place}" for place in range(10)]
    path = folder / "toy.inter"
    path.write_text(path.read_text() + "\n".join(rows) + "\n")
    items = folder / "toy.item"
    items.write_text(items.read_text() + "\n".join(f"rare{place}\tRare {place}\tnoir" for place in range(10)) + "\n")
    return lambda model, **more: toy(model, **{"data_path": str(tmp_path / "data"), **more})


def users_of(folder: Path) -> dict[str, dict[str, str]]:
    """users.csv by user."""
    with (folder / "users.csv").open(newline="") as stream:
        return {row["user_id"]: row for row in csv.DictReader(stream)}


@pytest.mark.parametrize("model", ["Pop", "SASRec"])
def test_they_are_counted_and_left_out_when_asked(rare: Any, tmp_path: Path, model: str) -> None:
    kept = run(**rare(model, run_dir=str(tmp_path / "kept"), epochs=1))
    dropped = run(**rare(model, run_dir=str(tmp_path / "dropped"), epochs=1, drop_unseen=True))
    assert kept.data["unseen"] == dropped.data["unseen"] == {"valid": 0, "test": 10}
    assert kept.data["interactions"] == dropped.data["interactions"] + 10
    assert kept.data["split"] != dropped.data["split"], "they are not comparable"
    assert "drop_unseen" in str(dropped.warnings)
    before, after = users_of(tmp_path / "kept"), users_of(tmp_path / "dropped")
    for user, row in before.items():
        own = int(user.startswith("uF") and int(user[2:]) < 10)
        assert float(after[user]["relevant[genre:noir]"]) == float(row["relevant[genre:noir]"]) - own
        assert math.isclose(float(after[user]["relevant[genre:comic]"]), float(row["relevant[genre:comic]"]))


def test_many_that_are_kept_are_warned_of(rare: Any) -> None:
    assert any("10 of" in text and "training does not hold" in text for text in run(**rare("Pop")).warnings)


def test_where_there_are_none_nothing_changes(toy: Any, tmp_path: Path) -> None:
    kept = run(**toy("Pop", run_dir=str(tmp_path / "kept")))
    dropped = run(**toy("Pop", drop_unseen=True))
    assert kept.test == dropped.test and kept.data == dropped.data
    assert kept.warnings == dropped.warnings
