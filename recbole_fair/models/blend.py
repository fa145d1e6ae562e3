"""Blend: what several trained models say of a user, each on the same scale, weighed as validation asks.

    score(u, i) = sum_k w_k z_k(u, i),   z_k = (s_k(u, i) - mean over i of s_k(u, .)) / std over i of s_k(u, .)

Nothing is learned: an epoch tries one choice of the weights w, and the best on validation is kept, as for any model.
The control row for whatever is trained with fairness in mind: ensembles are the cheapest gain in accuracy there is, and
offsets after training (OffsetBlend) can spend it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recbole_fair.data.inputs import inputs_of
from recbole_fair.errors import UsageError
from recbole_fair.host import GeneralRecommender, InputType

_STEPS = 20  # between all of one run and all of the other


def runs(config: Any) -> dict[str, str]:
    """The runs to be blended: those named in `bases`; where one is `auto`, its name is the row that is asked for."""
    named = [name for name in config["bases"] or {} if name]
    if len(named) < 2:
        raise UsageError("Blend: name two trained runs, as in --bases='{EASE: auto, AlphaRec: runs/.../AlphaRec/...}'")
    return {name: name for name in named}


def choices(weight: Any, names: Sequence[str]) -> Tensor:
    """The weights that are tried, [T, K], of runs in the order of `names`.

    >>> choices({"A": 1, "B": 3}, ["A", "B"]).tolist()
    [[0.25, 0.75]]
    """
    if isinstance(weight, Mapping):
        _check(weight, names)
        given = torch.tensor([[float(weight[name]) for name in names]])
        return given / given.sum()
    if weight == "equal":
        return torch.full((1, len(names)), 1 / len(names))
    if len(names) != 2:
        raise UsageError(f"blend_weight=auto: weighs two runs, not {len(names)}; set equal, or {{name: weight}}")
    first = torch.arange(_STEPS + 1) / _STEPS
    return torch.stack([first, 1 - first], 1)


def _check(weight: Mapping[str, Any], names: Sequence[str]) -> None:
    numbers = [value for value in weight.values() if isinstance(value, (int, float)) and value >= 0]
    if weight.keys() != set(names) or len(numbers) < len(names) or not sum(numbers):
        raise UsageError(f"blend_weight={dict(weight)}: give each of {', '.join(names)} a number from 0 on, not all 0")


def standardised(scores: Tensor) -> Tensor:
    """Each user's scores [B, I] with mean 0 and standard deviation 1 over the items; the padding item's is 0."""
    items = scores[:, 1:].float()
    spread, mean = torch.std_mean(items, 1, correction=0, keepdim=True)
    return nn.functional.pad((items - mean) / spread.clamp(min=1e-12), (1, 0))


class Tries:
    """Loads one batch an epoch, of nothing: there is nothing to learn from."""

    shuffle = False

    def __init__(self, part: Any) -> None:
        self.dataset = part

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Tensor]:
        yield torch.zeros(1)


class Blend(GeneralRecommender):
    """Scores of other runs, standardised and summed."""

    input_type = InputType.POINTWISE
    reads_scores = True
    resumed_attributes = ("tried",)
    weights: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.scores = dict(sorted(inputs_of(dataset).scores.items()))  # by name, users [B] to scores [B, I]
        self.choices = choices(config["blend_weight"], [*self.scores])
        self.tries, self.tried = len(self.choices), 0
        self.register_buffer("weights", torch.zeros(len(self.scores)))  # [K]
        self.unused = nn.Parameter(torch.zeros(1))  # the host's optimiser needs one parameter

    @classmethod
    def train_loader(cls, config: Any, part: Any) -> Tries:
        """An epoch is a try."""
        del config
        return Tries(part)

    def calculate_loss(self, batch: Any) -> dict[str, Tensor]:
        """Take the next choice of weights; they are logged, and sum to 1."""
        del batch
        self.weights.copy_(self.choices[self.tried])
        self.tried += 1
        nothing = 0.0 * self.unused.sum()
        return {f"weight[{name}]": weight + nothing for name, weight in zip(self.scores, self.weights, strict=True)}

    def _blended(self, users: Tensor) -> Tensor:
        parts = [standardised(scores(users).to(self.weights.device)) for scores in self.scores.values()]
        return torch.stack([weight * part for weight, part in zip(self.weights, parts, strict=True)]).sum(0)

    def predict(self, interaction: Any) -> Tensor:
        """Blended scores of the given pairs."""
        users, places = interaction[self.USER_ID].unique(return_inverse=True)
        return self._blended(users)[places, interaction[self.ITEM_ID]]

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Blended scores of the given users with all items, flattened as the host expects."""
        return self._blended(interaction[self.USER_ID]).view(-1)
