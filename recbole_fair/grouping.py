"""From a configuration's names (pop, genre, gender*age) to groups over a data set's ids."""

from __future__ import annotations

from typing import Any

from recbole_fair import groups
from recbole_fair.config import Config
from recbole_fair.data import Data
from recbole_fair.errors import UsageError
from recbole_fair.groups import Groups


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
    items = [item_groups(config, data, name) for name in config["item_groups"] or ()]
    users = [user_groups(config, data, name) for name in config["user_groups"] or ()]
    return items, users


def sensitive_groups(config: Config, data: Data) -> list[Groups]:
    """One user grouping for each `sensitive_attribute`; refuses one that the data lacks."""
    given = config["sensitive_attribute"] or []
    names = [given] if isinstance(given, str) else given
    return [user_groups(config, data, name, "sensitive_attribute") for name in names]


def fair_group(config: Config, data: Data) -> Groups:
    """The item grouping that a strategy trains on: `fair_group`, else the first of `item_groups`."""
    names: list[Any] = [config["fair_group"]] if config["fair_group"] else list(config["item_groups"] or ())
    if not names:
        raise UsageError("fair_group: a strategy needs item groups; set fair_group=pop or to an item field")
    found = item_groups(config, data, names[0], "fair_group")
    if len(found.names) < 2:
        raise UsageError(f"fair_group={names[0]!r}: {len(found.names)} group(s); a strategy needs at least two")
    return found
