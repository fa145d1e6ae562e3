"""results.tex: the tables in the layout of the papers (booktabs), to be \\input into a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recbole_fair.evaluation import directions
from recbole_fair.report.assemble import Block, Report
from recbole_fair.report.escape import in_latex
from recbole_fair.report.rows import Cell, Row
from recbole_fair.report.table import decimals
from recbole_fair.report.wording import CAPTION, notes, number, seeds, sureness

_HEAD = "% Needs \\usepackage{booktabs}; names beyond Latin letters need XeLaTeX or LuaLaTeX."
_MARKS = {"best": "\\textbf{%s}", "second": "\\underline{%s}", "": "%s"}


def latex(report: Report) -> str:
    """One table environment for each set of comparable runs."""
    tables = (_table(block, report, number) for number, block in enumerate(report.blocks, start=1))
    return "\n\n".join([_HEAD, *tables]) + "\n"


def _table(block: Block, report: Report, place: int) -> str:
    keys = report.keys
    digits = {key: decimals(block.rows, key) for key in keys}
    body = [_line([in_latex(row.label), *(_cell(row.cells[key], digits[key]) for key in keys), seeds(row)]) for row in block.rows]
    return "\n".join([
        "\\begin{table}", "\\centering", f"\\caption{{{in_latex(_caption(block, report))}}}", f"\\label{{tab:results-{place}}}",
        "\\small", f"\\begin{{tabular}}{{l{'r' * (len(keys) + 1)}}}", "\\toprule", _line(["", *map(_head, keys), "seeds"]),
        "\\midrule", *body, "\\bottomrule", "\\end{tabular}", *_notes(block.rows, keys), "\\end{table}",
    ])  # fmt: skip


def _caption(block: Block, report: Report) -> str:
    return f"{report.title}. {block.described}. {CAPTION} Best in bold, second underlined."


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
