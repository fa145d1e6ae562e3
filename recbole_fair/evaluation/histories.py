"""What training interactions say of stereotypes: which items are one of which group, and how many a user has met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recbole_fair.groups.membership import Groups
from recbole_fair.metrics.formulas import BoolArray, FloatArray, IntArray
from recbole_fair.metrics.stereotypes import history_share, stereotypes


@dataclass(frozen=True)
class Histories:
    """For SF over one user grouping (MoS, Eq. 1-4)."""

    groups: Groups
    member: BoolArray  # [I, G] 1(d_{v in G})
    shares: FloatArray  # [U, G] h_{u in G}
    pairs: str  # which recommended pairs speak for a group


def histories(
    config: Mapping[str, Any], groups: Groups, users: IntArray, items: IntArray, item_count: int
) -> Histories:
    """From training interactions [N] alone, as the keys sf_z, sf_d and sf_pairs say."""
    found = stereotypes(users, items, groups.membership, item_count, float(config["sf_z"]), config["sf_d"])
    shares = history_share(users, items, found.member, len(groups.membership))
    return Histories(groups, found.member, shares, config["sf_pairs"])
