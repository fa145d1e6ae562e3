"""A cluster of two nodes, one of which goes away in the middle of a search."""

from __future__ import annotations

import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from recbole_fair.errors import UsageError
from recbole_fair.jobs import cluster
from recbole_fair.tune import searches
from recbole_fair.tune.planning import SearchOptions

pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("workers_find_us")]

SPACE = {"learning_rate": {"loguniform": [1e-4, 1e-1]}, "embedding_size": {"choice": [4, 8]}}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto"])
def test_no_cluster_answers(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # another session's address is not taken for ours
    nobody = cache(set)  # nor is the Ray of a test beside this one; newer Rays clear the cache
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", nobody)
    with pytest.raises(UsageError, match="no cluster answers"), cluster.started(address):
        pass


@pytest.mark.slow
def test_a_node_that_dies_changes_nothing(toy_options: dict[str, Any], tmp_path: Path) -> None:
    """The same trials, the same figures and the same choice as a search that nothing disturbs."""
    keys = {**toy_options, "epochs": 150, "stopping_step": 1000}
    with cluster._environment():
        from ray.cluster_utils import Cluster

        from recbole_fair.jobs.rays import ray

        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            # The command runs on the head: joined before there is another node on this machine that it could be on.
            ray.init(address=nodes.address, log_to_driver=False, logging_level=40)
            doomed = nodes.add_node(num_cpus=1)
            options = SearchOptions(num_samples=4, ray_address=nodes.address)
            killer = threading.Thread(target=_kill_in_the_middle, args=(nodes, doomed, tmp_path / "disturbed"))
            killer.start()
            disturbed = searches.search("MF", "toy", SPACE, options=options, run_dir=tmp_path / "disturbed", **keys)
            killer.join()
            undisturbed = searches.search("MF", "toy", SPACE, options=options, run_dir=tmp_path / "whole", **keys)
        finally:
            ray.shutdown()
            nodes.shutdown()
    assert (tmp_path / "killed").exists()
    assert [row.status for row in disturbed.trials] == ["ok"] * 4
    assert [(row.values, row.valid) for row in disturbed.trials] == [
        (row.values, row.valid) for row in undisturbed.trials
    ]
    assert (disturbed.chosen, disturbed.values) == (undisturbed.chosen, undisturbed.values)


def _kill_in_the_middle(nodes: Any, doomed: Any, root: Path) -> None:
    """When both nodes train, one of them is gone at once, with whatever it was doing."""
    until = time.monotonic() + 240
    while len(list(root.glob("toy/MF/*/resume.safetensors"))) < 2:
        if time.monotonic() > until:
            return
        time.sleep(0.05)
    nodes.remove_node(doomed, allow_graceful=False)
    (root.parent / "killed").write_text("")
