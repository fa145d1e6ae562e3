"""What stands under every table: the same words in each format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recbole_fair.metrics.directions import meaning, wish
from recbole_fair.report.assemble import Block
from recbole_fair.report.rows import Row, by_text
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
        " (for a metric that is best at a value: of each seed's distance from it). Better: the 95 % interval over users"
        f" and seeds excludes 0 on the better side and Holm's p over the {len(block.tests)} tests of this table is at"
        " most .05; worse: the same on the other side; else no difference is shown, with the size that would have been"
        f" seen in four of five cases. Fewer than {FEWEST_SEEDS} seeds on either side: the interval is over users"
        " alone, and there is no verdict."
    )


def verdict(test: Difference) -> str:
    """The answer; what is not shown says how large it would have had to be."""
    if test.verdict not in _VERDICTS:
        return f"no verdict ({test.seeds} seed{'s' if test.seeds > 1 else ''})"
    word = _VERDICTS[test.verdict]
    return word if test.verdict != "not shown" else f"{word} (would have seen {number(test.detectable)})"


def verdicts(block: Block) -> list[str]:
    """Which rows are better than the reference, and worse, in which metrics."""
    label = block.reference.label if block.reference else ""
    sentences = []
    for answer, word in (("shown", "Better"), ("opposite", "Worse")):
        of_row: dict[str, list[str]] = {}
        for test in block.tests:
            if test.verdict == answer:
                of_row.setdefault(test.label, []).append(test.key)
        if of_row:
            rows = "; ".join(f"{name} in {', '.join(keys)}" for name, keys in of_row.items())
            sentences.append(f"{word} than {label}: {rows}.")
    return sentences


def counts(block: Block) -> str:
    """How many tests there are and how they came out."""
    names = {**_VERDICTS, "no verdict": "without a verdict"}
    answers = {word: sum(test.verdict == answer for test in block.tests) for answer, word in names.items()}
    shown = ", ".join(f"{count} {word}" for word, count in answers.items() if count)
    return f"{len(block.tests)} tests: {shown}"


def notes(rows: Sequence[Row], keys: Sequence[str]) -> list[tuple[str, str]]:
    """(rows, remark) of every remark on what is shown, each remark once."""
    labels_of: dict[str, list[str]] = {}
    for row in rows:
        for remark in row.remarks(keys):
            labels_of.setdefault(remark, []).append(row.label)
    return [(_all(labels, len(rows)), remark) for remark, labels in labels_of.items()]


def _all(labels: Sequence[str], count: int) -> str:
    return "all rows" if len(labels) == count > 1 else ", ".join(labels)


def meanings(keys: Iterable[str]) -> list[tuple[str, str]]:
    """(metrics, what they are) of every metric that says so, those that are the same thing together."""
    texts = {key: f"{meaning(key)}; {wish(key)}" for key in keys if meaning(key)}
    return [(", ".join(of_text), text) for text, of_text in by_text(texts)]
