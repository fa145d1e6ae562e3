"""What a fairness strategy trains on: the groups named by `fair_group`, and the training interactions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from recbole_fair.data.inputs import inputs_of
from recbole_fair.data.load import Data
from recbole_fair.data.subsets import held_back
from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.named import OF_USERS, item_groups, names_of, sensitive_groups, user_groups
from recbole_fair.groups.pairs import PairGroups, of_pairs
from recbole_fair.host import InputType
from recbole_fair.settings.config import Config
from recbole_fair.strategies.base import TrainingView
from recbole_fair.strategies.samples import Ids


def fair_group(config: Config, data: Data) -> PairGroups:
    """The groups that a strategy trains on: `fair_group`, else the first of `item_groups`.

    Of items (pop, genre, an item field), of users (a user field), or of both (gender*genre): then a group is the
    interactions of such users with such items.
    """
    names = names_of(config, "fair_group") or names_of(config, "item_groups")
    if not names:
        raise UsageError("fair_group: a strategy needs item groups or user groups; set fair_group=pop or to a field")
    parts = [_part(config, data, part) for part in names[0].split("*")]
    declared = of_pairs(names[0], parts, len(data.names("user")), len(data.names("item")))
    groups = declared.present(*data.pairs("train"))
    if len(groups.names) < 2:
        lost = f" ({', '.join(groups.absent)} without a training interaction)" if groups.absent else ""
        raise UsageError(
            f"fair_group={names[0]!r}: {len(groups.names)} group(s) in training{lost}; a strategy needs at least two"
        )
    return groups


def _part(config: Config, data: Data, name: str) -> Groups:
    """One factor of `fair_group`; a name that is no user field is an item's."""
    users = data.dataset.user_feat
    if name in OF_USERS or (users is not None and name in users):
        if config["hold_labels"] and name not in OF_USERS:
            raise UsageError(f"hold_labels: fair_group={name!r} needs every user's label; take 0, or groups of items")
        return user_groups(config, data, name, "fair_group")
    return item_groups(config, data, name, "fair_group")


def training_view(config: Config, data: Data) -> TrainingView:
    """What a strategy may know of this run's data."""
    dataset = data.dataset
    users, items = (torch.from_numpy(ids) for ids in data.pairs("train"))
    return TrainingView(
        config,
        lambda: fair_group(config, data),
        users,
        items,
        times=data.parts["train"].inter_feat.interaction.get(dataset.time_field),
        ids=_ids_of_rows(config, dataset.uid_field, dataset.iid_field),
        make_attributes=lambda: {groups.field: _classes(config, groups) for groups in sensitive_groups(config, data)},
        base=inputs_of(data.train.dataset).bases.get(""),
    )


def _ids_of_rows(config: Config, user_field: str, item_field: str) -> Callable[[Any], Ids]:
    """Whose the rows of a batch are; `item_field` is the positive item, in sequential models too."""
    label_field = config["LABEL_FIELD"] if _draws_negative_rows(config) else None

    def ids(batch: Any) -> Ids:
        users, items = batch[user_field], batch[item_field]
        if label_field is None:
            return users, items
        positive = batch[label_field] > 0
        return users * positive, items * positive

    return ids


def _classes(config: Config, groups: Groups) -> torch.Tensor:
    """The class [U] of each user, -1 where it is held back or not one known value."""
    member = torch.from_numpy(groups.membership)
    shown = (member.sum(dim=1) == 1) & ~torch.from_numpy(held_back(config, len(member)))
    return torch.where(shown, member.long().argmax(dim=1), -1)


def _draws_negative_rows(config: Config) -> bool:
    """Whether the loader gives negatives rows of their own, told apart by their label."""
    drawn = (config["train_neg_sample_args"] or {}).get("distribution", "none") != "none"
    return drawn and config["MODEL_INPUT_TYPE"] is InputType.POINTWISE
