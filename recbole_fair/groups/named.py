"""From a configuration's names (pop, genre, gender*age) to groups over a data set's ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.groups import membership
from recbole_fair.groups.bins import binned, codes_of
from recbole_fair.groups.membership import Groups

IntArray = npt.NDArray[np.int64]

# Groups that need no field: training interactions make them.
OF_ITEMS = ("pop", "tail3", "cold")
OF_USERS = ("activity", "mainstream")

_MANY = 20  # groups of numbers, from which bins are proposed


class Fields(Protocol):
    """What groups by field are made from: also the tables of a data set that nobody has split."""

    def values(self, field: str, key: str, kind: str) -> membership.Values:
        """Raw values of a field of all users or items; `key` is the setting that asked for it."""


class GroupSource(Fields, Protocol):
    """What all groups are made from: a run's data, or the tables of an audit."""

    def names(self, kind: str) -> npt.NDArray[np.str_]:
        """Raw ids of all users or items; place 0 is padding."""

    def trained(self, wish: str) -> tuple[IntArray, IntArray]:
        """Users and items of the training interactions; `wish` is the setting that needs them."""


def item_groups(config: Mapping[str, Any], data: GroupSource, name: str, key: str = "item_groups") -> Groups:
    """pop, tail3 or cold, of which training interactions decide; genre (the data's genre_field) or any item field."""
    if name in OF_ITEMS:
        names = data.names("item")
        counts = np.bincount(data.trained(f"{key}={name}")[1], minlength=len(names))
        if name == "cold":
            return membership.cold(counts, int(config["cold_interactions"]))
        if name == "tail3":
            return membership.head_mid_tail(counts, names.tolist(), *_head_and_tail(config["tail_shares"]))
        return membership.popularity(counts, names.tolist(), float(config["popular_share"]))
    field = (config["genre_field"] or name) if name == "genre" else name
    return field_groups(config, data, "item", name, field, key)


def _head_and_tail(shares: Any) -> tuple[float, float]:
    numbers = [share for share in shares if isinstance(share, (int, float)) and 0 < share < 1]
    if len(numbers) != 2 or len(shares) != 2 or sum(numbers) > 1 + 1e-9:
        raise UsageError(
            f"tail_shares={shares!r}: the shares of interactions that head and tail have, up to 1 together, as in"
            " [0.2, 0.2]"
        )
    return float(numbers[0]), float(numbers[1])


def user_groups(config: Mapping[str, Any], data: GroupSource, name: str, key: str = "user_groups") -> Groups:
    """A user field, activity or mainstream, or a product of several such as gender*age."""
    parts = [
        _taste(data, part, key) if part in OF_USERS else field_groups(config, data, "user", part, part, key)
        for part in name.split("*")
    ]
    return parts[0] if len(parts) == 1 else membership.product(parts)


def _taste(data: GroupSource, name: str, key: str) -> Groups:
    """Thirds of users by their training interactions, how many (activity) or of how popular items (mainstream)."""
    users, items = data.trained(f"{key}={name}")
    counts = np.bincount(users, minlength=len(data.names("user"))).astype(float)
    counts[counts == 0] = np.nan
    if name == "activity":
        return membership.thirds(name, counts)
    popularity = np.bincount(items)[items]
    return membership.thirds(name, np.bincount(users, popularity, minlength=len(counts)) / counts)


def field_groups(config: Mapping[str, Any], data: Fields, kind: str, name: str, field: str, key: str) -> Groups:
    """The values of a field, or the bins that `group_bins` puts them into; `name` is what the grouping is called."""
    values = data.values(field, key, kind)
    bins = (config["group_bins"] or {}).get(field)
    unknown = sorted(codes_of(config["unknown_values"] or (), "unknown_values"))
    values, names = (values, ()) if bins in (None, {}) else binned(values, bins, field, unknown)
    multi = config["item_group_multi"] if kind == "item" else "all"
    return membership.by_value(kind, name, values, multi=multi, unknown=unknown, names=names)


def reported(config: Mapping[str, Any], data: GroupSource) -> tuple[list[Groups], list[Groups]]:
    """The item and user groupings that a run reports."""
    items = [item_groups(config, data, name) for name in names_of(config, "item_groups")]
    users = [user_groups(config, data, name) for name in names_of(config, "user_groups")]
    return items, [*users, *_probed_besides(config, data, {groups.field for groups in users})]


def notes(groupings: list[Groups]) -> list[str]:
    """Groupings that are hardly what was meant: one group for each of many numbers."""
    many = [groups for groups in groupings if len(groups.names) > _MANY and all(map(reads_as_number, groups.names))]
    return [
        f"{groups.field}: {len(groups.names)} groups of one number each; put them into bins, as in"
        f" --group_bins.{groups.field}=\"{{low: '[0,30)', high: '[30,inf)'}}\""
        for groups in many
    ]


def reads_as_number(word: str) -> bool:
    """Whether Python reads the word as a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def names_of(config: Mapping[str, Any], key: str) -> list[str]:
    """The names that a key holds, one or several."""
    given = config[key] or []
    names = [given] if isinstance(given, str) else list(given)
    if wrong := [name for name in names if not isinstance(name, str) or not name]:
        raise UsageError(f"{key}: {wrong[0]!r} is no name")
    return names


def sensitive_groups(config: Mapping[str, Any], data: GroupSource) -> list[Groups]:
    """One user grouping for each `sensitive_attribute`; refuses one that the data lacks."""
    return [user_groups(config, data, name, "sensitive_attribute") for name in names_of(config, "sensitive_attribute")]


def _probed_besides(config: Mapping[str, Any], data: GroupSource, named: set[str]) -> list[Groups]:
    """Attributes that are probed but not named among user_groups: who recomputes an AUC needs the classes."""
    return [groups for groups in probed_groups(config, data) if groups.field not in named]


def probed_groups(config: Mapping[str, Any], data: GroupSource) -> list[Groups]:
    """One user grouping for each attribute of `probe`."""
    return [user_groups(config, data, name, "probe") for name in dict.fromkeys(names_of(config, "probe"))]
