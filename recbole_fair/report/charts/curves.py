"""What happened over the epochs: validation, groups (weights, losses, figures), shares of experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from recbole_fair.report.charts.canvas import COLOURS, drawn, legend_above, legend_height
from recbole_fair.report.charts.chart import Chart
from recbole_fair.report.rows import Row
from recbole_fair.rundir.history import read_history

_DASHES = ("-", "--", ":", "-.")
Curve = list[tuple[int, float]]  # epoch, value
Lines = Mapping[str, Sequence[Curve]]  # by name, a curve a seed
_WIDTH = 5.6


# --- what a history holds


def curves(folder: Path) -> Mapping[str, Curve]:
    """A curve for each metric of the history; empty where there is none (closed-form models)."""
    by_metric: dict[str, Curve] = {}
    for epoch, metric, value in read_history(folder):
        by_metric.setdefault(metric, []).append((epoch, value))
    return by_metric


def by_group(all_curves: Mapping[str, Curve]) -> Mapping[str, Mapping[str, Curve]]:
    """Curves of groups, by what they show: `weight[Action]`, `valid recall@20[gender:F]`.

    An aggregate such as `valid cv@20[pop]` names a grouping, not a group, and has no part in it.
    """
    shown: dict[str, dict[str, Curve]] = {}
    for name, curve in all_curves.items():
        quantity, bracket, group = name.removesuffix("]").partition("[")
        if bracket and (":" in group or not name.startswith("valid ")):
            shown.setdefault(quantity.strip(), {})[group] = curve
    return {quantity: groups for quantity, groups in shown.items() if len(groups) > 1}


def experts(all_curves: Mapping[str, Curve]) -> Mapping[str, Curve]:
    """Shares of experts by epoch, under the experts' names."""
    return {
        name.removeprefix("expert").strip(): curve for name, curve in all_curves.items() if name.startswith("expert")
    }


# --- charts


def validation(name: str, rows: Sequence[Row], key: str) -> Chart | None:
    """The validation figure of each row, a line a seed."""
    return _chart(name, f"{key} on validation by epoch", {row.label: _of_seeds(row, f"valid {key}") for row in rows})


def _of_seeds(row: Row, entry: str) -> list[Curve]:
    return [curve for run in row.finished if (curve := curves(run.folder).get(entry))]


def groups(name: str, row: Row) -> list[Chart]:
    """What the first run of a row tells of its groups, a chart a quantity."""
    quantities = by_group(curves(row.finished[0].folder))
    charts = [
        _chart(f"{name}-{place}", f"{row.label}: {quantity} by epoch and group", {g: [c] for g, c in members.items()})
        for place, (quantity, members) in enumerate(quantities.items(), start=1)
    ]
    return [chart for chart in charts if chart is not None]


def shares(name: str, row: Row) -> Chart | None:
    """How the experts of a row shared the work."""
    lines = {key: [curve] for key, curve in experts(curves(row.finished[0].folder)).items()}
    return _chart(name, f"{row.label}: share of each expert by epoch", lines)


def _chart(name: str, title: str, lines: Lines) -> Chart | None:
    """The chart; None where every curve is but one epoch."""
    lines = {label: long for label, seeds in lines.items() if (long := [curve for curve in seeds if len(curve) > 1])}
    if not lines:
        return None
    height = 2.9 + legend_height(list(lines))
    drawing = drawn(name, title, (_WIDTH, height), lambda figure: _draw(figure, lines))
    table = tuple(_summary(label, seeds) for label, seeds in lines.items())
    alternative = "; ".join(f"{row[0]} from {row[2]} to {row[3]}" for row in table)
    return Chart(
        name, title, f"{alternative}.", drawing, ("line", "epochs", "first", "last", "lowest", "highest"), table
    )


def _summary(label: str, seeds: Sequence[Curve]) -> tuple[str, ...]:
    """One line in numbers: of the first seed."""
    values = [value for _, value in seeds[0]]
    return (label, str(len(values)), *(f"{value:.4f}" for value in (values[0], values[-1], min(values), max(values))))


def _draw(figure: Figure, lines: Lines) -> None:
    axes = figure.subplots()
    handles = [_line(axes, seeds, place) for place, seeds in enumerate(lines.values())]
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_above(axes, list(lines), handles)


def _line(axes: Axes, seeds: Sequence[Curve], place: int) -> Any:
    """Seeds share colour and dashes; beyond eight names the dashes tell colours apart."""
    style: dict[str, Any] = {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": _DASHES[(place // len(COLOURS) + place) % len(_DASHES)],
        "linewidth": 1.4,
        "alpha": 0.9,
    }
    lines = [axes.plot(*zip(*curve, strict=True), **style)[0] for curve in seeds]
    return lines[0]
