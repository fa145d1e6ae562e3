"""A model whose scores are known in advance, so that every figure of a run can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recbole_fair import registry, run
from recbole_fair.host import GeneralRecommender, InputType, Interaction
from recbole_fair.rundir.result import Result

Rule = Callable[[str, str, int], float]  # user, item, steps of training done -> score


class Planted(GeneralRecommender):
    """Scores are `rule` of raw ids; each training step adds 1 to `steps` (with learner sgd and learning_rate 1)."""

    input_type = InputType.POINTWISE
    rule: ClassVar[Rule]

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.steps = nn.Parameter(torch.zeros(()))
        self.users, self.items = (
            dataset.field2id_token[name].tolist() for name in (dataset.uid_field, dataset.iid_field)
        )

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Its gradient is -1 everywhere."""
        return 1000 - self.steps

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of the given pairs."""
        return self._scores(interaction[self.USER_ID]).gather(1, interaction[self.ITEM_ID][:, None])[:, 0]

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of the given users with all items."""
        return self._scores(interaction[self.USER_ID]).view(-1)

    def _scores(self, users: Tensor) -> Tensor:
        rule, done = type(self).rule, round(self.steps.item())
        return torch.tensor([[rule(self.users[user], item, done) for item in self.items] for user in users.tolist()])


# Keys under which a run takes one step an epoch and draws no negatives.
PLANTED: dict[str, Any] = {
    "epochs": 0,
    "learner": "sgd",
    "learning_rate": 1.0,
    "train_batch_size": 100_000,
    "train_neg_sample_args": None,
}

if "Planted" not in registry.MODELS:
    registry.add(registry.Row("Planted", "planted:Planted", family="host", cite="Pop"))


def run_planted(toy: Callable[..., dict[str, Any]], rule: Rule, **more: Any) -> Result:
    """A run on the toy data with the scores of `rule`, untrained unless `epochs` is given."""
    Planted.rule = staticmethod(rule)
    return run(**toy("Planted", **{**PLANTED, **more}))
