"""How strongly items are a stereotype of a group, and from where on they count as one (MoS, Fig. 2)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from recbole_fair.errors import UsageError
from recbole_fair.metrics.formulas import FloatArray
from recbole_fair.report.charts.canvas import COLOURS, drawn, label
from recbole_fair.report.charts.chart import Chart
from recbole_fair.report.rows import Row
from recbole_fair.report.writers.numbers import number
from recbole_fair.storage import open_regular

_BINS = 60


class Degrees(NamedTuple):
    """Of one group: d of each item [I], the threshold, and how many items reach it."""

    d: FloatArray
    threshold: float
    stereotypes: int


def degrees(name: str, rows: Sequence[Row]) -> Chart | None:
    """The distribution of d and its threshold by group: of the first run that says so, as data and split are shared."""
    files = (run.folder / "stereotypes.csv" for row in rows for run in row.finished)
    if (path := next(filter(Path.exists, files), None)) is None:
        return None
    groups = read_degrees(path)
    title = "Degree of stereotype of each item, and its threshold"
    drawing = drawn(name, title, (5.6, 0.5 + 1.3 * len(groups)), lambda figure: _draw(figure, groups))
    table = tuple(
        (group, str(len(own.d)), number(own.d.mean()), number(own.d.std()), number(own.threshold), str(own.stereotypes))
        for group, own in groups.items()
    )
    above = ", ".join(f"{own.stereotypes} of {len(own.d)} items are one of {group}" for group, own in groups.items())
    header = ("group", "items", "mean d", "sd", "threshold", "stereotypes")
    return Chart(name, title, f"d by item with training interactions. {above}.", drawing, header, table)


def read_degrees(path: Path) -> Mapping[str, Degrees]:
    """What stereotypes.csv says of each group."""
    lines: dict[str, list[tuple[float, float, int]]] = {}
    try:
        with TextIOWrapper(open_regular(path), "utf-8", newline="") as stream:
            for line in csv.DictReader(stream):
                own = float(line["d"]), float(line["threshold"]), int(line["stereotype"])
                lines.setdefault(line["group"], []).append(own)
    except (KeyError, TypeError, ValueError, OSError, csv.Error) as error:
        raise UsageError(f"{path}: damaged ({error!r}); remove the run's folder and run again") from error
    by_group = {group: np.array(own) for group, own in lines.items()}
    return {group: Degrees(own[:, 0], float(own[0, 1]), int(own[:, 2].sum())) for group, own in by_group.items()}


def _draw(figure: Figure, groups: Mapping[str, Degrees]) -> None:
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (group, own), colour in zip(panels, groups.items(), COLOURS * len(groups), strict=False):
        axes.hist(own.d, bins=_BINS, color=colour, log=True)
        axes.axvline(own.threshold, color=colour, linestyle="--", linewidth=1.2)
        title = f"{label(group)}: {own.stereotypes} items from {number(own.threshold)} on"
        axes.set_title(title, loc="left", fontsize=9)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylabel("items")
    panels[-1].set_xlabel("d, how much of a stereotype an item is")
