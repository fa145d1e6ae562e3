"""Utility by group, row beside row: whether it is the same groups that every row serves badly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recbole_fair.report.charts.canvas import COLOURS, MARKERS, drawn, legend_above, legend_height, short
from recbole_fair.report.charts.chart import Chart
from recbole_fair.report.rows import Cell, Row
from recbole_fair.report.statistics.by_group import Grouping, group_figures
from recbole_fair.report.writers.numbers import ABSENT, number, sureness

Figures = Mapping[str, Mapping[str, Cell]]  # by row, by group


def utility(name: str, rows: Sequence[Row], grouping: Grouping, metric: str) -> Chart | None:
    """The chart of one grouping; None where no row has such figures."""
    figures = {row.label: group_figures(row, grouping, metric) for row in rows}
    figures = {label: groups for label, groups in figures.items() if groups}
    names = list(dict.fromkeys(group for groups in figures.values() for group in groups))
    if not names:
        return None
    title = f"{metric} by {grouping.kind} group: {grouping.field}"
    height = 0.9 + legend_height(list(figures)) + len(names) * (0.12 + 0.09 * len(figures))
    drawing = drawn(name, title, (5.6, height), lambda figure: _draw(figure, figures, names, metric))
    table = tuple((group, *(_shown(groups.get(group)) for groups in figures.values())) for group in names)
    alternative = f"With 95 % intervals over users. Lowest: {_extremes(figures, 0)}. Highest: {_extremes(figures, -1)}."
    return Chart(name, title, alternative, drawing, ("group", *figures), table)


def _extremes(figures: Figures, place: int) -> str:
    """Which group is lowest (place 0) or highest (-1), and in how many rows."""
    counts = Counter(sorted(groups, key=lambda group: groups[group].value or 0.0)[place] for groups in figures.values())
    return ", ".join(f"{group} in {count} of the {len(figures)} rows shown" for group, count in counts.most_common())


def _shown(cell: Cell | None) -> str:
    return ABSENT if cell is None else f"{number(cell.value)} {sureness(cell)}".strip()


def _draw(figure: Figure, figures: Figures, names: Sequence[str], metric: str) -> None:
    axes = figure.subplots()
    handles = [_series(axes, groups, names, place, len(figures)) for place, groups in enumerate(figures.values())]
    axes.set_yticks(range(len(names)), [short(name, 22) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(metric)
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    legend_above(axes, list(figures), handles)


def _series(axes: Axes, groups: Mapping[str, Cell], names: Sequence[str], place: int, count: int) -> object:
    shift = (place - (count - 1) / 2) * 0.8 / count
    heights = [names.index(group) + shift for group in groups]
    for height, cell in zip(heights, groups.values(), strict=True):
        if cell.low is not None and cell.high is not None:
            axes.plot([cell.low, cell.high], [height, height], color=COLOURS[place % len(COLOURS)], linewidth=1.2)
    values = [cell.value or 0.0 for cell in groups.values()]
    marker = MARKERS[place % len(MARKERS)]
    return axes.plot(values, heights, marker, color=COLOURS[place % len(COLOURS)], markersize=4.5)[0]
