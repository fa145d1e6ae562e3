"""Figures per user from one evaluation: what users.csv, group means and paired tests need."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recbole_fair.groups import Groups
from recbole_fair.host import Collector, DataStruct, Evaluator

Column = npt.NDArray[np.float64]


@dataclass(frozen=True)
class UserFigures:
    """One row a judged user, in the loader's order.

    `metrics` holds the additive metrics (their mean over users is the figure of result.json); `hits` and `relevant`
    count, for each item group "field:name", the user's hits in the top K and test items in that group.
    """

    users: npt.NDArray[np.int64]  # [U]
    lists: npt.NDArray[np.int64]  # [U, K] recommended item ids, best first
    scores: npt.NDArray[np.float64]  # [U, K]
    metrics: dict[str, Column]
    hits: dict[str, Column]
    relevant: dict[str, Column]


class FullCollector(Collector):
    """The host's collector with one top-K pass that also keeps lists and their scores.

    The host sorts once for each need, and fails on needs that are no tensors (trap 23: counts and counters).
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        for done_here in ("rec.items", "rec.topk"):
            setattr(self.register, done_here, False)

    def eval_batch_collect(
        self, scores_tensor: torch.Tensor, interaction: Any, positive_u: torch.Tensor, positive_i: torch.Tensor
    ) -> None:
        """Collect one batch of users: scores [B, I], positives as (row, item) pairs."""
        values, lists = torch.topk(scores_tensor, max(self.topk), dim=-1)
        positive = torch.zeros_like(scores_tensor, dtype=torch.bool)
        positive[positive_u, positive_i] = True
        table = torch.cat([positive.gather(1, lists), positive.sum(1, keepdim=True)], dim=1)
        for name, value in (("rec.items", lists), ("rec.scores", values), ("rec.topk", table)):
            self.data_struct.update_tensor(name, value)
        super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)

    def get_data_struct(self) -> DataStruct:
        """Hand over what was collected and forget what belongs to this evaluation."""
        collected = DataStruct()
        for name, value in list(self.data_struct._data_dict.items()):
            collected.set(name, value.cpu() if isinstance(value, torch.Tensor) else value)
            if name.startswith("rec.") or name == "data.label":
                del self.data_struct[name]
        return collected


class KeepingEvaluator(Evaluator):
    """The host's evaluator, which keeps what it judged for figures per user."""

    judged: DataStruct | None = None

    def evaluate(self, dataobject: DataStruct) -> dict[str, float]:
        """The host's figures as plain floats."""
        self.judged = dataobject
        return {name: float(value) for name, value in super().evaluate(dataobject).items()}


def user_figures(evaluator: KeepingEvaluator, loader: Any, topk: list[int], item_groups: list[Groups]) -> UserFigures:
    """Split the latest evaluation by user."""
    assert evaluator.judged is not None
    lists, scores = (evaluator.judged.get(name).numpy() for name in ("rec.items", "rec.scores"))
    hit, relevant_count = _hits(evaluator.judged, max(topk))
    metrics = {}
    for name, metric in evaluator.metric_class.items():
        by_user = _by_user(metric, hit, relevant_count)
        metrics.update({f"{name}@{k}": by_user[:, k - 1] for k in topk} if by_user is not None else {})
    users = loader.uid_list.numpy()
    hits, relevant = {}, {}
    for groups in item_groups:
        member = groups.membership[lists] & hit[:, :, None]  # [U, K, G]
        for k in topk:
            for place, name in enumerate(groups.names):
                hits[f"{groups.field}:{name}@{k}"] = member[:, :k, place].sum(1).astype(float)
        counts = np.stack([groups.membership[loader.uid2positive_item[user].numpy()].sum(0) for user in users])
        relevant.update({f"{groups.field}:{name}": counts[:, g].astype(float) for g, name in enumerate(groups.names)})
    return UserFigures(users, lists, scores, metrics, hits, relevant)


def _hits(judged: DataStruct, width: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    table = judged.get("rec.topk").numpy()
    return table[:, :width].astype(bool), table[:, width]


def _by_user(metric: Any, hit: npt.NDArray[np.bool_], relevant: npt.NDArray[np.int64]) -> Column | None:
    """[U, K] of a host metric; None for one that is no mean over users, such as coverage."""
    if metric.metric_need != ["rec.topk"]:
        return None
    lengths = {"pos_len": relevant} if "pos_len" in signature(metric.metric_info).parameters else {}
    return np.asarray(metric.metric_info(hit, **lengths), dtype=float)
