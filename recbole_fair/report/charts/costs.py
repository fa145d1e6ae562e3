"""What each row cost: seconds of training and peak memory."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recbole_fair.report.charts.canvas import COLOURS, drawn, short
from recbole_fair.report.charts.chart import Chart
from recbole_fair.report.rows import Row
from recbole_fair.report.writers.numbers import ABSENT, number

_MOST = 30


def costs(name: str, rows: Sequence[Row]) -> Chart | None:
    """The chart; None where no run says what it took."""
    shown = [row for row in rows if row.seconds() is not None][:_MOST]
    if not shown:
        return None
    title = "Seconds of training and peak memory"
    drawing = drawn(name, title, (5.6, 0.8 + 0.22 * len(shown)), lambda figure: _draw(figure, shown))
    table = tuple((row.label, number(row.seconds(), 1), _megabytes(row)) for row in shown)
    alternative = (
        f"Median over seeds of {len(shown)} rows. Longest: {max(shown, key=lambda row: row.seconds() or 0).label}."
    )
    return Chart(name, title, alternative, drawing, ("row", "seconds of training", "peak memory in MB"), table)


def _megabytes(row: Row) -> str:
    memory = row.memory()
    return ABSENT if memory is None else number(memory / 1e6, 0)


def _draw(figure: Figure, rows: Sequence[Row]) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    _bars(left, [row.seconds() or 0.0 for row in rows], "seconds of training", COLOURS[0])
    _bars(right, [(row.memory() or 0.0) / 1e6 for row in rows], "peak memory, MB", COLOURS[2])
    left.set_yticks(range(len(rows)), [short(row.label, 22) for row in rows])
    left.set_ylim(len(rows) - 0.4, -0.6)


def _bars(axes: Axes, values: Sequence[float], name: str, colour: str) -> None:
    axes.barh(range(len(values)), values, height=0.62, color=colour)
    axes.set_xlabel(name)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.locator_params(axis="x", nbins=4)
