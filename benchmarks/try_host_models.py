"""Try every general and sequential model of RecBole for one epoch on ml-100k and print which run: docs/host-models.md.

    python benchmarks/try_host_models.py [--only=Name,Name] [--seconds=300]

Each model runs in a process of its own with a time limit, so one that hangs or crashes costs only its row.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from recbole_fair.host import recbole

ONE = """
import sys
from recbole_fair import registry, run
kind, name, folder = sys.argv[1:]
if registry.ALIASES.get(name, name) not in registry.MODELS:
    registry.add(registry._host(kind, name))
short = {"MAX_ITEM_LIST_LENGTH": 10} if kind == "sequential" else {}
result = run(name, "ml-100k", epochs=1, run_dir=folder, **short)
print(f"ndcg@20 {result.test['ndcg@20']:.4f}")
"""


def class_name(path: Path) -> str | None:
    """The model class of a RecBole file: the one whose lower-case name is the file's."""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("class ") and line[6:].split("(")[0].strip(": ").lower() == path.stem:
            return line[6:].split("(")[0].strip(": ")
    return None


def candidates() -> list[tuple[str, str]]:
    """(kind, class name) of every general and sequential recommender."""
    root = Path(recbole.__file__).parent / "model"
    found = []
    for kind in ("general", "sequential"):
        for path in sorted((root / f"{kind}_recommender").glob("*.py")):
            name = class_name(path)
            if name:
                found.append((kind, name))
    return found


def attempt(kind: str, name: str, seconds: float) -> tuple[str, float]:
    """What one epoch ends in, and how long it took."""
    start = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-c", ONE, kind, name, f"{folder}/run"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return f"no epoch within {seconds:.0f} s", seconds
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or ["(no output)"]
    verdict = lines[-1] if done.returncode == 0 else f"fails: {lines[-1][:160]}"
    return verdict, perf_counter() - start


def main() -> None:
    options = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
    only = set(options.get("only", "").split(",")) - {""}
    print("| model | kind | one epoch on ml-100k | seconds |\n| --- | --- | --- | --- |")
    for kind, name in candidates():
        if not only or name in only:
            verdict, seconds = attempt(kind, name, float(options.get("seconds", 300)))
            print(f"| {name} | {kind} | {verdict} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
