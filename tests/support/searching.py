"""A search on the toy data, and a small Ray for the tests of a module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy import TOY_KEYS

from recbole_fair.jobs.job import Job
from recbole_fair.tune import planning
from recbole_fair.tune.planning import SearchOptions

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RATES = {"learning_rate": {"grid_search": [0.2, 0.9, 0.4]}}


def planted(
    name: str, keys: dict[str, Any], root: Path, options: SearchOptions, space: Any = None
) -> planning.SearchPlan:
    """A search whose trials are a job of tune_planted.py."""
    import tune_planted as jobs

    job: Job = getattr(jobs, name)("MF", "toy", (), keys, str(root))
    return planning.planned(job, space or RATES, options)


@pytest.fixture
def toy_options(toy_root: Path) -> dict[str, Any]:
    """Keys of a quick run on the toy data, for searches and comparisons."""
    where = {"data_path": str(toy_root), "cache_dir": str(toy_root / "cache")}
    return {**TOY_KEYS, **where, "epochs": 1, "bootstrap": 0}


@pytest.fixture(scope="module")
def workers_find_us() -> Iterator[None]:
    """Ray's workers import the package and tune_planted.py from here, whatever is installed."""
    with pytest.MonkeyPatch.context() as patch:
        former = os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(HERE), former]))
        patch.syspath_prepend(str(HERE))
        yield


@pytest.fixture(scope="module")
def small_ray(workers_find_us: None) -> Iterator[None]:
    """A Ray of two cores in place of the machine's, for all tests of a module: searches join what runs already."""
    from recbole_fair.jobs import cluster

    with cluster._environment():
        from recbole_fair.jobs.rays import ray

        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": 40}
        ray.init("local", num_cpus=2, object_store_memory=100 * 2**20, **quiet)
        yield
        ray.shutdown()
