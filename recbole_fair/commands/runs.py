"""`recbole-fair runs [DIR]`: every run below a folder, the latest last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.rundir.result import RESULT, Result
from recbole_fair.screen import aligned, short


def main(arguments: Arguments) -> int:
    """Print a line a run: data set, model, seed, how it ended, its accuracy, and its folder."""
    if len(arguments.words) > 1:
        raise UsageError(f"runs: give one folder, not {' '.join(arguments.words)}")
    root = Path(arguments.words[0] if arguments.words else "runs")
    arguments.refuse_rest("runs", words=False)
    rows = [[*_facts(folder), str(folder)] for folder in folders(root)]
    if not rows:
        raise UsageError(f"{root}: no run below; `recbole-fair --model=EASE --dataset=ml-100k` makes one")
    print("\n".join(aligned([["data set", "model", "seed", "status", "accuracy", "folder"], *rows])))
    return 0


def folders(root: Path) -> Iterator[Path]:
    """The folders of runs that have ended, in the order in which they did."""
    results = [path for path in root.rglob(RESULT) if (path.parent / "run.json").exists()]
    yield from (path.parent for path in sorted(results, key=lambda path: path.stat().st_mtime))


def _facts(folder: Path) -> list[str]:
    try:
        result = Result.read(folder)
    except UsageError:
        return ["?", "?", "?", "damaged", "-"]
    plain = [key for key in result.test if "[" not in key]
    key = next((key for key in reversed(plain) if key.startswith("ndcg@")), plain[-1] if plain else "")
    figure = f"{key} {short(result.test[key])}" if key else "-"
    return [result.dataset, result.model, str(result.seed), result.status, figure]
