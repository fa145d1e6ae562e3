"""A search on the toy data, and jobs that a worker can be given without training anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy import TOY_KEYS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture
def toy_options(toy_root: Path) -> dict[str, Any]:
    """Keys of a quick run on the toy data, for searches and comparisons."""
    return {**TOY_KEYS, "epochs": 1, "data_path": str(toy_root), "cache_dir": str(toy_root / "cache")}


@pytest.fixture
def workers_find_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's workers import the package and planted.py from here, whatever is installed."""
    former = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(HERE), former]))
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture
def small_ray(workers_find_us: None) -> Iterator[Callable[..., None]]:
    """A Ray with as many cores as a test wants, in place of the machine's."""
    from recbole_fair.searching import cluster

    with pytest.MonkeyPatch.context() as patch, cluster._environment():
        from recbole_fair.searching.rays import ray

        def start(cpus: int = 2) -> None:
            ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level=40,
                     object_store_memory=100 * 2**20)  # fmt: skip

        yield start
        ray.shutdown()
        patch.undo()
