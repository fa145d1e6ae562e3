"""What the users of each row say: intervals over users, and why there are none."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recbole_fair.metrics import directions
from recbole_fair.metrics.bootstrap import near_boundary, widened_interval
from recbole_fair.report.rows import Row
from recbole_fair.report.runs import Run, config_of
from recbole_fair.report.statistics.evaluated import LEVEL, Evaluated, Resampled, evaluated, resampled, shared_users
from recbole_fair.report.users import Users, read_users
from recbole_fair.screen import Tally

logger = logging.getLogger(__name__)

Interval = tuple[float | None, float | None, str]  # low, high, and "at most" or "at least" or nothing


@dataclass(frozen=True)
class Evidence:
    """Per row and metric: the figure of each seed, or the reason why there is none; and intervals made of them."""

    seeds: Mapping[tuple[str, str], Sequence[Evaluated]]
    reasons: Mapping[tuple[str, str], str]
    intervals: Mapping[tuple[str, str], Interval]

    def interval(self, label: str, key: str) -> Interval:
        """The 95 % interval over users, and how to read it."""
        return self.intervals.get((label, key), (None, None, ""))


def gather(rows: Iterable[Row], keys: Sequence[str]) -> Evidence:
    """Read the users of every finished run, once."""
    seeds: dict[tuple[str, str], Sequence[Evaluated]] = {}
    reasons: dict[tuple[str, str], str] = {}
    finished = [row for row in rows if row.finished]
    tally = Tally(len(finished))
    for row in finished:
        tally.starts()
        logger.info("reading the users of %s (%s)", row.label, tally)
        tally.ends()
        tables = [(run, users_of(run)) for run in row.finished]
        for key in keys:
            outcomes = [_of_run(run, users, key) for run, users in tables]
            if refused := [reason for reason in outcomes if isinstance(reason, str)]:
                reasons[row.label, key] = refused[0]
            elif outcomes:
                seeds[row.label, key] = [one for one in outcomes if isinstance(one, Evaluated)]
    logger.info("resampling them for intervals of %d rows and %d metrics", len(finished), len(keys))
    return Evidence(seeds, reasons, _intervals(seeds))


def users_of(run: Run) -> Users | None:
    """What a run's files hold of each user."""
    return read_users(run.folder, run.result.threshold, config_of(run.folder))


def _of_run(run: Run, users: Users | None, key: str) -> Evaluated | str:
    stated = run.result.test.get(key)
    if stated is None:
        return "undefined or not measured"
    if directions.declared(key) is None:
        return "no metric of this name is declared here"
    if users is None:
        return "no users.csv"
    return evaluated(users, key, stated) or "the run's files do not give back what result.json states"


def _intervals(seeds: Mapping[tuple[str, str], Sequence[Evaluated]]) -> dict[tuple[str, str], Interval]:
    shared = {place: [one.of(shared_users(several)) for one in several] for place, several in seeds.items()}
    shared = {place: several for place, several in shared.items() if len(several[0].users)}
    return {place: _interval(shared[place][0], sampled) for place, sampled in resampled(shared)}


def _interval(one: Evaluated, sampled: Resampled) -> Interval:
    measure = one.measure
    low, high = widened_interval(sampled.drawn, sampled.point, LEVEL, boundary=measure.equal)
    low, high = np.clip([low, high], *measure.bounds)
    reading = _reading(measure.key) if near_boundary(sampled.drawn, sampled.point) else ""
    return _known(low), _known(high), reading


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _reading(key: str) -> str:
    """How to read a figure near its boundary, where noise between groups looks like disparity."""
    return {"lower": "at most", "higher": "at least"}.get(directions.side(key), "")
