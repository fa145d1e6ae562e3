"""Offset: a score offset for each item group, fitted on validation after training; the model itself stays as it is.

    score'(u, i) = score(u, i) + sum of o_g over the groups g of item i

Symbols: o_g the offset of group g in units of the scores' standard deviation, U_g its utility (BiFair, Eq. 1) on
validation, U the mean of the U_g. Not from the papers: the control row that a trained method has to beat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from recbole_fair.strategies.after import AfterTraining, Judge, Point


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


class Offset(AfterTraining):
    """One offset a group, fitted on validation and added to what a trained model scores."""

    aim_key = "offset_aim"

    def prepare(self, model: Any) -> None:
        """Give the model a buffer of item offsets, which its scores take in; it is stored with the weights."""
        model.register_buffer("item_offset", torch.zeros(len(self.membership), device=self.device))
        _shift(model, "full_sort_predict", lambda scores, _: scores.view(-1, len(self.membership)) + model.item_offset)
        _shift(model, "predict", lambda scores, batch: scores + model.item_offset[batch[model.ITEM_ID]])

    def settings(self) -> list[str]:
        """The names of the offsets, one a group."""
        return [f"offset[{name}]" for name in self.names]

    def points(self, judge: Judge) -> list[Point]:
        """The points of `path`, from no offsets towards equal utilities."""
        return path(judge, len(self.names), int(self.config["offset_steps"]), float(self.config["offset_rate"]))

    def rescored(self, scores: Tensor, setting: Tensor, scale: float) -> Tensor:
        """The scores with each item's offset added."""
        return scores + self._by_item(setting, scale).to(scores.device)

    def keep(self, model: Any, setting: Tensor, scale: float) -> None:
        """Put the offsets into the model's buffer."""
        model.item_offset.copy_(self._by_item(setting, scale))

    def _by_item(self, offsets: Tensor, scale: float) -> Tensor:
        """[I] of what each item's score is shifted by."""
        return self.membership @ offsets * scale


def _shift(model: Any, name: str, shifted: Callable[[Tensor, Any], Tensor]) -> None:
    scores = getattr(model, name)
    setattr(model, name, lambda batch: shifted(scores(batch), batch))
