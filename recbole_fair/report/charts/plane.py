"""Accuracy against fairness: where rows stand, how sure that is, and which of them no other row beats on both."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from recbole_fair.evaluation import directions
from recbole_fair.report.charts.canvas import COLOURS, Chart, drawn, label
from recbole_fair.report.rows import Cell, Row

_OFFSETS = [(reach * x, reach * y) for reach in (7, 16) for x, y in ((1, 0.4), (-1, 0.4), (0, 1), (0, -1.5), (1, -1), (-1, -1))]  # fmt: skip


def front(rows: Sequence[Row], x: str, y: str) -> list[Row]:
    """Rows that no other row equals or beats on both metrics (Pareto), by the first metric; collapsed rows beat none."""
    candidates = [row for row in rows if row.ranked]
    costs = {row.label: tuple(float(directions.cost(key, _value(row, key))) for key in (x, y)) for row in candidates}
    kept = [
        row
        for row in candidates
        if not any(
            other != costs[row.label] and other[0] <= costs[row.label][0] and other[1] <= costs[row.label][1]
            for other in costs.values()
        )
    ]
    return sorted(kept, key=lambda row: _value(row, x))


def _value(row: Row, key: str) -> float:
    value = row.cells[key].value
    return math.nan if value is None else value


def plane(name: str, rows: Sequence[Row], x: str, y: str) -> Chart | None:
    """The chart; None where fewer than two rows have both figures."""
    shown = [row for row in rows if row.cells[x].value is not None and row.cells[y].value is not None]
    if len(shown) < 2:
        return None
    best = front(shown, x, y)
    title = f"{y} against {x}"
    svg = drawn(name, title, (5.6, 4.2), lambda figure: _draw(figure, shown, best, x, y))
    alternative = (
        f"{len(shown)} rows by {x} ({_wish(x)}) and {y} ({_wish(y)}), with 95 % intervals over users."
        f" Beaten by none on both: {', '.join(row.label for row in best)}."
    )
    table = tuple((row.label, _cell(row.cells[x]), _cell(row.cells[y]), "yes" if row in best else "no") for row in shown)
    return Chart(name, title, alternative, svg, ("row", x, y, "on the Pareto line"), table)


def _wish(key: str) -> str:
    return {"↑": "higher is better", "↓": "lower is better", "": "no better side"}.get(
        directions.arrow(key), f"best at {directions.best(key)}"
    )


def _cell(cell: Cell) -> str:
    ends = f" [{cell.low:.4f}, {cell.high:.4f}]" if cell.low is not None and cell.high is not None else ""
    return f"{cell.value:.4f}{ends}"


def _draw(figure: Figure, rows: Sequence[Row], best: Sequence[Row], x: str, y: str) -> None:
    axes = figure.subplots()
    for row in rows:
        _point(axes, row, x, y, COLOURS[1] if row in best else COLOURS[0])
    axes.plot(*[[_value(row, key) for row in best] for key in (x, y)], color=COLOURS[1], linestyle="--", linewidth=1.2)
    axes.set_xlabel(f"{label(x)} {directions.arrow(x)}")
    axes.set_ylabel(f"{label(y)} {directions.arrow(y)}")
    axes.margins(0.12)
    _name_points(figure, axes, [*best, *(row for row in rows if row not in best)], x, y)


def _point(axes: Axes, row: Row, x: str, y: str, colour: str) -> None:
    errors = {f"{side}err": _reach(row.cells[key]) for side, key in (("x", x), ("y", y))}
    axes.errorbar(
        _value(row, x), _value(row, y), **errors, color=colour, elinewidth=0.9, alpha=0.75,
        marker="x" if row.collapsed else "o", markersize=5,
    )  # fmt: skip


def _reach(cell: Cell) -> list[list[float]] | None:
    if cell.value is None or cell.low is None or cell.high is None:
        return None
    return [[max(0.0, cell.value - cell.low)], [max(0.0, cell.high - cell.value)]]


def _name_points(figure: Figure, axes: Axes, rows: Sequence[Row], x: str, y: str) -> None:
    """Names beside their points where there is room; the table under the figure has all of them."""
    figure.draw_without_rendering()
    taken = [Bbox.from_bounds(*(axes.transData.transform((_value(row, x), _value(row, y))) - 3), 6, 6) for row in rows]
    for row in rows:
        text = axes.annotate(label(row.label), (_value(row, x), _value(row, y)), (0, 0), textcoords="offset points", fontsize=9)  # fmt: skip
        text.set_in_layout(False)
        for offset in _OFFSETS:
            text.set_position(offset)
            text.set_horizontalalignment({1: "left", -1: "right"}.get((offset[0] > 0) - (offset[0] < 0), "center"))
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken) and _inside(figure, box):
                taken.append(box)
                break
        else:
            text.remove()


def _inside(figure: Figure, box: Bbox) -> bool:
    page = figure.bbox
    return bool(box.x0 >= page.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 and box.y1 <= page.y1)
