"""How figures are printed, the same in every format."""

from __future__ import annotations

import math

from recbole_fair.report.rows import Cell

ABSENT = "\u2013"  # an en dash


def number(value: float | None, digits: int = 4) -> str:
    """A figure; an undefined one is a dash.

    >>> number(0.5, 2), number(None) == ABSENT
    ('0.50', True)
    """
    return ABSENT if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(low: float, high: float, digits: int = 4) -> str:
    """An interval by its two ends.

    >>> interval(0.25, 0.5, 2)
    '[0.25, 0.50]'
    """
    return f"[{number(low, digits)}, {number(high, digits)}]"


def sureness(cell: Cell, digits: int = 4, always: bool = False) -> str:
    """The spread over seeds, or the interval of one seed; `always`: the interval beside the spread too."""
    spread = "" if cell.spread is None else f"± {number(cell.spread, digits)}"
    wanted = always or not spread
    ends = interval(cell.low, cell.high, digits) if wanted and cell.low is not None and cell.high is not None else ""
    reading = f"({cell.reading})" if cell.reading else ""
    return " ".join(filter(None, (spread, ends, reading)))


def p_value(p: float) -> str:
    """A p value in three digits.

    >>> p_value(0.0004), p_value(0.25)
    ('< .001', '.250')
    """
    if math.isnan(p):
        return ABSENT
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
