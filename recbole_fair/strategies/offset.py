"""Offset: a score offset for each item group, fitted on validation after training; the model itself stays as it is.

    score'(u, i) = score(u, i) + sum of o_g over the groups g of item i

Symbols: o_g the offset of group g in units of the scores' standard deviation, U_g its utility (BiFair, Eq. 1) on
validation, U the mean of the U_g. Not from the papers: the control row that a trained method has to beat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_fair.errors import UsageError
from recbole_fair.strategies.base import Strategy, TrainingView


@dataclass(frozen=True)
class Point:
    """One step of the way: offsets, and what they do on validation."""

    offsets: tuple[float, ...]  # [G]
    accuracy: float
    utilities: tuple[float, ...]  # [G]
    cv: float
    minimum: float


Judge = Callable[[Tensor], Point]  # offsets [G] -> what they do


def path(judge: Judge, groups: int, steps: int, rate: float) -> list[Point]:
    """From no offsets on, step by step: o_g <- o_g + rate * (U - U_g) / U.

    What falls short is raised and what stands above is lowered, in proportion. The way leads from the model as it is
    towards equal utilities; with more than two groups it is one path of many.
    """
    points = [judge(torch.zeros(groups))]
    offsets = torch.zeros(groups)
    for _ in range(steps):
        utilities = torch.tensor(points[-1].utilities)
        mean = utilities.nanmean()
        if not mean > 0:
            break
        offsets = offsets + rate * ((mean - utilities) / mean).nan_to_num(nan=0.0)
        points.append(judge(offsets))
    return points


def choose(points: Sequence[Point], budget: float, aim: str) -> int:
    """The place of the fairest point that keeps `budget` of the accuracy without offsets."""
    enough = [place for place, point in enumerate(points) if point.accuracy >= budget * points[0].accuracy]
    if aim == "min":
        return max(enough, key=lambda place: points[place].minimum)
    return min(enough, key=lambda place: points[place].cv)


class Offset(Strategy):
    """Shifts what a trained model says; `fit` is called instead of training."""

    after_training = True

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        groups = view.groups
        if groups.user.shape[1] > 1:
            raise UsageError(
                f"fair_group={groups.field}: Offset shifts items; name an item grouping, such as pop or genre"
            )
        if self.config["eval_protocol"] == "labeled":
            raise UsageError("eval_protocol=labeled: Offset is fitted to rankings; it cannot shift yes/no answers")
        if not self.config["valid_metric_bigger"] or "[" in self.config["valid_metric"]:
            raise UsageError(
                f"valid_metric={self.config['valid_metric']}: Offset keeps a share of an accuracy; name one (NDCG@20)"
            )
        self.names = groups.names
        self.membership = torch.from_numpy(groups.item[:, groups.columns]).float()  # [I, G]
        self.fitted_on = 1.0  # share of the batches of validation users

    def prepare(self, model: Any) -> None:
        """Give the model a buffer of item offsets, which its scores take in; it is stored with the weights."""
        model.register_buffer("item_offset", torch.zeros(len(self.membership), device=self.config["device"]))
        _shift(model, "full_sort_predict", lambda scores, _: scores.view(-1, len(self.membership)) + model.item_offset)
        _shift(model, "predict", lambda scores, batch: scores + model.item_offset[batch[model.ITEM_ID]])

    def notes_after(self) -> list[str]:
        """Whether the frontier is that of some users only."""
        if self.fitted_on == 1:
            return []
        return [
            f"Offset was fitted to, and frontier.csv is of, {self.fitted_on:.0%} of the users: more do not fit at once"
        ]

    def by_item(self, offsets: Tensor, scale: float) -> Tensor:
        """[I] of what each item's score is shifted by."""
        return self.membership @ offsets * scale

    def fit(self, model: Any, scores_of: Callable[[str], Any]) -> list[list[Any]]:
        """Fit the offsets on validation and leave them in the model; the way there, judged on both parts.

        The test figures are for the figure of the frontier: the point is chosen before they are computed.
        """
        valid = scores_of("valid")
        keys = self.config
        points = path(valid.judge, len(self.names), int(keys["offset_steps"]), float(keys["offset_rate"]))
        chosen = choose(points, float(keys["ndcg_budget"]), keys["offset_aim"])
        self.fitted_on = valid.share
        valid.batches.clear()  # before as much is needed for the test
        test = scores_of("test")
        others = [test.judge(torch.tensor(point.offsets), valid.scale) for point in points]
        model.item_offset.copy_(self.by_item(torch.tensor(points[chosen].offsets), valid.scale))
        return [list(row) for row in _frontier(self.names, points, others, chosen)]


def _frontier(
    names: Sequence[str], valid: Sequence[Point], test: Sequence[Point], chosen: int
) -> Iterator[Sequence[Any]]:
    """A row a step."""
    figures = [f"{part} {figure}" for part in ("valid", "test") for figure in ("accuracy", "cv", "min")]
    yield ["step", "chosen", *figures, *(f"offset[{name}]" for name in names)]
    for step, pair in enumerate(zip(valid, test, strict=True)):
        values = [figure for point in pair for figure in (point.accuracy, point.cv, point.minimum)]
        yield [step, int(step == chosen), *values, *pair[0].offsets]


def _shift(model: Any, name: str, shifted: Callable[[Tensor, Any], Tensor]) -> None:
    scores = getattr(model, name)
    setattr(model, name, lambda batch: shifted(scores(batch), batch))
