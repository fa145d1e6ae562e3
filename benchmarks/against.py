"""Whether evaluation, audit and conversion cost more than at an earlier commit: processor time, in pairs.

    git worktree add ../former COMMIT
    taskset -c 0 env OMP_NUM_THREADS=1 python benchmarks/against.py ../former [--pairs=5]

Each side does the work of its own benchmarks/evaluate.py, audit.py and convert.py at small sizes, on the same generated
files, in processes of its own that take turns. Processor time, because machines are shared.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
USERS, ITEMS, ROWS, LISTS, RATINGS, TIMES = 2000, 2000, 100_000, 5_000, 200_000, 3
# Runs where either commit is imported: both have these modules and functions. The first of each is not counted.
_SIDE = """
import contextlib, io, json, sys, time
from pathlib import Path
import audit, convert, evaluate
from recbole_fair import cli
folder, out, sizes = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
sys.argv = sys.argv[:1]
def busy(work):
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        work()
    return time.process_time() - start
def evaluations():
    data, trainer = evaluate.prepared(folder, 1 << 20)
    return lambda: trainer.evaluate(data.test, load_best_model=False)
def audited(place):
    names = {"recommendations": "lists", "interactions": "met", "users": "users", "items": "items"}
    files = [f"--{name}={folder / stem}.tsv" for name, stem in names.items()]
    cli.main(["audit", *files, "--item_groups=pop,genre", "--user_groups=gender,age", f"--run_dir={out / place}"])
def converted():
    convert.alone(folder / "raw", "write")
if not (folder / "raw").exists():
    evaluate.USERS, evaluate.ITEMS, evaluate.ROWS = sizes[:3]
    evaluate.generate(folder)
    audit.generate(folder, sizes[3])
    convert.make_amazon(folder / "raw", sizes[4], "grouped")
evaluated = evaluations()
evaluated(), audited("first"), converted()
print(json.dumps({
    "evaluate.py": busy(lambda: [evaluated() for _ in range(sizes[5])]),
    "audit.py": busy(lambda: audited("second")),
    "convert.py": busy(converted),
}))
"""


def side(checkout: Path, folder: Path) -> dict[str, float]:
    """Processor seconds of each work, in a process that imports this checkout."""
    paths = [str(checkout), str(checkout / "benchmarks")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    sizes = json.dumps([USERS, ITEMS, ROWS, LISTS, RATINGS, TIMES])
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-W", "ignore", "-c", _SIDE, str(folder), out, sizes]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=out).stdout
        for run in folder.glob("run*"):  # evaluate.py's own
            run.rmdir()
    figures: dict[str, float] = json.loads(answer.strip().splitlines()[-1])
    return figures


def main() -> None:
    """Print the ratio of each, now over former, with its range over pairs."""
    former = Path(sys.argv[1]).resolve()
    pairs = next((int(word.partition("=")[2]) for word in sys.argv[2:] if word.startswith("--pairs=")), 5)
    with tempfile.TemporaryDirectory() as name:
        measured = []
        for number in range(pairs):
            order = (former, HERE) if number % 2 else (HERE, former)
            seconds = {checkout: side(checkout, Path(name)) for checkout in order}
            measured.append((seconds[HERE], seconds[former]))
            print(measured[-1], file=sys.stderr, flush=True)
    for work in measured[0][0]:
        ratios = sorted(now[work] / then[work] for now, then in measured)
        seconds = [statistics.median(pair[place][work] for pair in measured) for place in (0, 1)]
        print(f"{work}: now {seconds[0]:.2f} s, former {seconds[1]:.2f} s of processor time: "
              f"{statistics.median(ratios):.2f} x ({ratios[0]:.2f}-{ratios[-1]:.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
