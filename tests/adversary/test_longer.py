"""The script of many tries, with few of them; and that it sees what it is to see."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attempts import attempt
from longer import judged

from recbole_fair import storage

HERE = Path(__file__).parent


def tried(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, "-W", "ignore", str(HERE / "longer.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_few_tries_of_each_cheap_class_find_nothing() -> None:
    classes = ("settings", "tables", "data sets", "own tables", "words")
    ended = tried(f"--classes={','.join(classes)}", "--tries=4")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = [line.split("  ")[0] for line in ended.stdout.splitlines()[1:]]
    assert tuple(row.strip() for row in rows) == classes


@pytest.mark.slow
def test_kills_of_every_command_lose_nothing() -> None:
    ended = tried("--classes=kills", "--every=20")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def raises(_: Any) -> int:
    raise ValueError("a fault")


def crashes(_: Any) -> int:
    faulthandler.disable()  # pytest's own would print
    return ctypes.string_at(0)[0]


def writes_elsewhere(_: Any) -> int:
    Path("ran").mkdir()
    return 0


def says_nothing(_: Any) -> int:
    return 2


@pytest.mark.parametrize(
    ("does", "kind"),
    [(raises, "traceback"), (crashes, "other"), (writes_elsewhere, "code run"), (says_nothing, "other")],
)
def test_a_fault_is_seen(does: Any, kind: str, tmp_path: Path) -> None:
    where = tmp_path / "where"
    where.mkdir()
    wrong = judged(attempt([], where, does=does), where, set())
    assert wrong is not None and wrong.startswith(kind)


def test_a_killed_writer_leaves_half_a_file_beside_the_old_one(tmp_path: Path) -> None:
    where = tmp_path / "where"
    where.mkdir()

    def writes(_: Any) -> int:
        storage.write_text(Path("text"), "first")
        storage.write_text(Path("text"), "second")
        return 0

    changes = attempt([], where, does=writes).changes
    assert (where / "text").read_text() == "second"
    left = []
    for kill_at in range(1, changes + 1):
        (where / "text").unlink(missing_ok=True)
        assert attempt([], where, kill_at, does=writes).status == -9
        left.append((where / "text").read_text() if (where / "text").exists() else None)
        halves = [path.read_text() for path in where.glob("text.*.partial/text")]
        assert not set(halves) & {"first", "second"}
        storage.sweep(where)
    assert list(dict.fromkeys(left)) == [None, "first", "second"]
