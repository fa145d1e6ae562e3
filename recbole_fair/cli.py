"""The command line: `recbole-fair [SUB-COMMAND] [--key=value ...]`; without a sub-command it runs one model.

Options are `--key=value` or `--key value`; switches such as `--quiet` stand alone. argv is read here, once; what
follows is handed on as a dictionary.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from recbole_fair.commands import table
from recbole_fair.errors import TrainingError, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0, or 2 for a request that cannot be met."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(argv)
    except UsageError as error:
        if "--debug" in argv:
            raise
        print(f"recbole-fair: {error}", file=sys.stderr)
        return 2
    except TrainingError as error:
        if "--debug" in argv:
            raise
        print(f"recbole-fair: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        print("recbole-fair: interrupted; a started run goes on with --resume=True", file=sys.stderr)
        return 130


def _dispatch(argv: Sequence[str]) -> int:
    name, rest = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("run", argv)
    command = table.find(name)
    if "--help" in rest:
        print(table.usage(name))
        return 0
    return int(command.load().main(table.arguments_of(name, rest)))
