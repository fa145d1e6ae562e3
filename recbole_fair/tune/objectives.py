"""What a search wants: validation figures to be large or small, and a limit on one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from recbole_fair.errors import UsageError
from recbole_fair.metrics import directions
from recbole_fair.settings import figures

if TYPE_CHECKING:
    from recbole_fair.settings.config import Config

Objectives = Mapping[str, str]  # figure -> "max" or "min", in the order of their importance

_NUMBER = r"[0-9]+(?:\.[0-9]*)?(?:[eE]-?[0-9]+)?|\.[0-9]+"
_LIMIT = re.compile(rf"\s*(?P<metric>\S+)\s*(?P<sign>>=|<=)\s*(?P<number>{_NUMBER})(?P<best>\s*\*\s*best)?\s*")
_SIGNS = {"max": ">=", "min": "<="}


def parse(wanted: Any, config: Config) -> Objectives:
    """`{ndcg@20: max, "cv@20[pop]": min}`; without any, the figure that training is stopped by."""
    if wanted is None:
        return {judged_by(config): direction(config)}
    example = "as in --objectives='{ndcg@20: max, \"cv@20[pop]\": min}'"
    if not isinstance(wanted, dict) or not wanted:
        raise UsageError(f"objectives={wanted!r}: figures and their direction, {example}")
    for metric, mode in wanted.items():
        if not isinstance(mode, str) or mode not in _SIGNS:
            raise UsageError(f"objectives: {metric}: {mode!r} is no direction; max or min, {example}")
        best = directions.best(str(metric))
        if mode == ("min" if best == inf else "max" if best in (0.0, -inf) else ""):
            raise UsageError(f"objectives: {metric}: {mode} would choose the worst; {directions.wish(str(metric))}")
    return {figures.key_of(str(metric)): mode for metric, mode in wanted.items()}


def judged_by(config: Config) -> str:
    """The figure that every epoch is judged by, as results spell it."""
    return figures.key_of(str(config["valid_metric"]))


def direction(config: Config) -> str:
    """Whether the judged figure is to be large or small."""
    return "max" if config["valid_metric_bigger"] else "min"


@dataclass(frozen=True)
class Limit:
    """`ndcg@20 >= 0.98 * best`: how much of one figure may be given up for the others."""

    metric: str
    sign: str
    number: float
    relative: bool

    def bound(self, best: float) -> float:
        """The figure itself at the limit."""
        return self.number * best if self.relative else self.number

    def holds(self, value: float, best: float) -> bool:
        """Whether a figure is within the limit, where `best` is the best of all trials."""
        return value >= self.bound(best) if self.sign == ">=" else value <= self.bound(best)

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.number:g}{' * best' if self.relative else ''}"


def parse_limit(text: Any, objectives: Objectives) -> Limit | None:
    """Read `constraint` by its grammar, FIGURE >=|<= NUMBER [* best]; nothing is evaluated."""
    if text is None:
        return None
    parts = _LIMIT.fullmatch(str(text))
    if not parts:
        raise UsageError(
            f"constraint={text!r}: FIGURE >= NUMBER or FIGURE >= NUMBER * best, as in ndcg@20 >= 0.98 * best"
        )
    metric, sign = figures.key_of(parts["metric"]), parts["sign"]
    if metric not in objectives or len(objectives) < 2:
        raise UsageError(f"constraint={text!r}: limits one of several objectives, which are {', '.join(objectives)}")
    if sign != _SIGNS[objectives[metric]]:
        raise UsageError(
            f"constraint={text!r}: {metric} is to be {objectives[metric]}, so its limit is {_SIGNS[objectives[metric]]}"
        )
    return Limit(metric, sign, float(parts["number"]), parts["best"] is not None)
