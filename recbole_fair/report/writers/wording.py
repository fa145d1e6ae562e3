"""What stands under every table: the same words in each format."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_fair.report.assemble import Block
from recbole_fair.report.rows import Row
from recbole_fair.report.statistics.significance import FEWEST_SEEDS, Difference
from recbole_fair.report.writers.numbers import number

CAPTION = (
    "Mean ± standard deviation over seeds; for one seed its 95 % interval over users. Best and second are marked;"
    " failed and collapsed rows take no part. (At most), (at least): noise between groups alone could have made the"
    " value. The rows of a table share data, split and candidates."
)
_VERDICTS = {"shown": "better", "opposite": "worse", "not shown": "no difference shown"}


def seeds(row: Row) -> str:
    """How many runs have figures, of how many."""
    done, asked = len(row.finished), len(row.runs)
    return str(done) if done == asked else f"{done} of {asked}"


def claim(block: Block) -> str:
    """What the tests of a block ask, and how they answer."""
    label = block.reference.label if block.reference else ""
    return (
        f"Is the row better than {label}? Paired over users; differences of means over seeds, row minus {label}"
        " (for a metric that is best at a value: of the distances from it). Better: the 95 % interval over users and"
        f" seeds excludes 0 on the better side and Holm's p over the {len(block.tests)} tests of this table is at"
        " most .05; worse: the same on the other side; else no difference is shown, with the size that would have been"
        f" seen in four of five cases. Fewer than {FEWEST_SEEDS} seeds on either side: the interval is over users"
        " alone, and there is no verdict."
    )


def verdict(test: Difference) -> str:
    """The answer; what is not shown says how large it would have had to be."""
    if test.verdict not in _VERDICTS:
        return f"no verdict ({test.seeds} seed{'s' if test.seeds > 1 else ''})"
    told = _VERDICTS[test.verdict]
    return told if test.verdict != "not shown" else f"{told} (would have seen {number(test.detectable)})"


def notes(rows: Sequence[Row], keys: Sequence[str]) -> list[tuple[str, str]]:
    """(row, remark) of every remark on what is shown."""
    return [(row.label, remark) for row in rows for remark in row.remarks(keys)]
