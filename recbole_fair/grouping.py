"""From a configuration's names (pop, genre, gender*age) to groups over a data set's ids."""

from __future__ import annotations

import torch

from recbole_fair import groups
from recbole_fair.config import Config
from recbole_fair.data import Data
from recbole_fair.errors import UsageError
from recbole_fair.groups import Groups, PairGroups
from recbole_fair.host import InputType
from recbole_fair.strategies.base import TrainingView


def item_groups(config: Config, data: Data, name: str, key: str = "item_groups") -> Groups:
    """pop, genre (the data set's genre_field) or any item field."""
    if name == "pop":
        tokens = data.tokens(data.dataset.iid_field).tolist()
        return groups.popularity(data.item_counts(), tokens, float(config["popular_share"]))
    field = config["genre_field"] if name == "genre" else name
    if field is None:
        raise UsageError(f"{key}=genre: {config['dataset']} has no genre; set genre_field to an item field")
    return _field_groups(config, data, "item", name, field, key)


def user_groups(config: Config, data: Data, name: str, key: str = "user_groups") -> Groups:
    """A user field, or a product of several such as gender*age."""
    parts = [_field_groups(config, data, "user", part, part, key) for part in name.split("*")]
    return parts[0] if len(parts) == 1 else groups.product(parts)


def _field_groups(config: Config, data: Data, kind: str, name: str, field: str, key: str) -> Groups:
    values = data.values(field, key)
    if len(values) != (data.dataset.user_num if kind == "user" else data.dataset.item_num):
        raise UsageError(f"{key}={name!r}: is not a {kind} field")
    bins = (config["group_bins"] or {}).get(field, {})
    if bins:
        values = groups.binned(values, bins, field)
    multi = config["item_group_multi"] if kind == "item" else "all"
    unknown = config["unknown_values"] or ()
    return groups.by_value(kind, name, values, multi=multi, unknown=unknown, names=tuple(bins))


def reported(config: Config, data: Data) -> tuple[list[Groups], list[Groups]]:
    """The item and user groupings that a run reports."""
    items = [item_groups(config, data, name) for name in _names(config, "item_groups")]
    users = [user_groups(config, data, name) for name in _names(config, "user_groups")]
    return items, users


def _names(config: Config, key: str) -> list[str]:
    given = config[key] or []
    names = [given] if isinstance(given, str) else list(given)
    if wrong := [name for name in names if not isinstance(name, str) or not name]:
        raise UsageError(f"{key}: {wrong[0]!r} is no name of a grouping")
    return names


def sensitive_groups(config: Config, data: Data) -> list[Groups]:
    """One user grouping for each `sensitive_attribute`; refuses one that the data lacks."""
    return [user_groups(config, data, name, "sensitive_attribute") for name in _names(config, "sensitive_attribute")]


def fair_group(config: Config, data: Data) -> PairGroups:
    """The groups that a strategy trains on: `fair_group`, else the first of `item_groups`.

    Of items (pop, genre, an item field), of users (a user field), or of both (gender*genre): then a group is the
    interactions of such users with such items.
    """
    names = _names(config, "fair_group") or _names(config, "item_groups")
    if not names:
        raise UsageError("fair_group: a strategy needs item groups or user groups; set fair_group=pop or to a field")
    parts = [_part(config, data, part) for part in names[0].split("*")]
    dataset = data.dataset
    declared = groups.of_pairs(names[0], parts, dataset.user_num, dataset.item_num)
    found = declared.present(*data.pairs("train"))
    if len(found.names) < 2:
        lost = f" ({', '.join(found.absent)} without a training interaction)" if found.absent else ""
        raise UsageError(
            f"fair_group={names[0]!r}: {len(found.names)} group(s) in training{lost}; a strategy needs at least two"
        )
    return found


def _part(config: Config, data: Data, name: str) -> Groups:
    """One factor of `fair_group`; a name that is no user field is an item's."""
    users = data.dataset.user_feat
    if users is not None and name in users:
        return user_groups(config, data, name, "fair_group")
    return item_groups(config, data, name, "fair_group")


def training_view(config: Config, data: Data) -> TrainingView:
    """What a strategy may know of this run's data."""
    dataset = data.dataset
    users, items = (torch.from_numpy(ids) for ids in data.pairs("train"))
    rows = data.parts["train"].inter_feat
    return TrainingView(
        config,
        fair_group(config, data),
        users,
        items,
        times=rows.interaction.get(dataset.time_field),
        user_field=dataset.uid_field,
        item_field=dataset.iid_field,
        label_field=config["LABEL_FIELD"] if _draws_negative_rows(config) else None,
    )


def _draws_negative_rows(config: Config) -> bool:
    """Whether the loader gives negatives rows of their own, told apart by their label."""
    drawn = (config["train_neg_sample_args"] or {}).get("distribution", "none") != "none"
    return drawn and config["MODEL_INPUT_TYPE"] is InputType.POINTWISE
