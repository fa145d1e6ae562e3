"""The CUDA benchmarks run, in their tiny mode, with torch, transformers and peft alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
# A machine with a card has none of these: whoever imports one gets an ImportError.
WITHOUT = """
import runpy, sys
sys.modules |= dict.fromkeys(("recbole", "scipy", "pandas", "pyarrow", "sklearn", "ray"))
sys.argv, path = sys.argv[1:], sys.argv[1]
sys.path.insert(0, path.rpartition("/")[0])
runpy.run_path(path, run_name="__main__")
"""


def output(script: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, str(BENCHMARKS / script), *more]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("cuda_yesno_score.py", ["each prompt whole", "prefixes shared", "largest difference of a logit"]),
        ("cuda_experts.py", ["plain LoRA", "experts"]),
    ],
)
def test_a_cuda_benchmark_runs_tiny_on_the_cpu(script: str, lines: list[str]) -> None:
    done = output(script, "--tiny", "--device=cpu")
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0].startswith("cpu: matmul ")
    assert [line for line in lines if not any(each.startswith(line) for each in told[1:])] == []


def test_without_a_card_a_cuda_benchmark_says_so() -> None:
    done = output("cuda_experts.py")
    assert done.returncode != 0 and "no CUDA card here" in done.stderr
