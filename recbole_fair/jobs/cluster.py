"""Ray started quietly, or joined; and how much of it each run may use."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from recbole_fair.errors import UsageError

# Nothing is sent anywhere and nothing is shown that is not ours; Ray's own files lie in its temporary folder.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a stopped trial has reported its judged figure only
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupt ends the search; the same command goes on
}
_LOOPBACK = "127.0.0.1"
_STORE_BYTES = 200 * 2**20  # only settings and figures travel: a small object store will do
LOST_WORKERS = 3  # a run whose machine went away is started again this often; one that fails is not
_PATIENCE = 10.0  # seconds


@dataclass(frozen=True)
class Node:
    """A machine of the cluster."""

    cpus: int
    gpus: float = 0.0


@dataclass(frozen=True)
class Share:
    """What one run gets, and how many run at once."""

    cpus: float
    gpus: float
    at_once: int

    @property
    def threads(self) -> int:
        """Threads of one run: no more than its cores, or runs side by side get in each other's way."""
        return max(1, int(self.cpus))


def share_of(
    nodes: Sequence[Node], runs: int, max_concurrent: int | None = None, gpus_per_trial: float | None = None
) -> Share:
    """Divide the nodes among `runs`: as many at once as there are cores (and GPUs) for, each with all it can have."""
    gpus = _gpus_each(nodes, gpus_per_trial)
    able = [node for node in nodes if node.gpus >= gpus]
    wanted = min(runs, max_concurrent or sum(node.cpus for node in able))
    if gpus:
        wanted = min(wanted, sum(int(node.gpus / gpus + 1e-9) for node in able))
    sizes = (*range(max(node.cpus for node in able), 0, -1), *(1 / runs_a_core for runs_a_core in range(2, wanted + 1)))
    cpus = next(size for size in sizes if sum(_fitting(node, size, gpus) for node in able) >= wanted)
    return Share(cpus, gpus, wanted)


def _fitting(node: Node, cpus: float, gpus: float) -> int:
    """How many runs of this size work on a node at once; neither its cores nor its GPUs are given away twice."""
    by_cores = int(node.cpus / cpus + 1e-9)
    return min(by_cores, int(node.gpus / gpus + 1e-9)) if gpus else by_cores


def _gpus_each(nodes: Sequence[Node], wanted: float | None) -> float:
    largest = max(node.gpus for node in nodes)
    if wanted is None:
        return min(1.0, largest)
    if wanted > largest:
        raise UsageError(f"gpus_per_trial={wanted:g}: no machine here has that many GPUs (at most {largest:g})")
    if wanted > 1 and wanted != int(wanted):
        raise UsageError(f"gpus_per_trial={wanted:g}: a part of one GPU, or whole ones")
    return wanted


@contextmanager
def started(address: str | None) -> Iterator[list[Node]]:
    """A Ray of our own on this machine, or the cluster at `address`; left as it was found."""
    if address and address.startswith("ray://"):
        raise UsageError(f"ray_address={address}: start the command on a machine of the cluster, with ray_address=auto")
    with _environment(), _tune_unlogged():
        from recbole_fair.jobs.rays import ray

        ours = not ray.is_initialized()
        if ours:
            _connect(ray, address)
        try:
            yield _nodes(ray)
        finally:
            if ours:
                ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        _start(ray, quiet)
        return
    try:
        _knock(address)
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"ray_address={address}: no cluster answers ({reason}); start one with `ray start`") from error


def _start(ray: Any, quiet: dict[str, Any]) -> None:
    """A Ray of our own; it asks for no password, so its servers must be out of reach of other machines."""
    from recbole_fair.jobs.rays import on_loopback

    own = {"include_dashboard": False, "object_store_memory": _STORE_BYTES, "_node_ip_address": _LOOPBACK}
    with on_loopback():
        # Without "local" Ray joins whatever cluster someone has started on this machine.
        ray.init("local", **own, **quiet)
    if (address := ray.util.get_node_ip_address()) != _LOOPBACK:
        print(f"Ray listens on {address} without a password: use it on a network you trust", file=sys.stderr)


def _knock(address: str) -> None:
    """Ray itself would wait minutes for a machine that is not there."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def _nodes(ray: Any) -> list[Node]:
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [Node(int(has["CPU"]), has.get("GPU", 0.0)) for has in machines if has.get("CPU", 0) >= 1]
    if not nodes:
        raise UsageError("ray_address: no machine of the cluster has a core; start one with `ray start --num-cpus=N`")
    return nodes


@contextmanager
def _environment() -> Iterator[None]:
    """Ray reads its settings from the environment, which is the caller's."""
    former = {name: os.environ.get(name) for name in _QUIET}
    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _tune_unlogged() -> Iterator[None]:
    """Tune logs a traceback for every worker that is lost; the trial is run again, or its row says why not."""
    logger = logging.getLogger("ray.tune")
    former = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(former)


def settle(cwd: str, share: Share) -> None:
    """In a worker: stand where the command was given, on as many cores and GPUs as this run may use."""
    import torch
    from threadpoolctl import threadpool_limits

    try:
        os.chdir(cwd)
    except OSError as error:
        raise UsageError(f"{cwd}: not on this machine; a cluster needs shared storage (docs/cluster.md)") from error
    if not share.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    threadpool_limits(share.threads)
    torch.set_num_threads(share.threads)
