"""Where a run logs to: its own file, and the screen unless it is quiet."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


_LOG_FORMAT = "%(asctime)s %(levelname)s  %(message)s"


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _COLOURS.sub("", super().format(record))


@contextmanager
def logging_to(folder: Path, level: str, quiet: bool) -> Iterator[None]:
    """Send the host's and our log to run.log and, unless quiet, to the screen; then put logging back as it was."""
    root = logging.getLogger()
    handlers: list[logging.Handler] = [logging.FileHandler(folder / "run.log", encoding="utf-8")]
    handlers[0].setFormatter(_Plain(_LOG_FORMAT))
    if not quiet:
        screen = logging.StreamHandler(sys.stderr)
        screen.setFormatter((logging.Formatter if sys.stderr.isatty() else _Plain)("%(message)s"))
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
