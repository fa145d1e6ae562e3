"""What the users of each row say: intervals over users, and why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recbole_fair.metrics import directions
from recbole_fair.metrics.bootstrap import Aggregate, FloatArray, near_boundary, ratio_samples, widened_interval
from recbole_fair.report.rows import Row
from recbole_fair.report.runs import Run
from recbole_fair.report.statistics.sums import Sums, seeds_side_by_side, shared_users, sums
from recbole_fair.report.users import Users, read_users

SEED = 2020  # of the resampling: the same report comes out each time
SAMPLES = 1000
_BOUNDARY = {"ratio": 1.0, "min": np.nan}
Interval = tuple[float | None, float | None, str]  # low, high, and "at most" or "at least" or nothing


@dataclass(frozen=True)
class Evidence:
    """Per row and metric: the sums of each seed, or the reason why there are none; and intervals made of them."""

    seeds: Mapping[tuple[str, str], Sequence[Sums]]
    reasons: Mapping[tuple[str, str], str]
    intervals: Mapping[tuple[str, str], Interval]

    def interval(self, label: str, key: str) -> Interval:
        """The 95 % interval over users, and how to read it."""
        return self.intervals.get((label, key), (None, None, ""))


def gather(rows: Iterable[Row], keys: Sequence[str]) -> Evidence:
    """Read the users of every finished run, once."""
    seeds: dict[tuple[str, str], Sequence[Sums]] = {}
    reasons: dict[tuple[str, str], str] = {}
    for row in rows:
        tables = [(run, read_users(run.folder, run.result.threshold)) for run in row.finished]
        for key in keys:
            found = [_of_run(run, users, key) for run, users in tables]
            if refused := [reason for reason in found if isinstance(reason, str)]:
                reasons[row.label, key] = refused[0]
            elif found:
                seeds[row.label, key] = [one for one in found if isinstance(one, Sums)]
    return Evidence(seeds, reasons, _intervals(seeds))


def _of_run(run: Run, users: Users | None, key: str) -> Sums | str:
    stated = run.result.test.get(key)
    if stated is None:
        return "undefined or not measured"
    if users is None:
        return f"no users.csv in {run.name}"
    return sums(users, key, stated) or f"the users of {run.name} do not give result.json's {key}"


def _intervals(seeds: Mapping[tuple[str, str], Sequence[Sums]]) -> dict[tuple[str, str], Interval]:
    pooled = {place: seeds_side_by_side(several, shared_users(several)) for place, several in seeds.items()}
    found: dict[tuple[str, str], Interval] = {}
    for places in same_users(pooled):
        found.update(zip(places, _between(places, [pooled[place] for place in places]), strict=True))
    return found


def same_users(pooled: Mapping[tuple[str, str], Sums]) -> Iterator[list[tuple[str, str]]]:
    """Places whose users are the same: these are resampled together."""
    batches: dict[bytes, list[tuple[str, str]]] = {}
    for place, one in pooled.items():
        batches.setdefault(one.users.tobytes(), []).append(place)
    yield from batches.values()


def stacked(several: Sequence[Sums]) -> tuple[FloatArray, FloatArray, Aggregate]:
    """Sums of the same users as one: all columns, and an aggregate [..., C] -> [..., N] of all figures."""
    numerator, denominator = (
        np.concatenate(side, axis=1) for side in zip(*(one.terms for one in several), strict=True)
    )
    ends = np.cumsum([one.terms.numerator.shape[1] for one in several])[:-1]

    def each(figures: FloatArray) -> FloatArray:
        parts = np.split(figures, ends, axis=-1)
        return np.stack([one.reduce(part) for one, part in zip(several, parts, strict=True)], axis=-1)

    return numerator, denominator, each


def _between(places: Sequence[tuple[str, str]], several: Sequence[Sums]) -> list[Interval]:
    numerator, denominator, each = stacked(several)
    draws = each(ratio_samples(numerator, denominator, samples=SAMPLES, seed=SEED))
    point = np.array([one.value for one in several])
    low, high = widened_interval(draws, point, boundary=[_boundary(key) for _, key in places])
    readings = [_reading(key, near) for (_, key), near in zip(places, near_boundary(draws, point), strict=True)]
    return [(_known(least), _known(most), reading) for least, most, reading in zip(low, high, readings, strict=True)]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _boundary(key: str) -> float:
    """The value of equal groups: 0 of a disparity, 1 of a ratio; a mean has none."""
    name = directions.name_of(key).partition("_")[0]
    return _BOUNDARY.get(name, 0.0 if directions.smaller(key) else np.nan)


def _reading(key: str, near: bool) -> str:
    """How to read a figure near its boundary, where noise between groups looks like disparity."""
    if not near:
        return ""
    return "at most" if directions.smaller(key) else "at least"
