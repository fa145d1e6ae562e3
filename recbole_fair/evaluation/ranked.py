"""What the host's evaluation loop hands to metrics: lists, hits and counts by group, in one pass on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_fair.errors import TrainingError
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.variants import NONE, Variant
from recbole_fair.host import Collector, Dataset, DataStruct, Evaluator
from recbole_fair.metrics.asked import Asked, JudgedLists, of_table
from recbole_fair.metrics.declared import variants
from recbole_fair.metrics.formulas import IntArray
from recbole_fair.metrics.metric import AGAIN, GIVEN, Metric
from recbole_fair.metrics.stability import PromptedLists
from recbole_fair.settings import host_metrics

_HOST_KEYS = ("rec.items", "rec.topk")
_PROMPTED = "prompted."  # before the name of a variant, or "again"


class FullCollector(Collector):
    """The host's collector with one top-K pass, and the work by item group done once a batch for all metrics.

    The host sorts once for each need, concatenates after every batch, and fails on needs that are no tensors (trap 23:
    counts and counters).
    """

    depth = 0  # how many items of a list are gathered where it is more than the largest K
    training: Dataset  # the training part as it was split; a sequential model's loader holds its rows in another form

    def __init__(self, config: Any, item_groups: Sequence[Groups] = ()) -> None:
        super().__init__(config)
        for done_here in _HOST_KEYS:
            setattr(self.register, done_here, False)
        self.item_groups = item_groups
        self.member = GroupCounter(item_groups, self.device) if item_groups else None
        self.batches: dict[str, list[Tensor]] = {}

    def data_collect(self, _: Any) -> None:
        """What coverage and popularity metrics read of the training part: the same for every kind of model."""
        super().data_collect(SimpleNamespace(dataset=self.training))

    def eval_batch_collect(
        self, scores_tensor: Tensor, interaction: Any, positive_u: Tensor, positive_i: Tensor
    ) -> None:
        """Collect one batch of users: scores [B, I], positives as (row, item) pairs."""
        depth = max(*self.topk, min(self.depth, scores_tensor.shape[1] - 1))
        values, lists = torch.topk(scores_tensor, depth, dim=-1)  # [B, K]
        refuse_nonsense(values)
        positive = torch.zeros_like(scores_tensor, dtype=torch.bool)
        positive[positive_u, positive_i] = True
        listed = values > -torch.inf  # -inf: masked, or excluded by the model itself; no place in the list
        hit = positive.gather(1, lists) & listed
        relevant = _row_lengths(positive_u, len(lists)).to(self.device)
        self._keep("rec.items", lists.where(listed, 0))
        self._keep("rec.scores", values)
        self._keep("rec.topk", torch.cat([hit, relevant], dim=1))
        self._keep("data.user", interaction[self.config["USER_ID_FIELD"]])
        if self.member is not None:
            self._collect_groups(self.member, lists, hit, positive_u, positive_i)
            if self.register.need("groups.masked"):
                rows, items = (scores_tensor == -torch.inf).nonzero(as_tuple=True)
                self._keep("groups.masked", self.member.count(rows, items, len(lists)))
        super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)

    def collect_prompted(self, name: str, scores: Tensor) -> None:
        """The lists of a batch under a variant of the prompt, or asked again: scores [B, I]."""
        values, lists = torch.topk(scores, max(self.topk), dim=-1)
        self._keep(f"{_PROMPTED}{name}", lists.where(values > -torch.inf, 0))

    def _collect_groups(
        self, member: GroupCounter, lists: Tensor, hit: Tensor, positive_u: Tensor, positive_i: Tensor
    ) -> None:
        """Counts by group: of hits within each K and of relevant items."""
        self._keep("groups.hits", member.hits(lists, hit, self.topk))
        users, items = positive_u.to(self.device), positive_i.to(self.device)
        self._keep("groups.relevant", member.count(users, items, len(lists)))

    def _keep(self, name: str, value: Tensor) -> None:
        self.batches.setdefault(name, []).append(value.detach())

    def get_data_struct(self) -> DataStruct:
        """Hand over what was collected and forget what belongs to this evaluation."""
        collected = DataStruct()
        for name, parts in self.batches.items():
            collected.set(name, torch.cat(parts).cpu())
        self.batches = {}
        for name, value in list(self.data_struct._data_dict.items()):
            collected.set(name, value.cpu() if isinstance(value, Tensor) else value)
            if name.startswith("rec.") or name == "data.label":
                del self.data_struct[name]
        return collected


def _row_lengths(rows: Tensor, row_count: int) -> Tensor:
    """[B, 1] of how often each row occurs; the loader gives rows in order."""
    return torch.searchsorted(rows, torch.arange(row_count + 1, device=rows.device)).diff()[:, None]


class GroupCounter:
    """Counts items by row and group: few groups an item, so a list of them costs less than a row of the membership."""

    def __init__(self, item_groups: Sequence[Groups], device: torch.device) -> None:
        member = torch.cat([torch.from_numpy(groups.membership) for groups in item_groups], dim=1)  # [I, G]
        self.width = member.shape[1]
        most = max(int(member.sum(dim=1).max()), 1)
        first = member.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]  # [I, M]
        self.groups_of = first.where(member.gather(1, first), self.width).to(device)  # `width` stands for none

    def hits(self, lists: Tensor, hit: Tensor, topk: Sequence[int]) -> Tensor:
        """[B, T, G] of hits within each K."""
        rows, ranks = hit.nonzero(as_tuple=True)  # hits are few, so they alone are looked up
        items = lists[rows, ranks]
        return torch.stack([self.count(rows[ranks < k], items[ranks < k], len(lists)) for k in topk], dim=1)

    def count(self, rows: Tensor, items: Tensor, row_count: int) -> Tensor:
        """[B, G] of how often each row holds an item of each group."""
        cells = rows[:, None] * (self.width + 1) + self.groups_of[items]
        counts = torch.bincount(cells.flatten(), minlength=row_count * (self.width + 1))
        return counts.view(row_count, -1)[:, : self.width]


def refuse_nonsense(best: Tensor) -> None:
    """NaN sorts above every number, so the best K of a row show both it and +inf; -inf only marks excluded items."""
    if not (best < torch.inf).all():
        raise TrainingError("evaluation: the model's scores contain NaN or infinity, so its lists mean nothing")


class KeepingEvaluator(Evaluator):
    """The host's evaluator over one table of users, which it keeps for groups, intervals and files."""

    table: Any  # of what was judged last: RankingTable or AnswerTable

    def __init__(self, config: Any, item_groups: Sequence[Groups] = (), user_groups: Sequence[Groups] = ()) -> None:
        super().__init__(config)
        reading = {name: metric for name in self.metrics if (metric := of_table(name))}
        self.metric_class |= {name: host_metrics.class_of(metric)(config) for name, metric in reading.items()}
        self.asked = Asked(config, list(reading.values()), item_groups, user_groups)

    @property
    def declared(self) -> list[Metric]:
        """The metrics that read the table of users."""
        return self.asked.metrics

    @property
    def variants(self) -> list[Variant]:
        """The variants of a prompt under which metrics compare lists, the one without attributes among them."""
        asking = [metric for metric in self.declared if any(read.prompt in (GIVEN, AGAIN) for read in metric.figures)]
        by_users = [groups for groups in self.asked.groups.values() if groups.kind == "user"]
        return sorted({NONE, *variants(asking, by_users)}) if asking else []

    @property
    def asks_again(self) -> bool:
        """Whether a metric compares two passes under NONE, the second in other batches."""
        return any(read.prompt == AGAIN for metric in self.declared for read in metric.figures)

    def learn(self, users: IntArray, items: IntArray, item_count: int) -> None:
        """What a metric needs of the training interactions."""
        self.asked.learn(users, items, item_count)

    def evaluate(self, dataobject: DataStruct) -> dict[str, float]:
        """The host's figures as plain floats; every metric of ours reads the table."""
        self.table = self._table(dataobject)
        dataobject.set("table", self.table)
        return {name: float(value) for name, value in super().evaluate(dataobject).items()}

    def followed(self) -> dict[str, float]:
        """Of each item group the utility at the largest K: what is watched from epoch to epoch."""
        figure = f"recall@{max(self.config['topk'])}"
        return {
            f"{figure}[{groups.field}:{name}]": float(value)
            for groups in (self.asked.item_groups if figure in self.table.figures("item") else ())
            for name, value in zip(groups.names, self.table.terms(figure, groups.field).value(), strict=True)
        }

    def collapse(self, base: Mapping[str, float | None]) -> str | None:
        """Why the figures of the latest evaluation say nothing of fairness: scores that tell no items apart.

        `base` holds the test figures of the run that the model stands on; none where there is no such run.
        """
        scores, listed = self.table.scores, self.table.lists > 0
        lowest = np.where(listed, scores, np.inf).min(axis=1)
        highest = np.where(listed, scores, -np.inf).max(axis=1)
        several = listed.sum(axis=1) > 1
        if not several.any() or (lowest < highest)[several].any():
            return None
        return "collapsed: every item of a user's list has the same score, so the lists show the order of item ids"

    def _table(self, judged: DataStruct) -> Any:
        found = judged.get("rec.topk").numpy()
        counted = [name for name in ("hits", "relevant", "masked") if f"groups.{name}" in judged]
        return self.asked.table(
            JudgedLists(
                users=judged.get("data.user").numpy(),
                lists=judged.get("rec.items").numpy(),
                scores=judged.get("rec.scores").numpy(),
                hit=found[:, :-1].astype(bool),
                relevant=found[:, -1],
                counts={name: judged.get(f"groups.{name}").numpy() for name in counted},
                prompted=_prompted(judged),
            )
        )


def _prompted(judged: DataStruct) -> PromptedLists | None:
    """The lists under each variant that a model with prompts was asked with."""
    names = [name.removeprefix(_PROMPTED) for name in judged._data_dict if name.startswith(_PROMPTED)]
    lists = {name: judged.get(f"{_PROMPTED}{name}").numpy() for name in names}
    again = lists.pop("again", None)
    by_variant = {Variant.parse(name): listed for name, listed in lists.items()}
    return PromptedLists(by_variant[NONE], by_variant, again) if by_variant else None
