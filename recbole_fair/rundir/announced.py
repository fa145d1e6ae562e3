"""What a run says before it trains: its data, how they are split, its groups, and what a strategy balances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from recbole_fair.data.load import Data
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.pairs import PairGroups
from recbole_fair.screen import wrapped
from recbole_fair.settings.config import Config

_FEW = 4  # groups that are named one by one


def about_data(config: Config, data: Data, groups: Iterable[Groups]) -> list[str]:
    """How much there is, for what each part is used, and who the reported groups are."""
    users, items = data.dataset.user_num - 1, data.dataset.item_num - 1
    interactions = sum(len(data.pairs(phase)[0]) for phase in data.parts)
    lines = [
        f"{config['dataset']}: {users:,} users, {items:,} items, {interactions:,} interactions",
        f"split: {_split(config, data)}",
        *(f"{one.kind}s by {one.field}: {_sizes(one)}" for one in groups),
    ]
    return [part for line in lines for part in wrapped(line)]


def about_model(config: Config, parameters: int, view: Any = None) -> list[str]:
    """How big the model is, and what its strategy acts on; `view` is what that strategy has read of the data."""
    size = f", {parameters:,} parameters to train" if parameters > 1 else ""
    last = config["keep"] == "last"
    chosen = f"epochs chosen by {config['valid_metric']} on validation, patience {config['stopping_step']}"
    judged = "the last epoch is judged" if last else chosen
    first = f"{config.name}: on {config['device']}{size}, {judged}"
    lines = [first, *(_balance(config, vars(view)) if view else ())]
    return [part for line in lines for part in wrapped(line)]


def _split(config: Mapping[str, Any], data: Data) -> str:
    """Which part of the interactions is for what, and by which rule."""
    arguments = config["eval_args"]
    ((way, shares),) = arguments["split"].items()
    order = "the latest last" if arguments["order"] == "TO" else "at random"
    within = f"within each {arguments['group_by']}" if arguments["group_by"] in ("user", "item") else "over all"
    parts = shares if isinstance(shares, str) else ":".join(f"{share:g}" for share in shares)
    rule = {
        "RS": f"{parts} {within}, {order}",
        "LS": f"{parts}, {order}",
        "US": f"{parts}, by users",
        "TS": f"{parts}, by time",
        "WS": f"{parts}, by windows",
    }[way]
    sizes = (f"{len(data.pairs(phase)[0]):,} to {use}" for phase, use in _USES)
    return f"{', '.join(sizes)} ({rule})"


_USES = (("train", "train"), ("valid", "choose"), ("test", "test"))


def _sizes(groups: Groups) -> str:
    """Each of a few groups with its size, or how many there are, the smallest and the largest."""
    sizes = groups.membership[1:].sum(axis=0)
    named = [f"{name} {size:,}" for name, size in zip(groups.names, sizes.tolist(), strict=True)]
    none = f", {groups.unknown:,} in none" if groups.unknown else ""
    if len(named) <= _FEW:
        return f"{', '.join(named)}{none}"
    if sizes.min() == sizes.max():
        return f"{len(named)} groups of {sizes[0]:,}{none}"
    return f"{len(named)} groups, from {named[int(np.argmin(sizes))]} to {named[int(np.argmax(sizes))]}{none}"


def _balance(config: Config, asked: Mapping[str, Any]) -> Iterator[str]:
    """Which strategy acts on which groups of what; `asked` is what it has read of its view."""
    strategy = config.choice.strategy.name if config.choice.strategy else config.name
    groups: PairGroups | None = asked.get("groups")
    if groups is not None:
        upon = config.choice.base_name if config.choice.strategy else config["dataset"]
        default = "" if config["fair_group"] else " (fair_group is not set: the first of item_groups)"
        yield f"{strategy} on {upon} balances the {len(groups.names)} groups of {groups.field}{default}"
    if attributes := asked.get("attributes"):
        yield f"{strategy} hides {', '.join(attributes)} (sensitive_attribute)"
