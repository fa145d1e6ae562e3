"""Judging many settings of a strategy that works after training: the model is asked once, its scores are kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recbole_fair.evaluation.ranked import FullCollector, KeepingEvaluator
from recbole_fair.groups.membership import Groups
from recbole_fair.metrics import formulas
from recbole_fair.metrics.key import MetricKey
from recbole_fair.settings import figures as settings
from recbole_fair.settings.config import Config
from recbole_fair.strategies.after import Point
from recbole_fair.training.trainer import FairTrainer

_CELLS = 1 << 28  # scores held at once, 1 GiB; of more users every n-th batch is kept


class Rescored:
    """The scores of one judged part, and what any setting would make of them."""

    @torch.no_grad()
    def __init__(self, config: Config, trainer: FairTrainer, loader: Any, strategy: Any) -> None:
        groups = Groups("item", strategy.view.groups.field, strategy.names, strategy.membership.bool().numpy())
        plain = config.replaced(metrics=[MetricKey.parse(config["valid_metric"]).name])
        self.collector = strategy.collector(FullCollector, plain, [groups])
        self.evaluator = KeepingEvaluator(plain, [groups])
        self.strategy, self.field = strategy, groups.field
        self.metric, self.utility = settings.key_of(config["valid_metric"]), config["group_utility"]
        self.k = max(config["topk"])
        trainer.model.eval()
        trainer.tot_item_num = loader._dataset.item_num
        trainer.item_tensor = loader._dataset.get_item_feature().to(trainer.device)
        every = 1 + len(loader.uid_list) * trainer.tot_item_num // _CELLS
        sampled = (batch for place, batch in enumerate(loader) if place % every == 0)
        self.batches = [trainer.scores(batch) for batch in sampled]
        self.share = len(self.batches) / len(loader)
        self.scale = self._spread()

    def _spread(self) -> float:
        """Median over users of the standard deviation of their scores."""
        spreads = [row[row.isfinite()].std() for _, scores, _, _ in self.batches for row in scores]
        return float(torch.stack(spreads).median())

    @torch.no_grad()
    def judge(self, setting: Tensor, scale: float | None = None) -> Point:
        """Accuracy and utilities under a setting; `scale` is the spread of other scores than these."""
        for interaction, scores, positive_u, positive_i in self.batches:
            rescored = self.strategy.rescored(scores, setting, self.scale if scale is None else scale)
            self.collector.eval_batch_collect(rescored, interaction, positive_u, positive_i)
        figures = self.evaluator.evaluate(self.collector.get_data_struct())
        utilities = self.evaluator.table.terms(f"{self.utility}@{self.k}", self.field).value()
        cv, minimum = float(formulas.cv(utilities)), float(formulas.minimum(utilities))
        return Point(tuple(setting.tolist()), figures[self.metric], tuple(map(float, utilities)), cv, minimum)
