"""The CUDA benchmarks run, in their tiny mode, with torch, transformers and peft alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
# A machine with a card has none of these: whoever imports one gets an ImportError. One process for all scripts, since
# it imports for seconds; the last line says how each ended.
WITHOUT = """
import contextlib, io, json, runpy, sys
sys.modules |= dict.fromkeys(("recbole", "scipy", "pandas", "pyarrow", "sklearn", "ray"))
sys.path.insert(0, sys.argv[1])
ended = []
for script, *sys.argv[1:] in json.loads(sys.argv[2]):
    said, status = io.StringIO(), None
    with contextlib.redirect_stdout(said):
        try:
            runpy.run_path(f"{sys.path[0]}/{script}", run_name="__main__")
        except SystemExit as end:
            status = end.code
    ended.append([status, said.getvalue().splitlines()])
print(json.dumps(ended))
"""
ASKED = [
    ["cuda_yesno_score.py", "--tiny", "--device=cpu"],
    ["cuda_experts.py", "--tiny", "--device=cpu"],
    ["cuda_experts.py"],
]


@pytest.fixture(scope="module")
def ended() -> list[tuple[str | None, list[str]]]:
    """The exit code of each script, and the lines that it printed."""
    command = [sys.executable, "-c", WITHOUT, str(BENCHMARKS), json.dumps(ASKED)]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        (0, ["each prompt whole", "prefixes shared", "largest difference of a logit"]),
        (1, ["plain LoRA", "experts"]),
    ],
    ids=["scores", "experts"],
)
def test_a_cuda_benchmark_runs_tiny_on_the_cpu(
    script: int, lines: list[str], ended: list[tuple[str | None, list[str]]]
) -> None:
    status, told = ended[script]
    assert status is None
    assert told[0].startswith("cpu: matmul ")
    assert [line for line in lines if not any(each.startswith(line) for each in told[1:])] == []


def test_without_a_card_a_cuda_benchmark_says_so(ended: list[tuple[str | None, list[str]]]) -> None:
    assert "no CUDA card here" in str(ended[2][0])
