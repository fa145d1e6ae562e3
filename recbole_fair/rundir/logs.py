"""Where a run logs to: its own file, and the screen unless it is quiet; RecBole's lines go to the file alone."""

from __future__ import annotations

import logging
import os
import re
import stat
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from recbole_fair.errors import StorageError, UsageError
from recbole_fair.screen import visible

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


DETAILS = logging.getLogger("details")  # for the file alone: the screen shows only loggers of this package
_LOG_FORMAT = "%(asctime)s %(levelname)s  %(message)s"


class _Plain(logging.Formatter):
    """Text without colours; what else would steer a terminal is shown escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return _lines(_COLOURS.sub("", super().format(record)))


def _lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.split("\n"))


def _log_file(path: Path) -> logging.Handler:
    """run.log to be gone on with: a file of this folder alone, so that what is appended changes no other."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); choose another run_dir") from error
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
        os.close(handle)
        raise UsageError(f"{path}: is no file of this folder alone but a device or a hard link; remove it")
    return _LogFile(os.fdopen(handle, "a", encoding="utf-8"))


class _LogFile(logging.StreamHandler[TextIO]):
    """Writes the log and closes its file; a disk that is full ends the run in a sentence, as any other write does."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise StorageError(f"run.log: cannot be written ({error.strerror}); free space, then --resume=True")
        super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):  # the write that failed has been reported
            self.stream.close()
        super().close()


class _Screen(logging.StreamHandler[TextIO]):
    """Shows a run's lines; a run that is made within another one speaks through the other's."""


@contextmanager
def logging_to(folder: Path, level: str, quiet: bool) -> Iterator[None]:
    """Send the host's and our log to run.log and, unless quiet, ours to the screen; then put logging back as it was."""
    root = logging.getLogger()
    handlers: list[logging.Handler] = [_log_file(folder / "run.log")]
    handlers[0].setFormatter(_Plain(_LOG_FORMAT))
    if not quiet and not any(isinstance(handler, _Screen) for handler in root.handlers):
        screen = _Screen(sys.stderr)
        screen.setFormatter(_Plain("%(message)s"))
        screen.addFilter(logging.Filter("recbole_fair"))
        handlers.append(screen)
    former = root.level
    root.setLevel(level.upper())
    for handler in handlers:
        root.addHandler(handler)
    try:
        with host_warnings_silenced():
            yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(former)


@contextmanager
def host_warnings_silenced() -> Iterator[None]:
    """RecBole warns of its own idioms (chained fillna, torch.cuda.amp) at every call; a run needs none of that.

    They are listed in docs/host-models.md. Warnings raised in our own modules pass.
    """
    with warnings.catch_warnings():
        for module in ("recbole", "ray", "torch", "pandas", "scipy", "thop"):
            warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
        yield
