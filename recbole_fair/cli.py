"""The command line: `recbole-fair [SUB-COMMAND] [--key=value ...]`; without a sub-command it runs one model.

Options are `--key=value` or `--key value`; switches such as `--quiet` stand alone. argv is read here, once; what
follows is handed on as a dictionary.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence

import recbole_fair
from recbole_fair.commands import table
from recbole_fair.errors import TrainingError, UsageError
from recbole_fair.screen import visible

# What an argument or a folder's rights can cause at any door.
_OF_PATHS = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS})
_LESS = "make train_batch_size, eval_batch_size or the model smaller, or free memory; then --resume=True"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0, or 2 for a request that cannot be met."""
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # arrows on a terminal that has none
    try:
        return _dispatch(argv)
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        print("recbole-fair: interrupted; a started run goes on with --resume=True", file=sys.stderr)
        return 130
    except Exception as error:
        sentence, status = _said_of(error)
        if "--debug" in argv or not sentence:
            raise
        print(visible(f"recbole-fair: {sentence}"), file=sys.stderr)
        return status


def _said_of(error: Exception) -> tuple[str, int]:
    """What a user is told of an error, and the exit status; nothing of one that is a fault of ours."""
    if isinstance(error, UsageError):
        return str(error), 2
    if isinstance(error, TrainingError):
        return str(error), 1
    if isinstance(error, OSError) and error.errno in _OF_PATHS and error.filename is not None:
        return f"{str(error.filename)[:200]}: {error.strerror}; give another path, or the right to use it", 2
    return (f"out of memory ({_first_line(error)}); {_LESS}", 1) if _is_memory(error) else ("", 1)


def _is_memory(error: Exception) -> bool:
    """Whether numpy, Python or torch had no memory left; torch says so by a RuntimeError or its subclass."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    said = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    return said or isinstance(error, MemoryError)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__


def _dispatch(argv: Sequence[str]) -> int:
    name, rest = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("run", argv)
    if argv and argv[0] == "--version":
        print(f"recbole-fair {recbole_fair.__version__}")
        return 0
    if not argv or (name == "run" and set(rest) <= {"--help", "-h"} and argv[0] != "run"):
        print(table.overview())
        return 0
    command = table.find(name)
    if {"--help", "-h"} & set(rest):
        print(table.usage(name, rest))
        return 0
    return int(command.load().main(table.arguments_of(name, rest)))
