"""What a fairness strategy is: an object that owns the backward pass of any model's training.

    prepare(model)          before the optimiser is built: what must leave `model.parameters()` leaves it here
    start(batches)          how many batches an epoch has
    backward(model, batch)  compute losses, leave gradients behind, return what to log
    end_epoch(epoch)        once the epoch's batches are done

`GroupStrategy` is the kind that weighs groups: it gets the losses of a batch's samples (samples.py says how) and which
groups each sample is in, and says what is minimised. Samples are (user, positive item) pairs, so groups may be of
items, of users, or of both (`fair_group: gender*genre`, as in ITFR).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recbole_fair.groups.pairs import PairGroups
from recbole_fair.strategies.gradients import flat_gradient, trained
from recbole_fair.strategies.samples import Ids, KeptLoss, Samples, keep_sample_losses

__all__ = ["Batch", "GroupStrategy", "Strategy", "TrainingView", "group_means", "keep_sample_losses", "sample_weights"]

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class TrainingView:
    """What a strategy may know of the data: groups, training interactions, attributes; nothing it is judged by.

    Groups are made when a strategy first asks for them: one that works on attributes needs no `fair_group`.
    """

    config: Any
    make_groups: Callable[[], PairGroups]
    users: Tensor  # [N] of the training interactions
    items: Tensor  # [N]
    times: Tensor | None = None  # [N], None where the data has none
    ids: Callable[[Any], Ids] = field(default=lambda batch: (batch["user_id"], batch["item_id"]))
    make_attributes: Callable[[], Mapping[str, Tensor]] = dict
    base: Path | None = None  # the finished run that this one stands on, where it does

    @cached_property
    def groups(self) -> PairGroups:
        """The groups named by `fair_group`."""
        return self.make_groups()

    @cached_property
    def attributes(self) -> Mapping[str, Tensor]:
        """By each name of `sensitive_attribute`, the class [U] of each user, -1 where unknown."""
        return self.make_attributes()

    @cached_property
    def group_counts(self) -> Tensor:
        """Training interactions of each group, [G]."""
        return torch.from_numpy(self.groups.counts(self.users.numpy(), self.items.numpy())).float()

    @cached_property
    def _sides(self) -> tuple[Tensor, Tensor, Tensor]:
        parts = (self.groups.user, self.groups.item, self.groups.columns)
        user, item, columns = (torch.from_numpy(part).to(self.config["device"]) for part in parts)
        return user.float(), item.float(), columns

    def membership(self, users: Tensor, items: Tensor) -> Tensor:
        """Which groups each sample is in, 0 or 1, [B, G]; none for the ids of padding."""
        user, item, columns = self._sides
        cells = user[users].unsqueeze(2) * item[items].unsqueeze(1)  # [B, Gu, Gi]
        return cells.flatten(1)[:, columns]


class Strategy:
    """Plain training; every strategy overrides what it changes."""

    after_training: ClassVar[bool] = False  # whether `fit` stands in the place of training

    def __init__(self, view: TrainingView) -> None:
        self.view = view
        self.config = view.config
        self.device = torch.device(self.config["device"])

    def prepare(self, model: nn.Module) -> None:
        """Look at the model, refuse it or attach to it, before its optimiser exists."""

    def start(self, batches: int) -> None:
        """Training starts, or goes on after a stop; an epoch has so many batches."""

    def backward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Leave the gradients of one batch in the parameters; return the losses to log."""
        loss, named = self.loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in {**named, "loss": loss}.items()}

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The model's loss and its named parts; only this much is computed in the precision of `enable_amp`."""
        with torch.autocast(self.device.type, enabled=bool(self.config["enable_amp"])):
            return total(model.calculate_loss(batch))  # type: ignore[operator]

    def fit(self, model: nn.Module, scores_of: Callable[[str], Any]) -> list[list[Any]]:
        """Change a trained model by its scores of a part (valid, test); return the rows of frontier.csv.

        For strategies that work `after_training`; training/rescored.py says what scores of a part can be asked.
        """
        raise NotImplementedError

    def collector(self, usual: Callable[..., Any], config: Any, items: Any) -> Any:
        """What gathers the lists of an evaluation, as `usual(config, items)` unless lists are made otherwise."""
        return usual(config, items)

    def blame(self, model: nn.Module, batch: Batch) -> str:
        """Whose gradient is not finite, asked once such a gradient was found; empty where nothing can be said."""
        return ""

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Figures to log for a finished epoch."""
        return {}

    @property
    def more_parts(self) -> bool:
        """Whether another part of training follows the present one, with an early stopping of its own."""
        return False

    def begin_next_part(self) -> None:
        """The present part has stopped early, or used up its half of the epochs; its best weights are in the model."""

    def notes(self) -> list[str]:
        """What whoever reads the result must know; they stand among its warnings."""
        return []

    def notes_after(self) -> list[str]:
        """The same, of what is known only once the weights that are judged are in the model."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """What resume needs beyond the model, its optimisers included."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict` back."""


def total(loss: Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of what a model returns, and its parts where they have names: RecBole's models give a tensor or a tuple.

    >>> total({"rec": torch.tensor(1.0), "fair": torch.tensor(2.0)})
    (tensor(3.), {'rec': tensor(1.), 'fair': tensor(2.)})
    """
    if isinstance(loss, Mapping):
        return sum(loss.values(), torch.zeros(())), dict(loss)
    return (sum(loss[1:], loss[0]) if isinstance(loss, tuple) else loss), {}


def group_means(samples: Tensor, membership: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss of each group, [G], and whether it has a sample in this batch, [G]; an absent group's loss is 0.

    L_g = sum_b m_bg l_b / sum_b m_bg. A membership may be any weight >= 0, not only 0 or 1.

    >>> group_means(torch.tensor([1.0, 3.0]), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    (tensor([2., 0.]), tensor([ True, False]))
    """
    size = membership.sum(0)
    return samples @ membership / torch.where(size > 0, size, 1.0), size > 0


def weights_among(log_weights: Tensor, present: Tensor) -> Tensor:
    """Weights [G] of the groups present, summing to 1, from logarithms [G]; 0 for the others.

    Not by taking the absent groups out of a softmax over all: where they hold nearly everything, nothing is left.

    >>> weights_among(torch.tensor([0.0, -200.0, -200.0]), torch.tensor([False, True, True]))
    tensor([0.0000, 0.5000, 0.5000])
    """
    return log_weights.masked_fill(~present, -torch.inf).softmax(0).nan_to_num(nan=0.0)


def sample_weights(weights: Tensor, membership: Tensor) -> Tensor:
    """Weights s [B] of samples that realise group weights w [G] summing to 1 over the groups present.

    mean_b(s_b l_b) = a sum_g w_g L_g + sum over samples of no group of l_b / B, where a is the share of samples that
    are in a group: these alone are redistributed, the others count as in plain training. So one group gives s = 1.
    """
    size = membership.sum(0)
    grouped = membership.sum(1) > 0
    share = membership @ (weights / torch.where(size > 0, size, 1.0))  # [B]
    return torch.where(grouped, grouped.sum() * share, 1.0)


class GroupStrategy(Strategy):
    """A strategy over group losses: a subclass gives the `objective` of a batch's samples.

    What is trained on is m * objective + (1 - m) * plain mean, where m = `fair_weight` (1: the method as cited).
    """

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        self.names = view.groups.names
        weight = self.config["fair_weight"]
        self.mix = 1.0 if weight is None else float(weight)

    def objective(self, samples: Tensor, membership: Tensor) -> Tensor:
        """The scalar to minimise, of the size of a mean over `samples` [B]; `membership` is [B, G]."""
        raise NotImplementedError

    def prepare(self, model: nn.Module) -> None:
        """Take over the reduction of the model's loss."""
        self.kept: KeptLoss = keep_sample_losses(model, self.reduce, self.view.ids)
        self.parameters = trained(model)

    def reduce(self, samples: Samples) -> Tensor:
        """The objective, mixed with the plain mean."""
        fair = self.objective(samples.losses, self.membership(samples))
        return fair if self.mix == 1 else self.mix * fair + (1 - self.mix) * samples.losses.mean()

    def membership(self, samples: Samples) -> Tensor:
        """Groups of the samples, [B, G]."""
        return self.view.membership(samples.users, samples.items)

    def samples_of(self, model: nn.Module, batch: Batch) -> Samples:
        """The samples of a batch under the plain loss, computed once more."""
        with self.kept.plainly():
            self.loss(model, batch)
        assert self.kept.samples is not None
        return self.kept.samples

    def blame(self, model: nn.Module, batch: Batch) -> str:
        """Compute the batch once more, plainly, and look at each group's own loss, then at its gradient."""
        samples = self.samples_of(model, batch)
        pairs = zip(self.names, self.membership(samples).T > 0, strict=True)
        means = {name: samples.losses[member].mean() for name, member in pairs if member.any()}
        # Losses first: where one is NaN, NaN times 0 is in the gradients of the others.
        wrong = [name for name, mean in means.items() if not torch.isfinite(mean)] or [
            name for name, mean in means.items() if not torch.isfinite(flat_gradient(mean, self.parameters)).all()
        ]
        return f"from group {', '.join(wrong)} of {self.view.groups.field}" if wrong else ""

    def notes(self) -> list[str]:
        """Groups that training cannot see."""
        absent = self.view.groups.absent
        if not absent:
            return []
        field = self.view.groups.field
        return [f"fair_group {field}: {len(absent)} group(s) without a training interaction: {', '.join(absent)}"]
