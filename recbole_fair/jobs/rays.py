"""The door to Ray: imported without its warnings, and the names that moved between Ray 2.6.3 and today's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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

# Ray turns 127.0.0.1 into the machine's outer address unless it is told that this machine is in no cluster, which it
# reads from RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER when it is imported (despite the name, on every system).
_constants: Any = import_module("ray._private.ray_constants")


@contextmanager
def on_loopback() -> Iterator[None]:
    """A Ray that is started in here listens on 127.0.0.1 only."""
    former = getattr(_constants, "ENABLE_RAY_CLUSTER", True)
    _constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        _constants.ENABLE_RAY_CLUSTER = former


__all__ = [
    "ASHAScheduler",
    "BasicVariantGenerator",
    "ConcurrencyLimiter",
    "FailureConfig",
    "RunConfig",
    "on_loopback",
    "ray",
    "report",
    "tune",
]
