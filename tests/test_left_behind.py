"""What killed writers left is removed by the next one, and nothing of a writer that may still work."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from recbole_fair import storage

DEAD = 2**22 + 1  # above the largest process id of Linux


@pytest.mark.parametrize(
    ("pid", "age", "stays"),
    [(DEAD, 2 * 86400, False), (DEAD, 60, True), (os.getppid(), 2 * 86400, True)],
    ids=["killed a day ago", "killed just now, or of another machine", "still at work"],
)
def test_only_what_a_killed_writer_left_is_removed(pid: int, age: int, stays: bool, tmp_path: Path) -> None:
    mine, others = tmp_path / f"a[1].json.{pid}.partial", tmp_path / f"b.json.{pid}.partial"
    for folder in (mine, others):
        (folder / "inside").mkdir(parents=True)
        os.utime(folder, (time.time() - age,) * 2)
    storage.write_json(tmp_path / "a[1].json", {"a": 1})
    assert mine.exists() == stays and others.exists()
    storage.sweep_abandoned(tmp_path, "*.partial")
    assert others.exists() == stays


def test_a_conversion_removes_the_staging_folder_of_a_killed_one(tmp_path: Path) -> None:
    from recbole_fair.convert.folder import staged

    left = tmp_path / f".shop.x1_y.{DEAD}.partial"
    (left / "shop").mkdir(parents=True)
    os.utime(left, (0, 0))
    with staged(tmp_path, "mine") as folder:
        (folder / "manifest.json").write_text("{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]
