"""Ray's search algorithms and schedulers by the names that users type."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from recbole_fair.errors import UsageError
from recbole_fair.tune.objectives import Objectives

ALGORITHMS = ("random", "grid", "optuna")
SCHEDULERS = ("none", "asha")
LEARNING = ("optuna",)  # each is the name of the package it needs


def check_names(algorithm: str, scheduler: str) -> None:
    """Refuse what is not there, or not installed."""
    if algorithm not in ALGORITHMS:
        raise UsageError(f"search_algorithm={algorithm!r}: choose one of {', '.join(ALGORITHMS)}")
    if scheduler not in SCHEDULERS:
        raise UsageError(f"scheduler={scheduler!r}: choose one of {', '.join(SCHEDULERS)}")
    if algorithm in LEARNING and find_spec(algorithm) is None:
        raise UsageError(
            f"search_algorithm={algorithm}: needs the package {algorithm}, which is not installed;"
            f" pip install {algorithm}, or search_algorithm=random"
        )


def searcher(algorithm: str, objectives: Objectives, seed: int, at_once: int, former: Sequence[dict[str, Any]]) -> Any:
    """The object that proposes values. Random and grid repeat themselves from the seed alone.

    Optuna learns from figures in the order in which they come, so a search that goes on proposes first what `former`
    trials had; those are read from their run directories.
    """
    from recbole_fair.jobs.rays import BasicVariantGenerator, ConcurrencyLimiter

    if algorithm not in LEARNING:
        return BasicVariantGenerator(random_state=seed, max_concurrent=at_once)
    from ray.tune.search.optuna import OptunaSearch

    metrics, modes = list(objectives), list(objectives.values())
    one = len(metrics) == 1
    optuna = OptunaSearch(
        metric=metrics[0] if one else metrics,
        mode=modes[0] if one else modes,
        points_to_evaluate=list(former) or None,
        seed=seed + len(former),  # the same draws would only repeat the former trials
    )
    return ConcurrencyLimiter(optuna, at_once)


def stopper(scheduler: str, mode: str, epochs: int, grace_epochs: int) -> Any:
    """ASHA: at each rung only the better part of the trials goes on. None: every trial trains to its end."""
    from recbole_fair.jobs.rays import ASHAScheduler
    from recbole_fair.tune.trial import EPOCHS, JUDGED

    if scheduler == "none":
        return None
    # One beyond the last epoch: at max_t ASHA would end a trial before its final judgement.
    return ASHAScheduler(
        time_attr=EPOCHS, metric=JUDGED, mode=mode, max_t=epochs + 1, grace_period=min(grace_epochs, epochs)
    )
