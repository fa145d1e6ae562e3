"""Which figures a report has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recbole_fair.report.charts.chart import Chart
from recbole_fair.report.charts.costs import costs
from recbole_fair.report.charts.curves import groups, shares, validation
from recbole_fair.report.charts.degrees import degrees
from recbole_fair.report.charts.plane import plane
from recbole_fair.report.charts.utility import utility
from recbole_fair.report.rows import Row
from recbole_fair.report.statistics.by_group import groupings, metric_of


def charts(rows: Sequence[Row], few: Sequence[Row], keys: Sequence[str], suffix: str) -> Iterator[Chart]:
    """Every figure that the runs have something to show in; `few` are the rows of crowded ones."""
    drawn = (*_planes(rows, keys, suffix), *_utilities(few, keys, suffix), *_curves(few, keys, suffix))
    ends = degrees(f"stereotypes{suffix}", rows), costs(f"costs{suffix}", rows)
    yield from (chart for chart in (*drawn, *ends) if chart is not None)


def _planes(rows: Sequence[Row], keys: Sequence[str], suffix: str) -> Iterator[Chart | None]:
    """The first metric that is no fairness metric against each that is."""
    fairness = [key for key in keys if "[" in key or key in ("sf", "sf_in")]
    accuracy = [key for key in keys if key not in fairness]
    for place, key in enumerate(fairness if accuracy else (), start=1):
        yield plane(f"plane-{place}{suffix}", rows, accuracy[0], key)


def _utilities(rows: Sequence[Row], keys: Sequence[str], suffix: str) -> Iterator[Chart | None]:
    for place, grouping in enumerate(groupings(rows), start=1):
        if metric := metric_of(rows, grouping, keys):
            yield utility(f"groups-{place}{suffix}", rows, grouping, metric)


def _curves(rows: Sequence[Row], keys: Sequence[str], suffix: str) -> Iterator[Chart | None]:
    if keys:
        yield validation(f"validation{suffix}", rows, keys[0])
    for place, row in enumerate(rows, start=1):
        yield from groups(f"epochs-{place}{suffix}", row)
        yield shares(f"experts-{place}{suffix}", row)
