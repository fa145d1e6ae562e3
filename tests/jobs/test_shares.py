"""How a machine or a cluster is divided among runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_fair.errors import UsageError
from recbole_fair.jobs import cluster
from recbole_fair.jobs.cluster import Node, Share, share_of, started


@pytest.mark.parametrize(
    ("nodes", "runs", "max_concurrent", "expected"),
    [
        ([Node(2)], 10, None, Share(1, 0, 2)),
        ([Node(64)], 10, None, Share(6, 0, 10)),
        ([Node(8)], 1, None, Share(8, 0, 1)),
        ([Node(8)], 100, 2, Share(4, 0, 2)),
        ([Node(2)], 100, 4, Share(0.5, 0, 4)),
        ([Node(4), Node(4)], 100, 2, Share(4, 0, 2)),
        ([Node(4), Node(8)], 3, None, Share(4, 0, 3)),
    ],
)
def test_cores(nodes: list[Node], runs: int, max_concurrent: int | None, expected: Share) -> None:
    assert share_of(nodes, runs, max_concurrent) == expected


@pytest.mark.parametrize(
    ("gpus", "each", "at_once"), [(2.0, None, 2), (1.0, 0.5, 2), (1.0, 0.1, 10), (2.0, 2, 1), (4.0, 0, 16)]
)
def test_gpus(gpus: float, each: float | None, at_once: int) -> None:
    share = share_of([Node(16, gpus)], 100, None, each)
    assert share.at_once == at_once
    assert share.gpus == (1.0 if each is None else each)


@pytest.mark.parametrize(
    ("nodes", "runs", "expected"),
    [
        ([Node(64), Node(4, 1)], 1, Share(4, 1, 1)),
        ([Node(4, 2), Node(16, 1)], 3, Share(2, 1, 3)),
        ([Node(16), Node(1, 4)], 9, Share(1, 1, 1)),
        ([Node(16, 1), Node(1, 4)], 9, Share(0.25, 1, 5)),
    ],
)
def test_a_run_gets_no_more_cores_than_the_machine_with_its_gpu_has(
    nodes: list[Node], runs: int, expected: Share
) -> None:
    assert share_of(nodes, runs) == expected


def test_a_cluster_whose_machines_offer_no_core_is_refused() -> None:
    ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": {"GPU": 1.0}}, {"Alive": False}])
    with pytest.raises(UsageError, match="ray_address"):
        cluster._nodes(ray)


@pytest.mark.parametrize("wrong", [3, 1.5])
def test_more_gpus_than_a_machine_has_are_refused(wrong: float) -> None:
    with pytest.raises(UsageError, match="gpus_per_trial"):
        share_of([Node(8, 2.0), Node(8, 1.0)], 10, None, wrong)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=4), st.integers(1, 40), st.integers(1, 40))
def test_every_run_that_may_work_at_once_fits_on_a_machine(cores: list[int], runs: int, most: int) -> None:
    share = share_of([Node(count) for count in cores], runs, most)
    assert 1 <= share.at_once <= min(runs, most)
    assert 1 <= share.threads <= max(cores)
    assert sum(int(count / share.cpus + 1e-9) for count in cores) >= share.at_once or share.cpus < 1
    assert share.at_once * share.cpus <= sum(cores) + 1e-9


def test_a_client_connection_is_refused() -> None:
    with pytest.raises(UsageError, match="on a machine of the cluster"), started("ray://head:10001"):
        pass
