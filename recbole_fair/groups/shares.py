"""Shares of groups that somebody names: what is due to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.registry import nearest

_ROUNDED = 1e-6


def named_shares(given: Any, names: Sequence[str], key: str) -> npt.NDArray[np.float64]:
    """[G] in the order of `names`; groups that are not named have 0, and all add up to 1.

    >>> named_shares({"rest": 0.7, "popular": 0.3}, ("popular", "rest"), "target").tolist()
    [0.3, 0.7]
    """
    if not isinstance(given, Mapping):
        raise UsageError(f"{key}={given!r}: name groups and their shares, as in {key}.{names[0]}=0.5")
    for name, share in given.items():
        if str(name) not in names:
            raise UsageError(f"{key}.{name}: no such group.{nearest(str(name), names)} Groups: {', '.join(names)}")
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not share >= 0:
            raise UsageError(f"{key}.{name}={share!r}: expected a share, a number from 0 to 1")
    shares = np.array([float({str(name): share for name, share in given.items()}.get(name, 0.0)) for name in names])
    if not abs(shares.sum() - 1) <= _ROUNDED:
        raise UsageError(f"{key}: the shares add up to {shares.sum():g}; they must add up to 1")
    return shares
