"""results.md: the tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from recbole_fair.metrics import directions
from recbole_fair.report.assemble import Block, Report
from recbole_fair.report.findings import findings
from recbole_fair.report.ranking import decimals
from recbole_fair.report.rows import Cell, Row
from recbole_fair.report.statistics.significance import Difference
from recbole_fair.report.writers.escape import in_html, in_markdown
from recbole_fair.report.writers.numbers import interval, number, p_value, sureness
from recbole_fair.report.writers.wording import CAPTION, claim, counts, meanings, notes, seeds, verdict, verdicts

_MARKS = {"best": ("**", "**"), "second": ("<ins>", "</ins>"), "": ("", "")}


def markdown(report: Report) -> str:
    """The whole page."""
    parts = [f"# {in_markdown(report.title)}", CAPTION, *glossary(report.keys)]
    for block in report.blocks:
        parts += [f"## {in_markdown(block.described)}", *tables_of(block, report.keys)]
    return "\n\n".join(parts) + "\n"


def tables_of(block: Block, keys: Sequence[str]) -> Iterator[str]:
    """What was found, the rows, what must be known of them, and the tests, under whatever heading they are put."""
    if sentences := findings(block, keys):
        yield _list(sentences)
    yield results(block, keys)
    if remarks := notes(block.rows, keys):
        yield _list(f"{labels}: {remark}" for labels, remark in remarks)
    if block.tests:
        yield f"### Against {in_markdown(block.reference.label if block.reference else '')}"
        if sentences := verdicts(block):
            yield _list(sentences)
        yield from folded(counts(block), [in_markdown(claim(block)), _tests(block.tests), *_untested(block)])
    elif len(block.rows) > 1:
        yield from _untested(block)


def glossary(keys: Iterable[str]) -> Iterator[str]:
    """What the metrics are, folded away."""
    if defined := meanings(keys):
        yield from folded("What the columns are", [_list(f"{names}: {text}" for names, text in defined)])


def folded(summary: str, parts: Iterable[str]) -> Iterator[str]:
    """Parts that are shown when their summary is chosen; where a page cannot fold they stand there open."""
    yield f"<details>\n<summary>{in_html(summary)}</summary>"
    yield from parts
    yield "</details>"


def _untested(block: Block) -> Iterator[str]:
    if block.untested:
        yield "Not tested:"
        yield _list(block.untested)


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {in_markdown(sentence)}" for sentence in sentences)


def results(block: Block, keys: Sequence[str]) -> str:
    """The table of the rows: a figure a metric, the seeds and the seconds of training."""
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
