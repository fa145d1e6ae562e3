"""One command in a process of its own, which may be killed before any change that it makes to a file."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_fair import cli

SECONDS, MEMORY = 120, 12 << 30  # of one try; what it takes is a hundredth of either
BROKEN = 70  # exit status of an exception that reached the top
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod"}
_CREATES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, or the negative signal, and what it said."""

    status: int
    said: str
    changes: int  # how often it set out to change a file

    @property
    def fault(self) -> str | None:
        """What no command may end as; a killed one has not ended."""
        if self.status in (-signal.SIGALRM, BROKEN) or self.status < 0:
            return {-signal.SIGALRM: "hang", BROKEN: "traceback"}.get(self.status, f"signal {-self.status}")
        return "traceback" if "Traceback (most recent" in self.said else None

    @property
    def refused(self) -> bool:
        """Whether it ended in a sentence."""
        return self.status in (1, 2) and "recbole-fair: " in self.said


def attempt(argv: Sequence[str], where: Path, kill_at: int = 0, does: Callable[[Any], int] | None = None) -> Ended:
    """Type a command in the folder `where`; with `kill_at` it is killed before its n-th change to a file there.

    The process is a copy of this one, so nothing is imported again; the caller has no threads. `does` stands in for the
    command line's own entry.
    """
    said, count = where.with_name(f"{where.name}.said"), where.with_name(f"{where.name}.changes")
    child = os.fork()
    if not child:
        _work(argv, where, kill_at, said, count, does or cli.main)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(status, said.read_text(errors="replace"), count.stat().st_size)


def import_what(argv: Sequence[str], where: Path) -> None:
    """Import here what a command imports, so that no later process does it again."""
    names, ready = where.with_name(f"{where.name}.modules"), set(sys.modules)
    child = os.fork()
    if not child:
        with suppress(BaseException):
            os.chdir(where)
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            cli.main(argv)
        names.write_text("\n".join(set(sys.modules) - ready))
        os._exit(0)
    os.waitpid(child, 0)
    for name in names.read_text().split():
        with suppress(ImportError, AttributeError):  # parts of a package that it makes by itself
            importlib.import_module(name)


def _work(argv: Sequence[str], where: Path, kill_at: int, said: Path, count: Path, does: Callable[[Any], int]) -> None:
    """In the child: never returns."""
    status = BROKEN
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.alarm(SECONDS)
        os.chdir(where)
        for stream in (1, 2):
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC), stream)
        _watch(where, kill_at, os.open(count, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        status = does(list(argv))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _watch(where: Path, kill_at: int, count: int) -> None:
    """Count what is about to change a file below `where`, one byte each; die before the n-th, half a file written."""
    home, seen = where.resolve(), [0]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if not _changes(event, args, home):
            return
        seen[0] += 1
        os.write(count, b".")
        if seen[0] == kill_at:
            if event == "os.rename" and Path(args[0]).is_file():
                os.truncate(args[0], Path(args[0]).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _changes(event: str, args: tuple[Any, ...], home: Path) -> bool:
    writes = event == "open" and isinstance(args[2], int) and bool(args[2] & _CREATES)
    if not (writes or event in _CHANGES) or not isinstance(args[0], (str, bytes, os.PathLike)):
        return False
    return Path(os.fsdecode(args[0])).absolute().is_relative_to(home)
