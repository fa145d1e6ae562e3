"""What a test would have seen."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import special

from recbole_fair.metrics.bootstrap import checked_level
from recbole_fair.metrics.formulas import FloatArray


def detectable(error: npt.ArrayLike, level: float = 0.95, power: float = 0.8, freedom: float = math.inf) -> FloatArray:
    """The smallest true difference that a two-sided t-test at `level` would show with probability `power`.

    d * standard error, where a t of non-centrality d exceeds t_(1 + level)/2 with that probability; for a mean the
    error is sd of the users' differences / sqrt(U). Without `freedom`, a normal's: d = z_(1 + level)/2 + z_power.

    >>> print(detectable(0.01).round(4), detectable(0.01, freedom=4).round(4))
    0.028 0.0376
    """
    threshold = special.stdtrit(freedom, (1 + checked_level(level)) / 2)
    reach = special.nctdtrinc(freedom, 1 - checked_level(power), threshold)
    return np.asarray(reach * np.asarray(error, dtype=float))
