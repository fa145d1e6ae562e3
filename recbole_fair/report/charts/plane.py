"""Accuracy against fairness: where rows stand, how sure that is, and which of them no other row beats on both.

Rows of one model that differ in one number, a strategy's strength, are joined in its order: that is its frontier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from recbole_fair.metrics import directions
from recbole_fair.report.charts.canvas import COLOURS, MARKERS, drawn, label, legend_above, legend_height, short
from recbole_fair.report.charts.chart import Chart
from recbole_fair.report.labels import strengths
from recbole_fair.report.rows import Cell, Row
from recbole_fair.report.writers.numbers import number, sureness

Lines = tuple[Sequence[Row], Mapping[str, Mapping[float, Row]]]  # the Pareto line, and each joined model's

_WAYS = ((1, 0.4), (-1, 0.4), (0, 1), (0, -1.5), (1, -1), (-1, -1))
_PLACES = [(reach * x, reach * y) for reach in (7, 16) for x, y in _WAYS]  # of a name, in points from its mark


def front(rows: Sequence[Row], x: str, y: str) -> list[Row]:
    """Rows that no other row beats (Pareto), in the order of the first metric; collapsed rows take no part."""
    candidates = [row for row in rows if row.ranked]
    costs = {row.label: tuple(row.cost(key) for key in (x, y)) for row in candidates}
    unbeaten = [
        row
        for row in candidates
        if not any(
            other != costs[row.label] and other[0] <= costs[row.label][0] and other[1] <= costs[row.label][1]
            for other in costs.values()
        )
    ]
    return sorted(unbeaten, key=lambda row: _value(row, x))


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
    joined = families(shown)
    height = 4.2 + (legend_height(list(joined)) if joined else 0)
    drawing = drawn(name, title, (5.6, height), lambda figure: _draw(figure, shown, (best, joined), x, y))
    alternative = (
        f"{len(shown)} rows by {x} ({directions.wish(x)}) and {y} ({directions.wish(y)}), with 95 % intervals over"
        f" users. Beaten by none on both (dashed line): {', '.join(row.label for row in best)}."
    )
    table = tuple(
        (row.label, _cell(row.cells[x]), _cell(row.cells[y]), "yes" if row in best else "no") for row in shown
    )
    return Chart(name, title, alternative, drawing, ("row", x, y, "on the Pareto line"), table)


def families(rows: Sequence[Row]) -> dict[str, dict[float, Row]]:
    """Models of three rows or more that differ in one number, such as a strategy's strength: its rows by that."""
    models = {model: [row for row in rows if _model(row) == model] for model in dict.fromkeys(map(_model, rows))}
    joined: dict[str, dict[float, Row]] = {}
    for model, of in models.items():
        if len(of) >= 3 and (values := strengths([row.runs[0] for row in of])):
            joined[model] = dict(sorted(zip(values, of, strict=True), key=lambda pair: pair[0]))
    return joined


def _model(row: Row) -> str:
    return row.runs[0].result.model


def _cell(cell: Cell) -> str:
    return f"{number(cell.value)} {sureness(cell, always=True)}".strip()


def _draw(figure: Figure, rows: Sequence[Row], lines_of: Lines, x: str, y: str) -> None:
    best, joined = lines_of
    axes = figure.subplots()
    looks = {model: (COLOURS[place % 6 + 2], MARKERS[place % 7 + 1]) for place, model in enumerate(joined)}
    for row in rows:
        colour, marker = looks.get(_model(row), (COLOURS[1] if row in best else COLOURS[0], "o"))
        _point(axes, row, (x, y), colour, marker)
    lines = [
        axes.plot(
            *_points(list(of.values()), x, y), color=looks[model][0], marker=looks[model][1], linewidth=0.9, alpha=0.75
        )[0]
        for model, of in joined.items()
    ]
    axes.plot(*_points(best, x, y), color=COLOURS[1], linestyle="--", linewidth=1.2)
    axes.set_xlabel(f"{label(x)} {directions.arrow(x)}")
    axes.set_ylabel(f"{label(y)} {directions.arrow(y)}")
    axes.margins(0.12)
    if joined:
        legend_above(axes, list(joined), lines)
    numbers = {row.label: f"{value:g}" for of in joined.values() for value, row in of.items()}
    names = {row.label: numbers.get(row.label, row.label) for row in (*best, *rows)}
    _name_points(figure, axes, {row.label: row for row in rows}, names, (x, y))


def _points(rows: Sequence[Row], x: str, y: str) -> list[list[float]]:
    return [[_value(row, key) for row in rows] for key in (x, y)]


def _point(axes: Axes, row: Row, keys: tuple[str, str], colour: str, marker: str) -> None:
    across, along = (_reach(row.cells[key]) for key in keys)
    axes.errorbar(
        _value(row, keys[0]), _value(row, keys[1]), xerr=across, yerr=along, color=colour, elinewidth=0.9, alpha=0.75,
        marker="x" if row.collapsed else marker, markersize=5,
    )  # fmt: skip


def _reach(cell: Cell) -> list[list[float]] | None:
    if cell.value is None or cell.low is None or cell.high is None:
        return None
    return [[max(0.0, cell.value - cell.low)], [max(0.0, cell.high - cell.value)]]


def _name_points(
    figure: Figure, axes: Axes, rows: Mapping[str, Row], names: Mapping[str, str], keys: tuple[str, str]
) -> None:
    """Names beside their points, in their order, where there is room; the table under the figure has all of them."""
    figure.draw_without_rendering()
    points = {row: (_value(rows[row], keys[0]), _value(rows[row], keys[1])) for row in names}
    marks = axes.transData.transform(list(points.values()))  # [rows, 2]
    taken = [Bbox([[left - 3, low - 3], [left + 3, low + 3]]) for left, low in marks]
    for row, point in points.items():
        text = axes.annotate(short(names[row], 28), point, (0, 0), textcoords="offset points", fontsize=9)
        text.set_in_layout(False)
        box = next((box for place in _PLACES if (box := _moved(figure, text, place, taken))), None)
        if box is None:
            text.remove()
        else:
            taken.append(box)


def _moved(figure: Figure, text: Annotation, place: tuple[float, float], taken: Sequence[Bbox]) -> Bbox | None:
    """Where the text lies then, None if it would leave the figure or cover something."""
    text.set_position(place)
    text.set_horizontalalignment("center" if not place[0] else "left" if place[0] > 0 else "right")
    box, page = text.get_window_extent(), figure.bbox
    inside = box.x0 >= page.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 and box.y1 <= page.y1
    return box if inside and not any(box.overlaps(other) for other in taken) else None
