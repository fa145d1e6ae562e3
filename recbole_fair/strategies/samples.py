"""Losses per sample from models that reduce their loss inside `calculate_loss`, without a line of a host model.

Most models call a loss *module* there: `KeptLoss` takes its place, keeps the losses of the samples and reduces them as
a strategy says, while the host adds its own regulariser. Where the loss is written inline, a small method of the host
is wrapped and the host's reduction is exchanged for the strategy's: total - host's reduction + strategy's reduction.
A model that offers neither is refused before training, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from recbole_fair.errors import UsageError
from recbole_fair.models import losses
from recbole_fair.registry import label

PerSample = Callable[..., Tensor]
Ids = tuple[Tensor, Tensor]  # users [B] and items [B]


@dataclass(frozen=True)
class Samples:
    """The losses of one batch, and whose they are: each sample is a user with an item.

    The ids are those of padding, 0, where a row speaks for nobody: a negative that has a row of its own.
    """

    losses: Tensor  # [B]
    ids: Callable[[], Ids]

    @property
    def users(self) -> Tensor:
        """Whose each sample is, [B]."""
        return self.ids()[0]

    @property
    def items(self) -> Tensor:
        """Which item each sample is about, [B]."""
        return self.ids()[1]


Reduction = Callable[[Samples], Tensor]


def mean(samples: Samples) -> Tensor:
    """The reduction of training without a strategy."""
    return samples.losses.mean()


class KeptLoss(nn.Module):
    """Stands in for a model's loss module: keeps the samples of the latest batch and reduces them as a strategy says.

    A strategy's reduction is of the size of a mean; where the host sums (`summed`) it is multiplied by the rows, so
    that the host's other terms keep their weight against it. `leading`: the host trains on the first rows of a batch
    only (SimpleX: the others repeat them with further negatives).
    """

    ids: Callable[[], Ids]  # of the rows of the latest batch

    def __init__(
        self, per_sample: PerSample, reduction: Reduction, *, summed: bool = False, leading: bool = False
    ) -> None:
        super().__init__()
        self.per_sample = per_sample
        self.reduction = reduction
        self.summed = summed
        self.leading = leading
        self.samples: Samples | None = None  # of the latest batch

    def forward(self, *inputs: Tensor) -> Tensor:
        """Per-sample losses of the host's arguments, reduced."""
        losses = self.per_sample(*inputs).flatten()
        self.samples = Samples(losses, lambda: self._ids(len(losses)))
        return self.scale * self.reduction(self.samples)

    def _ids(self, count: int) -> Ids:
        users, items = self.ids()
        if count != len(users) and not (self.leading and count < len(users)):
            raise UsageError(
                f"{count} losses for a batch of {len(users)} rows: this model's losses belong to something"
                " other than single interactions; a strategy on samples cannot train it"
            )
        return users[:count], items[:count]

    @property
    def scale(self) -> float:
        """What one unit of the reduction is worth in the host's loss for the latest batch."""
        assert self.samples is not None
        return float(len(self.samples.losses)) if self.summed else 1.0

    @contextmanager
    def plainly(self) -> Iterator[None]:
        """The plain mean for a while, for whoever wants the samples only."""
        reduction, self.reduction = self.reduction, mean
        try:
            yield
        finally:
            self.reduction = reduction

    def correction(self, *inputs: Tensor) -> Tensor:
        """What to add to a host's total so that the strategy's reduction stands in place of the host's."""
        reduced = self(*inputs)
        assert self.samples is not None
        return reduced - (self.samples.losses.sum() if self.summed else self.samples.losses.mean())


def bpr_by_softplus(positive: Tensor, negative: Tensor) -> Tensor:
    """-log sigmoid(s+ - s-) without a floor, as SGL and ConvNCF have it."""
    return functional.softplus(negative - positive)


# The class of a loss module -> the same loss per sample, and whether the module sums rather than averages.
_MODULES: dict[str, tuple[PerSample, bool]] = {
    "BPRLoss": (losses.bpr, False),
    "SampledInfoNCE": (losses.info_nce, False),
    "CrossEntropyLoss": (losses.cross_entropy, False),
    "BCEWithLogitsLoss": (partial(functional.binary_cross_entropy_with_logits, reduction="none"), False),
    "ConvNCFBPRLoss": (bpr_by_softplus, True),
}
# Where models keep that module.
_ATTRIBUTES = ("loss", "mf_loss", "loss_fct", "bpr_loss", "bce_loss", "bceloss")


def keep_sample_losses(model: nn.Module, reduction: Reduction, ids_of: Callable[[Any], Ids]) -> KeptLoss:
    """Let `reduction` reduce the model's losses; refuse a model whose loss has no per-sample form here.

    `ids_of` a batch says whose its rows are; a model that draws its rows itself says it by `sample_ids`.
    """
    kept, host = _kept(model, reduction), model.calculate_loss

    def calculate_loss(batch: Any) -> Any:
        kept.ids = getattr(model, "sample_ids", None) or (lambda: ids_of(batch))
        return host(batch)  # type: ignore[operator]

    model.calculate_loss = calculate_loss  # type: ignore[assignment]
    return kept


def _kept(model: nn.Module, reduction: Reduction) -> KeptLoss:
    for attribute in _ATTRIBUTES:
        per_sample, summed = _MODULES.get(type(getattr(model, attribute, None)).__name__, (None, False))
        if per_sample is not None:
            kept = KeptLoss(per_sample, reduction, summed=summed)
            setattr(model, attribute, kept)
            return kept
    for ancestor in type(model).__mro__:
        if ancestor.__name__ in _INLINE:
            return _INLINE[ancestor.__name__](model, reduction)
    raise UsageError(f"{label(type(model))}: {_why_not(model)}; a strategy on samples cannot train it")


def _why_not(model: nn.Module) -> str:
    if not any(parameter.requires_grad and parameter.numel() > 1 for parameter in model.parameters()):
        return "it is solved in closed form, without a loss"
    return "it reduces its loss inside the model, so there are no losses per sample"


# --- losses written inline


def _keep_sgl(model: Any, reduction: Reduction) -> KeptLoss:
    """SGL sums BPR in `calc_bpr_loss`, which is given the propagated vectors and the ids."""
    kept, host = KeptLoss(bpr_by_softplus, reduction, summed=True), model.calc_bpr_loss

    def calc_bpr_loss(users: Tensor, items: Tensor, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        scores = [(users[user] * items[item]).sum(1) for item in (positive, negative)]
        return host(users, items, user, positive, negative) + kept.correction(*scores)

    model.calc_bpr_loss = calc_bpr_loss
    return kept


def _keep_simplex(model: Any, reduction: Reduction) -> KeptLoss:
    """SimpleX asks `get_cos` for the positives' cosines [B, 1], then the negatives' [B, n], and averages (Eq. 1).

    l = max(0, 1 - cos+) + weight * mean over negatives of max(0, cos- - margin).
    """

    def contrastive(positive: Tensor, negative: Tensor) -> Tensor:
        pushed = (negative - model.margin).relu().mean(1)
        return (1 - positive.squeeze(1)).relu() + model.negative_weight * pushed

    kept, cosines, forward = KeptLoss(contrastive, reduction, leading=True), model.get_cos, model.forward

    def forward_with_samples(*inputs: Tensor) -> Tensor:
        cosines_seen: list[Tensor] = []

        def recorded(users: Tensor, items: Tensor) -> Tensor:
            cosines_seen.append(cosines(users, items))
            return cosines_seen[-1]

        model.get_cos = recorded
        try:
            total = forward(*inputs)
        finally:
            model.get_cos = cosines
        return total + kept.correction(*cosines_seen)

    model.forward = forward_with_samples
    return kept


# By the name of the host's class, so that none is imported for a run of another.
_INLINE: dict[str, Callable[[Any, Reduction], KeptLoss]] = {"SGL": _keep_sgl, "SimpleX": _keep_simplex}
