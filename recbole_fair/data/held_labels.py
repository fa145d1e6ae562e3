"""Users whose labels are kept from a defence, so that a probe can ask how it does on users it was never told about."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def held_back(config: Any, users: int) -> npt.NDArray[np.bool_]:
    """True [U] for a share `hold_labels` of the users 1 .. U - 1, drawn by `split_seed`: equal for all rows and seeds.

    >>> settings = {"hold_labels": 0.5, "split_seed": 1}
    >>> int(held_back(settings, 9).sum()), bool(held_back(settings, 9)[0])
    (4, False)
    """
    order = np.random.default_rng([int(config["split_seed"]), users]).permutation(users - 1) + 1
    held = np.zeros(users, dtype=bool)
    held[order[: round(float(config["hold_labels"]) * (users - 1))]] = True
    return held
