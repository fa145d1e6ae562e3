"""How fast the command line answers, and that nothing heavy is imported for it.

    python benchmarks/startup.py [--runs=9]

`recbole-fair models` within 0.7 s and `audit --help` within 0.3 s, whole processes; 0.5 s of processor time for all
that an audit imports. Medians, by the clock and of processor time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from time import perf_counter

HEAVY = ["torch", "transformers", "peft", "ray", "recbole", "matplotlib"]
ASKED = {
    "recbole-fair models (goal <= 0.7)": "from recbole_fair.cli import main; main(['models'])",
    "recbole-fair audit --help (goal <= 0.3)": "from recbole_fair.cli import main; main(['audit', '--help'])",
    "all that an audit imports (goal <= 0.5 of processor time)": "import recbole_fair.audit.judge",
    "an empty Python process": "pass",
}


def seconds(code: str) -> tuple[float, float]:
    """One process from start to end: by the clock, and of its processor time."""
    start, before = perf_counter(), os.times()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    spent = os.times()
    processor = spent.children_user + spent.children_system - before.children_user - before.children_system
    return perf_counter() - start, processor


def loaded(code: str) -> str:
    """Which heavy libraries a piece of code loads."""
    told = f"{code}; import sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


def main() -> None:
    """Measure the processes in turn."""
    runs = int(next((word.split("=")[1] for word in sys.argv[1:] if word.startswith("--runs=")), 9))
    times = [[seconds(code) for code in ASKED.values()] for _ in range(runs)]
    for place, name in enumerate(ASKED):
        wall, processor = (statistics.median(row[place][side] for row in times) for side in (0, 1))
        print(f"{name}: {wall:.3f} s by the clock, {processor:.3f} s of processor time")
    print(f"import recbole_fair, an audit load of {HEAVY}: "
          f"{loaded('import recbole_fair')}, {loaded('import recbole_fair.audit.judge')} (goal [])")  # fmt: skip


if __name__ == "__main__":
    main()
