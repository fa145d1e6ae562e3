"""The intervals of a finished run at another level, by another method or from more samples, from its files alone."""

from __future__ import annotations

from pathlib import Path

from recbole_fair.metrics.intervals import Bounds, Resampling, intervals
from recbole_fair.report.runs import config_of
from recbole_fair.report.statistics.evaluated import evaluated
from recbole_fair.report.users import read_users
from recbole_fair.rundir.result import Result


def recomputed(folder: Path, how: Resampling) -> dict[str, Bounds]:
    """Bounds by key, as the run itself would state them; None for a figure that its files do not give.

    One resampling serves all figures, and users are drawn in the order of their ids, so that bounds agree with those
    of the run itself within the noise of resampling.
    """
    result = Result.read(folder)
    users = read_users(folder, result.threshold, config_of(folder))
    stated = {key: value for key, value in result.test.items() if value is not None and users is not None}
    made = {key: one for key, value in stated.items() if users and (one := evaluated(users, key, value)) is not None}
    blocks = {figure: block for one in made.values() for figure, block in one.blocks.items()}
    found = intervals(blocks, [one.measure for one in made.values()], len(users.ids) if users else 0, how)
    return {key: found.bounds.get(key) for key in result.test}
