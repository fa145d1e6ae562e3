"""Running in a process of its own and killing it at a chosen moment, for tests and benchmarks/kill_and_resume.py."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a run imports, some of it at its first step.
_IMPORTED = ["recbole_fair.runner", "recbole.model.general_recommender", "safetensors.torch", "torch._dynamo"]


@dataclass(frozen=True)
class Scenario:
    """Which model, and when its process dies: after an epoch, at a batch, or inside the write of a checkpoint."""

    model: str
    kill_at: str
    when: int = 2


def interrupted(scenario: Scenario, keys: dict[str, Any]) -> int | None:
    """Start the run in a new process and let it be killed; its exit status (-9).

    The processes are copies of one that has imported the package and does nothing else, so only the first waits for it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    process = context.Process(target=_run, args=(scenario, keys))
    process.start()
    process.join()
    return process.exitcode


def _run(scenario: Scenario, keys: dict[str, Any]) -> None:
    from recbole_fair import runner

    warnings.simplefilter("ignore")
    if scenario.kill_at == "checkpoint":
        _die_in_a_write(scenario.when)
    elif scenario.kill_at == "batch":
        _die_at_a_batch(scenario.when)
    runner.run(**keys, on_epoch=lambda epoch, _: _die(scenario.kill_at == "epoch" and epoch >= scenario.when))


def _die(now: bool) -> None:
    if now:
        os.kill(os.getpid(), signal.SIGKILL)


def _die_in_a_write(when: int) -> None:
    """Half-way through it: the new file lies beside the old one, not yet in its place."""
    real, seen = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        if Path(target).suffix == ".safetensors":
            seen.append(target)
            if len(seen) > when:
                os.truncate(self, self.stat().st_size // 2)
                _die(True)
        return real(self, target)

    Path.replace = replace  # type: ignore[method-assign]


def _die_at_a_batch(when: int) -> None:
    from recbole_fair.training.trainer import FairTrainer

    real, seen = FairTrainer._check_nan, []

    def count(self: FairTrainer, loss: Any) -> Any:
        seen.append(loss)
        _die(len(seen) > when)
        return real(self, loss)

    FairTrainer._check_nan = count
