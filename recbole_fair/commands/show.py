"""`recbole-fair show RUN`: what a finished run found, again."""

from __future__ import annotations

from pathlib import Path

from recbole_fair.commands import runs
from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.rundir.result import RESULT, Result


def main(arguments: Arguments) -> int:
    """Print the table of one run, named by its folder or by the beginning of its hash."""
    if len(arguments.words) != 1:
        raise UsageError("show: give one run, as in `recbole-fair show RUN`; `recbole-fair runs` lists them")
    root = Path(str(arguments.take("root", "runs")))
    arguments.refuse_rest("show", words=False)
    print(Result.read(_folder(arguments.words[0], root)).table())
    return 0


def _folder(word: str, root: Path) -> Path:
    """The folder itself, or the only run below `root` whose folder begins so."""
    if (Path(word) / RESULT).exists():
        return Path(word)
    same = [folder for folder in runs.folders(root) if folder.name.startswith(word)]
    if len(same) != 1:
        what = "no run" if not same else f"{len(same)} runs ({', '.join(map(str, same[:3]))})"
        raise UsageError(f"{word}: {what} of this name below {root}; `recbole-fair runs` lists them")
    return same[0]
