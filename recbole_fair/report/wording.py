"""How figures are printed and what stands under every table: the same in each format."""

from __future__ import annotations

import math
from collections.abc import Sequence

from recbole_fair.report.assemble import Block
from recbole_fair.report.rows import Cell, Row
from recbole_fair.report.significance import Test

ABSENT = "–"

CAPTION = (
    "Mean ± standard deviation over seeds; for one seed its 95 % interval over users. Best and second are marked;"
    " failed and collapsed rows take no part. All rows share data, split and candidates."
)
VERDICTS = {"shown": "better (shown)", "opposite": "worse (opposite)", "not shown": "not shown"}


def number(value: float | None, digits: int = 4) -> str:
    """A figure; an undefined one is a dash.

    >>> number(0.12345), number(None)
    ('0.1234', '–')
    """
    return ABSENT if value is None or math.isnan(value) else f"{value:.{digits}f}"


def sureness(cell: Cell, digits: int, always: bool = False) -> str:
    """The spread over seeds, or the interval of one seed; `always`: the interval beside the spread too."""
    spread = "" if cell.spread is None else f"± {number(cell.spread, digits)}"
    wanted = cell.low is not None and cell.high is not None and (always or not spread)
    interval = f"[{number(cell.low, digits)}, {number(cell.high, digits)}]" if wanted else ""
    return " ".join(filter(None, (spread, interval)))


def seeds(row: Row) -> str:
    """How many runs have figures, of how many."""
    done, all_ = len(row.finished), len(row.runs)
    return str(done) if done == all_ else f"{done} of {all_}"


def interval(test: Test) -> str:
    """The interval of a difference."""
    return f"[{number(test.low)}, {number(test.high)}]"


def claim(block: Block) -> str:
    """What the tests of a block ask, and how they answer."""
    label = block.reference.label if block.reference else ""
    return (
        f"Is the row better than {label}? Paired over users, seeds pooled; differences are row minus {label}"
        f" (for a metric that is best at a value: of the distances from it). Shown: the 95 % interval excludes 0 on the"
        f" better side and Holm's p over the {len(block.tests)} tests of this table is at most .05; opposite: the same on"
        " the other side; else not shown, with the smallest difference found in four of five cases."
    )


def verdict(test: Test) -> str:
    """The answer; what is not shown says how large it would have had to be."""
    told = VERDICTS[test.verdict]
    return told if test.verdict != "not shown" else f"{told} (detectable: {number(test.detectable)})"


def p_value(p: float) -> str:
    """Three digits.

    >>> p_value(0.0004), p_value(0.25)
    ('< .001', '.250')
    """
    if math.isnan(p):
        return ABSENT
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def notes(rows: Sequence[Row], keys: Sequence[str]) -> list[tuple[str, str]]:
    """(row, remark) of every remark on what is shown."""
    return [(row.label, remark) for row in rows for remark in row.remarks(keys)]
