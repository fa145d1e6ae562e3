"""What is shown on a screen: plain tables, short numbers, and whether anybody watches a bar."""

from __future__ import annotations

import logging
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

WIDTH = 120  # no line of a run is longer
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)

_STEERING = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""One line in which nothing steers a terminal: controls and text direction marks are shown as Python writes them.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _STEERING.sub(lambda sign: sign.group().encode("unicode_escape").decode(), text)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the columns of `rows` one under another.

    >>> aligned([["model", "ndcg"], ["MF", "0.1"]])
    ['model  ndcg', 'MF     0.1']
    """
    cells = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return [line.rstrip() for line in lines]


def stacked(rows: Sequence[Sequence[str]]) -> list[str]:
    """`aligned`, as several tables one below another where the lines would be longer than WIDTH.

    Each begins with the first column; an empty line stands between them.
    """
    widths = [max(len(visible(row[place])) for row in rows) for place in range(len(rows[0]))]
    tables: list[list[int]] = [[0]]
    for place, width in enumerate(widths[1:], start=1):
        if len(tables[-1]) > 1 and sum(widths[other] + 2 for other in tables[-1]) + width > WIDTH:
            tables.append([0])
        tables[-1].append(place)
    lines = [line for table in tables for line in ("", *aligned([[row[place] for place in table] for row in rows]))]
    return lines[1:]


def wrapped(line: str) -> list[str]:
    """A sentence in lines of at most WIDTH; words stay whole."""
    if len(line) <= WIDTH:
        return [line]
    return textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)


def short(value: float | None, digits: int = 4) -> str:
    """A figure without the zero before its point; "-" where there is none.

    >>> short(0.22201), short(-0.5, 3), short(1.0), short(None)
    ('.2220', '-.500', '1.0000', '-')
    """
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return re.sub(r"^(-?)0\.", r"\1.", text)


def brief(value: float) -> str:
    """A number of any size in three digits or more.

    >>> brief(35.2817), brief(0.00123), brief(48213.7)
    ('35.3', '0.00123', '48214')
    """
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours in words.

    >>> duration(0.42), duration(12.3), duration(3300), duration(9000)
    ('0.4 s', '12 s', '55 min', '2.5 h')
    """
    if seconds < 9.5:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class Tally:
    """How many of a number of runs are done, and about how long the rest takes at the pace since the first began."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.began: float | None = None

    def starts(self) -> None:
        """One of them starts."""
        self.began = perf_counter() if self.began is None else self.began

    def ends(self) -> None:
        """One of them has ended in one way or another."""
        self.done += 1

    def __str__(self) -> str:
        left = self.total - self.done
        if not (left and self.done and self.began is not None):
            return f"{self.done} of {self.total} done"
        pace = (perf_counter() - self.began) / self.done
        return f"{self.done} of {self.total} done, about {duration(left * pace)} left"


class _Visible(logging.Formatter):
    """The message alone, in which nothing steers a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return visible(record.getMessage())


@contextmanager
def spoken(quiet: bool) -> Iterator[None]:
    """Show on stderr, unless quiet, what the modules of this package log of their work: a line a stage."""
    logger, handler = logging.getLogger("recbole_fair"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Visible())
    level = logger.level
    if not quiet:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        with quietly(quiet):
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def quietly(quiet: bool = True) -> Iterator[None]:
    """Whether bars are hidden in this block, whoever would draw them."""
    token = _quiet.set(quiet or _quiet.get())
    try:
        yield
    finally:
        _quiet.reset(token)


def bars_wanted() -> bool:
    """Progress bars are for someone who watches a terminal or a notebook and did not ask for quiet."""
    return not _quiet.get() and (sys.stderr.isatty() or _in_notebook())


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
