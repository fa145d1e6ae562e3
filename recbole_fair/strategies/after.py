"""Strategies that work after training: several settings are judged on validation, the fairest within a budget is kept.

The model itself stays as it is. frontier.csv holds every setting, judged on both parts; the setting is chosen before
the test figures are computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_fair.errors import UsageError
from recbole_fair.strategies.base import Strategy, TrainingView


@dataclass(frozen=True)
class Point:
    """A setting and what it does to one judged part."""

    setting: tuple[float, ...]  # [S]
    accuracy: float
    utilities: tuple[float, ...]  # [G]
    cv: float
    minimum: float


Judge = Callable[[Tensor], Point]  # a setting -> what it does


def fairest_within(points: Sequence[Point], budget: float, aim: str) -> int:
    """The place of the fairest point that keeps `budget` of the accuracy of the first, where nothing is changed.

    A point without a CV (no group has a hit) is chosen only where no point has one.
    """
    enough = [place for place, point in enumerate(points) if point.accuracy >= budget * points[0].accuracy]
    if aim == "min":
        return max(enough, key=lambda place: points[place].minimum)
    return min(enough, key=lambda place: (math.isnan(points[place].cv), points[place].cv))


class AfterTraining(Strategy):
    """`fit` is called instead of training; a method says which settings there are and what each does."""

    after_training = True
    aim_key: str  # of the configuration: what is made best within the budget

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        groups, name = view.groups, type(self).__name__
        if groups.user.shape[1] > 1:
            raise UsageError(
                f"fair_group={groups.field}: {name} moves items; name an item grouping, such as pop or genre"
            )
        if self.config["eval_protocol"] == "labeled":
            raise UsageError(f"eval_protocol=labeled: {name} is fitted to rankings; it does nothing to yes/no answers")
        if not self.config["valid_metric_bigger"] or "[" in self.config["valid_metric"]:
            raise UsageError(
                f"valid_metric={self.config['valid_metric']}: {name} keeps a share of an accuracy; name one (NDCG@20)"
            )
        self.names = groups.names
        self.membership = torch.from_numpy(groups.item[:, groups.columns]).float()  # [I, G]
        self.fitted_on = 1.0  # share of the batches of validation users

    def settings(self) -> list[str]:
        """What the numbers of a setting are called."""
        raise NotImplementedError

    def rescored(self, scores: Tensor, setting: Tensor, scale: float) -> Tensor:
        """[B, I] scores under a setting; `scale` is the spread of the scores of the part that is fitted to."""
        raise NotImplementedError

    def points(self, judge: Judge) -> list[Point]:
        """What is tried on validation, the model as it is first."""
        raise NotImplementedError

    def keep(self, model: Any, setting: Tensor, scale: float) -> None:
        """Leave a setting in the model."""
        raise NotImplementedError

    def notes_after(self) -> list[str]:
        """Whether the frontier is that of some users only."""
        if self.fitted_on == 1:
            return []
        name = type(self).__name__
        return [
            f"{name} was fitted to, and frontier.csv is of, {self.fitted_on:.0%} of the users: more do not fit at once"
        ]

    def fit(self, model: Any, scores_of: Callable[[str], Any]) -> list[list[Any]]:
        """Choose on validation and leave the choice in the model; all that was tried, judged on both parts."""
        valid = scores_of("valid")
        points = self.points(valid.judge)
        chosen = fairest_within(points, float(self.config["ndcg_budget"]), self.config[self.aim_key])
        self.fitted_on = valid.share
        valid.batches.clear()  # before as much is needed for the test
        test = scores_of("test")
        others = [test.judge(torch.tensor(point.setting), valid.scale) for point in points]
        self.keep(model, torch.tensor(points[chosen].setting), valid.scale)
        return [list(row) for row in self._frontier(points, others, chosen)]

    def _frontier(self, valid: Sequence[Point], test: Sequence[Point], chosen: int) -> Iterator[Sequence[Any]]:
        """A row a setting."""
        figures = [f"{part} {figure}" for part in ("valid", "test") for figure in ("accuracy", "cv", "min")]
        yield ["step", "chosen", *figures, *self.settings()]
        for step, pair in enumerate(zip(valid, test, strict=True)):
            values = [figure for point in pair for figure in (point.accuracy, point.cv, point.minimum)]
            yield [step, int(step == chosen), *values, *pair[0].setting]
