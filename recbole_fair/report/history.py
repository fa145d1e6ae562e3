"""Curves of a history: losses, validation figures, group weights and expert shares by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from recbole_fair.rundir.history import read_history

Curve = list[tuple[int, float]]  # epoch, value


def curves(folder: Path) -> Mapping[str, Curve]:
    """A curve for each metric of the history; empty where there is none (closed-form models)."""
    found: dict[str, Curve] = {}
    for epoch, metric, value in read_history(folder):
        found.setdefault(metric, []).append((epoch, value))
    return found


def by_group(found: Mapping[str, Curve]) -> Mapping[str, Mapping[str, Curve]]:
    """Curves of groups, by what they show: `weight[Action]`, `valid recall@20[gender:F]`.

    An aggregate such as `valid cv@20[pop]` names a grouping, not a group, and has no part in it.
    """
    shown: dict[str, dict[str, Curve]] = {}
    for name, curve in found.items():
        quantity, bracket, group = name.removesuffix("]").partition("[")
        if bracket and (":" in group or not name.startswith("valid ")):
            shown.setdefault(quantity.strip(), {})[group] = curve
    return {quantity: groups for quantity, groups in shown.items() if len(groups) > 1}


def experts(found: Mapping[str, Curve]) -> Mapping[str, Curve]:
    """Shares of experts by epoch, under the experts' names."""
    return {name.removeprefix("expert").strip(): curve for name, curve in found.items() if name.startswith("expert")}
