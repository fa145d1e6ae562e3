"""Some sixty damaged run folders: each is read as it is or refused in a sentence; nothing runs, hangs or breaks.

`RECBOLE_FAIR_TRIES=2000 pytest tests/adversary` tries more; `RECBOLE_FAIR_SEED=7` tries others.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from damage import BY_FILE, resealed
from toy import toy_keys

from recbole_fair import cli, run
from recbole_fair.errors import UsageError

TRIES = int(os.environ.get("RECBOLE_FAIR_TRIES", "60"))
SEED = int(os.environ.get("RECBOLE_FAIR_SEED", "14"))
MODELS = ("MF", "ItemKNN", "EASE", "NeuMF")
SECONDS = 300  # of one try; hundreds of times what it takes, so that a busy machine does not look like a fault


@pytest.fixture(scope="module")
def whole(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One finished run a model."""
    folder = tmp_path_factory.mktemp("whole")
    for model in MODELS:
        run(**toy_keys(toy_root, folder / model, model, epochs=1, bootstrap=20, user_groups=["gender"]))
    return {model: folder / model for model in MODELS}


@contextmanager
def _ending_in(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"still reading after {seconds} s")

    former = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def _requests(damaged: Path, file: str) -> list[list[str]]:
    recommend = ["recommend", str(damaged), "--users=uF1", "--k=3"]
    report = ["report", str(damaged), f"--out={damaged.parent / 'report'}", "--quiet"]
    return {"users.csv": [report], "history.csv": [report], "result.json": [report, recommend]}.get(file, [recommend])


def _answer(request: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status and what was said; an exception is -1 and its traceback."""
    try:
        with _ending_in(SECONDS):
            status = cli.main(request)
    except Exception:
        return -1, traceback.format_exc()
    return status, capsys.readouterr().err


@pytest.mark.parametrize("block", range(6))
def test_damaged_folders_are_refused_in_a_sentence(
    block: int, whole: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    draw, faults = random.Random(f"{SEED} {block}"), []
    for number in range(TRIES // 6):
        model, file = draw.choice(MODELS), draw.choice(list(BY_FILE))
        damage, damaged = draw.choice(BY_FILE[file]), tmp_path / str(number) / "run"
        shutil.copytree(whole[model], damaged)
        damage(draw, damaged / file)
        for request in _requests(damaged, file):
            status, said = _answer(request, capsys)
            if status != 0 and not (status == 2 and said.startswith("recbole-fair: ")):
                faults.append(f"{model}, {damage.__name__} {file}, {number} of block {block}: {said[-400:]}")
        assert {entry.name for entry in tmp_path.iterdir()} <= {str(place) for place in range(number + 1)}
        shutil.rmtree(damaged.parent)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("block", range(2))
def test_forged_resume_points_are_refused_in_a_sentence(
    block: int, toy: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    def stop(epoch: int, score: float) -> None:
        if epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(**toy("ReweightMF", epochs=3), on_epoch=stop)
    draw, begun = random.Random(f"{SEED} resume {block}"), tmp_path / "run"
    for number in range(TRIES // 20):
        forged = tmp_path / f"forged {number}"
        shutil.copytree(begun, forged)
        resealed(draw, forged / "resume.safetensors")
        with _ending_in(SECONDS):
            try:
                run(**toy("ReweightMF", epochs=3, resume=True, run_dir=str(forged)))
            except UsageError as error:
                assert str(error)
