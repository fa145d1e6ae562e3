"""The door to Ray: imported without its warnings, and the names that moved between Ray 2.6.3 and today's."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pkg_resources, in Ray 2.6.3
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.basic_variant import BasicVariantGenerator


_moved = import_module("ray.tune" if hasattr(tune, "RunConfig") else "ray.air")
RunConfig: Any = _moved.RunConfig
FailureConfig: Any = _moved.FailureConfig
# Ray 2.6.3 has another `tune.report`, of the times before sessions.
report: Any = tune.report if _moved is tune else import_module("ray.air.session").report

__all__ = [
    "ASHAScheduler",
    "BasicVariantGenerator",
    "ConcurrencyLimiter",
    "FailureConfig",
    "RunConfig",
    "ray",
    "report",
    "tune",
]
