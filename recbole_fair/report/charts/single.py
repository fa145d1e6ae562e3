"""One run's groups as a matplotlib figure, to be shown in a notebook or saved in any of its formats."""

from __future__ import annotations

from matplotlib.figure import Figure

from recbole_fair.errors import UsageError
from recbole_fair.report.charts.canvas import COLOURS, label
from recbole_fair.rundir.result import Result
from recbole_fair.rundir.summary import measured


def groups_of(result: Result, grouping: str | None = None) -> Figure:
    """Each group's figure with its interval, lowest first, and the size of the group beside its name."""
    fields = list(dict.fromkeys(str(row["field"]) for row in result.group_rows))
    field = grouping or next(iter(fields), "")
    figure, rows = measured(result, field)
    if not rows:
        raise UsageError(f"plot({field!r}): no such groups; the run has {', '.join(fields) or 'none'}")
    values = [float(row[figure]) for row in rows]
    ends = [(row.get(f"{figure}_low"), row.get(f"{figure}_high")) for row in rows]
    drawn = Figure(figsize=(5.6, 1.2 + 0.28 * len(rows)), layout="constrained")
    axes = drawn.subplots()
    for place, (low, high) in enumerate(ends):
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=COLOURS[0], linewidth=1.5)
    axes.plot(values, range(len(rows)), "o", color=COLOURS[0])
    axes.set_yticks(range(len(rows)), [f"{label(str(row['group']))} ({row['size']:,})" for row in rows])
    axes.set_xlabel(figure)
    axes.set_xlim(left=0)
    axes.set_title(f"{result.model} on {result.dataset}: {field}", loc="left")
    return drawn
