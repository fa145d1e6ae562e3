"""results.md: the tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from recbole_fair.metrics import directions
from recbole_fair.report.assemble import Block, Report
from recbole_fair.report.findings import findings
from recbole_fair.report.ranking import decimals
from recbole_fair.report.rows import Cell, Row
from recbole_fair.report.statistics.significance import Difference
from recbole_fair.report.writers.escape import in_markdown
from recbole_fair.report.writers.numbers import interval, number, p_value, sureness
from recbole_fair.report.writers.wording import CAPTION, claim, notes, seeds, verdict

_MARKS = {"best": ("**", "**"), "second": ("<ins>", "</ins>"), "": ("", "")}


def markdown(report: Report) -> str:
    """The whole page."""
    parts = [f"# {in_markdown(report.title)}", CAPTION]
    for block in report.blocks:
        parts += [f"## {in_markdown(block.described)}", *tables_of(block, report.keys)]
    return "\n\n".join(parts) + "\n"


def tables_of(block: Block, keys: Sequence[str]) -> Iterator[str]:
    """The rows, what must be known of them, and the tests, under whatever heading they are put."""
    if sentences := findings(block, keys):
        yield "\n".join(f"- {in_markdown(sentence)}" for sentence in sentences)
    yield _results(block, keys)
    if remarks := notes(block.rows, keys):
        yield "\n".join(f"- {in_markdown(label)}: {in_markdown(remark)}" for label, remark in remarks)
    if block.tests:
        yield f"### Against {in_markdown(block.reference.label if block.reference else '')}"
        yield in_markdown(claim(block))
        yield _tests(block.tests)
    if block.untested and len(block.rows) > 1:
        yield "Not tested:\n\n" + "\n".join(f"- {in_markdown(reason)}" for reason in block.untested)


def _results(block: Block, keys: Sequence[str]) -> str:
    digits = {key: decimals(block.rows, key) for key in keys}
    header = [
        "row",
        *(f"{in_markdown(key)} {directions.arrow(key)}".strip() for key in keys),
        "seeds",
        "seconds to train",
    ]
    rows = (
        [in_markdown(row.label), *(_cell(row.cells[key], digits[key]) for key in keys), *_facts(row)]
        for row in block.rows
    )
    return _table(header, rows)


def _facts(row: Row) -> list[str]:
    return [seeds(row), number(row.seconds(), 0)]


def _cell(cell: Cell, digits: int) -> str:
    before, after = _MARKS[cell.mark]
    return f"{before}{number(cell.value, digits)}{after} {sureness(cell, digits)}".strip()


def _tests(tests: Iterable[Difference]) -> str:
    rows = (
        [in_markdown(test.label), in_markdown(test.key), f"{test.difference:+.4f}", interval(test.low, test.high),
         in_markdown(p_value(test.p)), verdict(test)]
        for test in tests
    )  # fmt: skip
    return _table(["row", "metric", "difference", "95 % interval", "p (Holm)", "better?"], rows, text=(0, 1, 5))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int] = (0,)) -> str:
    rule = ["---" if place in text else "---:" for place in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
