"""A figure of one run, evaluated anew on the users that its files hold: by the metric that the run was judged by.

It stands here only if it comes out as result.json states it: what cannot be evaluated so is not tested.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recbole_fair.metrics import directions
from recbole_fair.metrics.formulas import FloatArray, present_mean
from recbole_fair.metrics.intervals import Bounds, Resampling, drawn, intervals
from recbole_fair.metrics.key import MetricKey
from recbole_fair.metrics.metric import Figure, Measure
from recbole_fair.report.runs import config_of
from recbole_fair.report.users import StrArray, Users, read_users
from recbole_fair.rundir.result import Result

LEVEL, SAMPLES, SEED = 0.95, 1000, 2020  # of the resampling: the same report comes out each time
_TOLERANCE = 1e-6
Place = TypeVar("Place", bound=Hashable)


@dataclass(frozen=True)
class Evaluated:
    """A measure and what it reads of each user."""

    users: StrArray  # [U]
    measure: Measure
    blocks: Mapping[Figure, Any]

    @property
    def value(self) -> float:
        """The figure over all users."""
        return float(self.measure.of({figure: block.value() for figure, block in self.blocks.items()}))

    def of(self, users: StrArray) -> Evaluated:
        """The same for some of the users."""
        if np.array_equal(users, self.users):
            return self
        rows = np.searchsorted(self.users, users)
        return Evaluated(users, self.measure, {figure: block.of(rows) for figure, block in self.blocks.items()})


def evaluated(users: Users, key: str, stated: float) -> Evaluated | None:
    """The figure behind a key, None if the run's files do not give what it states."""
    metric = directions.declared(key)
    if metric is None:
        return None
    if not metric.reads:
        made = _of_probe(users, MetricKey.parse(key))
    else:
        measure = next((one for one in metric.measures(users.table) if one.key == key), None)
        made = None if measure is None else _of_table(users, measure)
    return made if made is not None and np.isclose(made.value, stated, rtol=_TOLERANCE, atol=1e-12) else None


def _of_table(users: Users, measure: Measure) -> Evaluated | None:
    if not all(users.holds(figure) for figure in measure.blocks):
        return None
    return Evaluated(users.ids, measure, {figure: users.table.terms(*figure) for figure in measure.blocks})


def _of_probe(users: Users, key: MetricKey) -> Evaluated | None:
    reading = key.name.lower().removeprefix("attr_auc").removeprefix("_")
    figure, folds = Figure(key.name, key.grouping), users.attack(key.grouping, reading)
    if folds is None:
        return None
    measure = Measure(str(key), (figure,), lambda areas: areas[..., 0], bounds=(0.0, 1.0))
    return Evaluated(users.ids, measure, {figure: folds})


def recomputed(folder: Path, how: Resampling) -> dict[str, Bounds]:
    """Bounds by key at another level, by another method or from more samples; None for a figure the files do not give.

    One resampling serves all figures, and users are drawn in the order of their ids, so that bounds agree with those
    of the run itself within the noise of resampling.
    """
    result = Result.read(folder)
    users = read_users(folder, result.threshold, config_of(folder))
    stated = {key: value for key, value in result.test.items() if value is not None and users is not None}
    made = {key: one for key, value in stated.items() if users and (one := evaluated(users, key, value)) is not None}
    blocks = {figure: block for one in made.values() for figure, block in one.blocks.items()}
    anew = intervals(blocks, [one.measure for one in made.values()], len(users.ids) if users else 0, how)
    return {key: anew.bounds.get(key) for key in result.test}


def shared_users(several: Iterable[Evaluated]) -> StrArray:
    """The users that all of them have."""
    first, *others = several
    ids = first.users
    for other in others:
        ids = ids if np.array_equal(ids, other.users) else np.intersect1d(ids, other.users)
    return ids


@dataclass(frozen=True)
class Resampled:
    """A figure of several seeds and of resamplings of their users."""

    seeds: FloatArray  # [N]
    draws: FloatArray  # [S, N]

    @property
    def point(self) -> FloatArray:
        """The mean over seeds: what a table's cell shows."""
        return present_mean(self.seeds)

    @property
    def drawn(self) -> FloatArray:
        """[S] of means over seeds."""
        return present_mean(self.draws)


def resampled(several: Mapping[Place, Sequence[Evaluated]]) -> Iterator[tuple[Place, Resampled]]:
    """The seeds of each place; places whose users are the same are resampled together."""
    batches: dict[bytes, list[Place]] = {}
    for place, seeds in several.items():
        batches.setdefault(seeds[0].users.tobytes(), []).append(place)
    for places in batches.values():
        yield from _together({place: several[place] for place in places})


def _together(several: Mapping[Place, Sequence[Evaluated]]) -> Iterator[tuple[Place, Resampled]]:
    blocks = {
        (id(block), figure): block
        for seeds in several.values() for one in seeds for figure, block in one.blocks.items()
    }  # fmt: skip
    users = len(next(iter(several.values()))[0].users)
    draws = drawn(blocks, users, Resampling(LEVEL, SAMPLES, SEED))
    for place, seeds in several.items():
        figures = [
            one.measure.of({figure: draws[id(block), figure] for figure, block in one.blocks.items()}) for one in seeds
        ]
        yield place, Resampled(np.array([one.value for one in seeds]), np.stack(figures, axis=-1))
