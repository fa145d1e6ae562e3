"""Two trials at once on two cores against the same two one after the other with PyTorch's own threads.

python benchmarks/two_trials.py [--seconds=60] [--pairs=9]

Left side: `recbole-fair tune` with two trials, Ray's and the workers' start included. Right side: two plain
`recbole-fair` processes, one after the other, each with as many threads as PyTorch takes by itself. Each trial trains
for at least `--seconds` (measured first); pairs are interleaved, the ratio is their median.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]
RATES = (0.002, 0.001)
MODEL = ("--model=LightGCN", "--dataset=ml-100k", "--stopping_step=100000", "--quiet")


def command(*words: str) -> float:
    """Seconds of one command in a process of its own, without thread settings of the caller's."""
    inherited = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    start = perf_counter()
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "recbole_fair", *words],
        check=True, stdout=subprocess.DEVNULL, env={**inherited, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    return perf_counter() - start


def epochs_for(seconds: float, folder: Path) -> int:
    """Epochs that train for at least this long, from ten that are measured."""
    command("run", *MODEL, "--epochs=10", f"--run_dir={folder / 'measured'}")
    told = json.loads((folder / "measured" / "result.json").read_text())
    return math.ceil(seconds / (told["seconds"]["train"] / 10))


def together(folder: Path, epochs: int) -> float:
    """Both as the trials of a search, at once."""
    space = folder / "space.yaml"
    space.write_text(f"learning_rate: {{grid_search: {list(RATES)}}}\n")
    given = (f"--search={space}", f"--epochs={epochs}", "--max_concurrent=2", f"--run_dir={folder / 'together'}")
    return command("tune", *MODEL, *given)


def in_turn(folder: Path, epochs: int) -> float:
    """Both as plain runs, one after the other."""
    return sum(
        command("run", *MODEL, f"--epochs={epochs}", f"--learning_rate={rate}", f"--run_dir={folder / str(rate)}")
        for rate in RATES
    )


def least_training(folder: Path) -> float:
    """Training seconds of the shortest of the four runs."""
    results = [json.loads(path.read_text()) for path in folder.rglob("result.json")]
    assert len(results) == 2 * len(RATES)
    return min(result["seconds"]["train"] for result in results)


def main() -> None:
    options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:
        epochs = epochs_for(float(options.get("seconds", 60)), Path(scratch))
        for pair in range(int(options.get("pairs", 9))):
            folder = Path(scratch) / f"pair-{pair}"
            folder.mkdir()
            sides = [together, in_turn] if pair % 2 else [in_turn, together]
            taken = {side.__name__: side(folder, epochs) for side in sides}
            ratios.append(taken["in_turn"] / taken["together"])
            shown = f"in turn {taken['in_turn']:.0f} s, together {taken['together']:.0f} s"
            print(f"pair {pair}: {shown}, {ratios[-1]:.2f} x, at least {least_training(folder):.0f} s each", flush=True)
    low, high = min(ratios), max(ratios)
    print(f"two trials at once, {epochs} epochs: {statistics.median(ratios):.2f} x ({low:.2f}-{high:.2f}); goal 1.3 x")


if __name__ == "__main__":
    main()
