"""What a result says of where it was made: versions, threads, memory."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from threadpoolctl import threadpool_info

import recbole_fair
from recbole_fair.rundir.result import Result

_PACKAGES = ("recbole", "torch", "numpy", "scipy", "pandas", "transformers", "sentence-transformers", "ray")


def describe(result: Result, device: str, **threads: int) -> None:
    """Versions and the machine; `threads` are those of other libraries than BLAS."""
    result.versions = {"recbole_fair": recbole_fair.__version__, "python": sys.version.split()[0], **_versions()}
    blas = max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)
    result.environment = {"device": device, **threads, "blas_threads": blas}  # sums are rounded by their order


@cache
def _versions() -> dict[str, str]:
    """Of the packages that are installed; their metadata are long to read."""
    versions = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def peak_memory() -> int:
    """Bytes of the process since it started."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
