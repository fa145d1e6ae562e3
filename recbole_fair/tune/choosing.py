"""Which trial to take: the best one, or a point of the Pareto front, and why. Figures are of validation only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recbole_fair.metrics.formulas import FloatArray
from recbole_fair.tune.objectives import Limit, Objectives

Figures = Sequence[Mapping[str, float]]  # of each trial, all objectives


@dataclass(frozen=True)
class Selection:
    """The front and the chosen trial by their places; `chosen` is None where no trial is within the limit."""

    front: tuple[int, ...]
    chosen: int | None
    why: str


def pareto_front(gains: FloatArray) -> npt.NDArray[np.bool_]:
    """Which rows of `gains` [T, O] (larger is better) no other row beats: at least as good in all, better in one."""
    as_good = (gains[:, None, :] >= gains[None, :, :]).all(axis=2)  # [T, T]: row beats column
    better = (gains[:, None, :] > gains[None, :, :]).any(axis=2)
    return ~(as_good & better).any(axis=0)


def choose(figures: Figures, objectives: Objectives, limit: Limit | None = None) -> Selection:
    """One objective: its best trial. Several: by the limit, else the point of the front nearest to the ideal."""
    gains = _gains(figures, objectives)
    front = tuple(np.flatnonzero(pareto_front(gains)).tolist())
    if len(objectives) == 1:
        best = int(gains[:, 0].argmax())
        return Selection(
            front, best, f"{_shown(figures[best], objectives)} is the best of {_counted(len(figures), 'trial')}"
        )
    return (
        _nearest_to_ideal(figures, objectives, gains, front)
        if limit is None
        else _under(limit, figures, objectives, gains, front)
    )


def _gains(figures: Figures, objectives: Objectives) -> FloatArray:
    """[T, O], larger is better."""
    signs = [1.0 if mode == "max" else -1.0 for mode in objectives.values()]
    return np.array([[row[metric] for metric in objectives] for row in figures]) * signs


def _nearest_to_ideal(figures: Figures, objectives: Objectives, gains: FloatArray, front: tuple[int, ...]) -> Selection:
    """The point p of the front with the smallest |(g_max - g_p) / (g_max - g_min)|, over the front's own ranges."""
    points = gains[list(front)]  # [F, O]
    low, high = points.min(axis=0), points.max(axis=0)
    missing = (high - points) / np.where(high > low, high - low, 1.0)
    chosen = front[int(np.linalg.norm(missing, axis=1).argmin())]
    why = (
        f"{_shown(figures[chosen], objectives)} is nearest to the best of every objective, each scaled to its range"
        f" over the {_counted(len(front), 'point')} of the front; --constraint says what may be given up instead"
    )
    return Selection(front, chosen, why)


def _under(
    limit: Limit, figures: Figures, objectives: Objectives, gains: FloatArray, front: tuple[int, ...]
) -> Selection:
    """The best by the other objectives, in their order, among the trials within the limit."""
    place = list(objectives).index(limit.metric)
    best = figures[int(gains[:, place].argmax())][limit.metric]
    within = [trial for trial, row in enumerate(figures) if limit.holds(row[limit.metric], best)]
    bound = f"{limit} = {limit.bound(best):.4f}" if limit.relative else str(limit)
    if not within:
        return Selection(front, None, f"no trial has {bound}; its best is {best:.4f}")
    order = [column for column in range(len(objectives)) if column != place] + [place]
    chosen = max(within, key=lambda trial: (*gains[trial, order], -trial))
    why = f"{_shown(figures[chosen], objectives)} is the best of the {_counted(len(within), 'trial')} with {bound}"
    return Selection(front, chosen, why)


def _shown(row: Mapping[str, float], objectives: Objectives) -> str:
    return ", ".join(f"{metric} {row[metric]:.4f}" for metric in objectives)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"
