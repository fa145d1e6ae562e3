"""results.tex: the tables in the layout of the papers (booktabs), to be read into a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recbole_fair.metrics import directions
from recbole_fair.report.assemble import Block, Report
from recbole_fair.report.ranking import decimals
from recbole_fair.report.rows import Cell, Row
from recbole_fair.report.writers.escape import in_latex
from recbole_fair.report.writers.numbers import number, sureness
from recbole_fair.report.writers.wording import CAPTION, notes, seeds

_HEAD = "% Needs \\usepackage{booktabs}; names beyond Latin letters need XeLaTeX or LuaLaTeX."
_MARKS = {"best": "\\textbf{%s}", "second": "\\underline{%s}", "": "%s"}


def latex(report: Report) -> str:
    """One table environment for each set of comparable runs."""
    tables = (_table(block, report, number) for number, block in enumerate(report.blocks, start=1))
    return "\n\n".join([_HEAD, *tables]) + "\n"


def _table(block: Block, report: Report, place: int) -> str:
    caption = in_latex(f"{report.title}. {block.described}. {CAPTION} Best in bold, second underlined.")
    begin = ["\\begin{table}", "\\centering", f"\\caption{{{caption}}}", f"\\label{{tab:results-{place}}}", "\\small"]
    return "\n".join([*begin, *_tabular(block, report.keys), *_notes(block.rows, report.keys), "\\end{table}"])


def _tabular(block: Block, keys: Sequence[str]) -> Iterator[str]:
    yield f"\\begin{{tabular}}{{l{'r' * (len(keys) + 1)}}}"
    yield from ("\\toprule", _line(["", *map(_head, keys), "seeds"]), "\\midrule")
    digits = {key: decimals(block.rows, key) for key in keys}
    for row in block.rows:
        yield _line([in_latex(row.label), *(_cell(row.cells[key], digits[key]) for key in keys), seeds(row)])
    yield from ("\\bottomrule", "\\end{tabular}")


def _head(key: str) -> str:
    return in_latex(f"{key} {directions.arrow(key)}".strip())


def _line(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _cell(cell: Cell, digits: int) -> str:
    """The figure, and smaller behind it how sure it is."""
    value = _MARKS[cell.mark] % in_latex(number(cell.value, digits))
    sure = in_latex(sureness(cell, digits))
    return f"{value} {{\\scriptsize {sure}}}" if sure else value


def _notes(rows: Sequence[Row], keys: Sequence[str]) -> Iterator[str]:
    for label, remark in notes(rows, keys):
        yield f"\\par{{\\footnotesize {in_latex(label)}: {in_latex(remark)}\\par}}"
