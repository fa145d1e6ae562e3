"""C-: counterfactual filters on user vectors (Li et al. 2021), learned with the model against adversaries.

    p'_u = mean over k in K of f_k(p_u)          K: the attributes to be hidden
    L = L_rec(p') - lambda sum over k in K of L_dis^k(p')

with one filter f_k and one adversary (models/adversary.py) an attribute. Every batch draws K among all non-empty sets,
so that one model serves any choice; what is judged is K = all of `sensitive_attribute`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recbole_fair.errors import UsageError
from recbole_fair.host import Interaction
from recbole_fair.models.adversary import Adversary, left_out, random_subset
from recbole_fair.registry import label
from recbole_fair.strategies.base import Batch, Strategy, TrainingView

AGGREGATION = "get_UI_aggregation"  # SimpleX's user vector, from the user's own and its history's


class UserFilters(nn.Module):
    """One filter of two layers an attribute; `selected` says whose outputs are averaged."""

    def __init__(self, width: int, attributes: Sequence[str]) -> None:
        super().__init__()
        self.names = {attribute: f"filter{number}" for number, attribute in enumerate(attributes)}
        self.filters = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(width, 2 * width), nn.LeakyReLU(0.2), nn.Linear(2 * width, width))
                for name in self.names.values()
            }
        )
        self.selected = tuple(attributes)

    def forward(self, users: Tensor) -> Tensor:
        """Mean of the selected filters' outputs, of any leading shape [..., D]."""
        filtered = [self.filters[self.names[attribute]](users) for attribute in self.selected]
        return torch.stack(filtered).mean(dim=0)

    @contextmanager
    def choosing(self, attributes: Sequence[str]) -> Iterator[None]:
        """Hide these attributes inside the block."""
        before, self.selected = self.selected, tuple(attributes)
        try:
            yield
        finally:
            self.selected = before


def user_table(model: Any) -> nn.Embedding:
    """The one table of `n_users` rows by which a model knows users."""
    tables = [
        part
        for name, part in model.named_modules()
        if isinstance(part, nn.Embedding) and len(part.weight) == model.n_users and "user" in name
    ]
    if len(tables) != 1:
        raise UsageError(f"C-: {label(type(model))} has {len(tables)} tables of user vectors; a filter needs one")
    return tables[0]


def filter_users(model: Any, attributes: Sequence[str], user_field: str) -> UserFilters:
    """Put filters right behind a model's user vectors, as a part of it; `user_states` then gives what they let by.

    The vectors are rows of the table of users or, as in SimpleX, an aggregation of such a row with the history.
    """
    table = user_table(model)
    filters = UserFilters(table.embedding_dim, attributes).to(table.weight.device)
    if hasattr(model, AGGREGATION):
        aggregate: Callable[..., Tensor] = getattr(model, AGGREGATION)
        setattr(model, AGGREGATION, lambda *parts: filters(aggregate(*parts)))
        model.user_states = lambda batch: aggregated(model, table, batch[user_field])
    else:
        table.register_forward_hook(lambda _module, _inputs, output: filters(output))
        model.user_states = lambda batch: table(batch[user_field])
    model.user_filters = filters
    return filters


def aggregated(model: Any, table: nn.Embedding, users: Tensor) -> Tensor:
    """The vectors [B, D] by which a model with such an aggregation scores users."""
    history = model.item_emb(model.history_item_id[users])
    vectors: Tensor = getattr(model, AGGREGATION)(table(users), history, model.history_item_len[users])
    return vectors


def check_scores(model: Any, filters: UserFilters, batch: Any) -> None:
    """Refuse a model whose scores know users by anything but the filters: its lists would keep what is to be hidden.

    A graph model reads the table as a whole. The filters' inputs are cut off here, so that a gradient that still
    reaches the table passed them by.
    """
    pairs = Interaction({model.ITEM_ID: torch.ones_like(batch[model.USER_ID]), **batch.interaction})
    cut = filters.register_forward_pre_hook(lambda _module, inputs: (inputs[0].detach(),))
    model.eval()
    scores = model.predict(pairs).sum()
    model.train()
    cut.remove()
    parts = [user_table(model).weight, *filters.parameters()]
    beside, *through = torch.autograd.grad(scores, parts, allow_unused=True)
    if beside is not None or all(gradient is None for gradient in through):
        raise UsageError(
            f"C-: {label(type(model))} scores by more of its users' table than a filter lets by; take a model that"
            " reads a user's own row, such as PMF, MF or SimpleX"
        )


class Counterfactual(Strategy):
    """Filters and model learn jointly to recommend and to be unreadable; adversaries learn to read."""

    label: ClassVar[str] = "C-"

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        self.classes = {name: classes.to(self.device) for name, classes in view.attributes.items()}  # [U], -1 unknown
        if not self.classes:
            raise UsageError(f"{self.label}: name what is to be hidden, for example sensitive_attribute=gender")
        self.weight, self.steps = float(self.config["adversary_weight"]), int(self.config["adversary_steps"])

    def prepare(self, model: nn.Module) -> None:
        """Put the filters in, so that the model's optimiser and checkpoints have them."""
        self.filters, self.checked = filter_users(model, tuple(self.classes), str(model.USER_ID)), False
        self.make_adversaries(next(self.filters.parameters()).shape[1])

    def make_adversaries(self, width: int) -> None:
        """One adversary an attribute, for states of this width."""
        rate = float(self.config["adversary_learning_rate"])
        self.adversaries = {
            name: Adversary(width, int(classes.max()) + 1, learning_rate=rate, device=self.device)
            for name, classes in self.classes.items()
        }

    def backward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """L of a random set of attributes; then the adversaries of that set take their steps on the same states."""
        if not self.checked:
            check_scores(model, self.filters, batch)
            self.checked = True
        chosen = random_subset(tuple(self.classes))
        with self.filters.choosing(chosen):
            return self.play(model, batch, chosen)

    def play(self, model: nn.Module, batch: Batch, chosen: Sequence[str]) -> dict[str, Tensor]:
        """The model's part of a batch, then the adversaries'."""
        users = batch[str(model.USER_ID)]
        recommendation, _ = self.loss(model, batch)
        states = model.user_states(batch)  # type: ignore[operator]
        read = [self.adversaries[name].loss(states, self.classes[name][users]) for name in chosen]
        loss = recommendation - self.weight * torch.stack(read).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        for name in chosen:
            for _ in range(self.steps):
                self.adversaries[name].attack(states, self.classes[name][users])
        return {"loss": loss.detach(), "adversary": torch.stack(read).mean().detach()}

    def notes(self) -> list[str]:
        """Users that no adversary sees."""
        return [f"{self.label}: {note}" for note in left_out(self.classes)]

    def state_dict(self) -> dict[str, Any]:
        """The adversaries; the filters are the model's."""
        return {f"adversary{number}": one.state_dict() for number, one in enumerate(self.adversaries.values())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the adversaries back."""
        for number, one in enumerate(self.adversaries.values()):
            one.load_state_dict(state[f"adversary{number}"])
