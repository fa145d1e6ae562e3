"""How fast the command line answers: `recbole-fair models` within 0.7 s, and nothing heavy imported.

python benchmarks/startup.py [--runs=9]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from time import perf_counter

HEAVY = ["torch", "transformers", "peft", "ray", "recbole", "matplotlib"]
LIST = "from recbole_fair.cli import main; main(['models'])"
LOADED = f"import recbole_fair, sys; print([name for name in {HEAVY} if name in sys.modules])"


def seconds(code: str) -> float:
    """One process from start to end."""
    start = perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return perf_counter() - start


def main() -> None:
    runs = int(next((word.split("=")[1] for word in sys.argv[1:] if word.startswith("--runs=")), 9))
    times = [(seconds(LIST), seconds("pass")) for _ in range(runs)]
    ours, python = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"recbole-fair models: {ours:.3f} s (goal <= 0.7), {ours / python:.1f} x of an empty Python process")
    done = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True)
    print(f"import recbole_fair loads of {HEAVY}: {done.stdout.strip()} (goal [])")


if __name__ == "__main__":
    main()
