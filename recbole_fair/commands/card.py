"""`recbole-fair card RUN_DIR`: the model card of a finished run."""

from __future__ import annotations

from pathlib import Path

from recbole_fair import storage
from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.screen import visible

_USAGE = """usage: recbole-fair card RUN_DIR [--out=FILE]

Writes the model card of a finished run: figures with intervals, groups, intended use, limits, provenance. Every figure
is that of result.json. It is the README.md that the hub shows; edit what only you know, and `push` takes it along.

  --out   where to (RUN_DIR/README.md)"""


def main(arguments: Arguments) -> int:
    """Write it."""
    if len(arguments.words) != 1:
        raise UsageError("card: give one run directory, as in `recbole-fair card RUN_DIR`")
    folder, out = Path(arguments.words[0]), arguments.take("out")
    if not (folder / "result.json").is_file():
        raise UsageError(f"{folder}: no finished run (no result.json); `recbole-fair runs` lists those there are")
    arguments.refuse_rest("card", words=False)
    from recbole_fair.handover.card import card
    from recbole_fair.rundir.result import Result

    file = folder / "README.md" if out is None else Path(str(out))
    storage.write_text(file, str(card(Result.read(folder))))
    print(visible(str(file)))
    return 0


def usage() -> str:
    """The help text."""
    return _USAGE
