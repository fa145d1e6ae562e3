"""What a step of BiFair costs over a step of AlphaRec, on ml-100k with vectors of 384 numbers.

    python benchmarks/bifair_step.py [--rounds=9]

entropy form (goal <= 1.1 x), Algorithm 2 with 2 popularity groups (<= 2 x) and 18 genres (<= 6 x), a naive backward
pass per group beside it, and what an outer step adds with the exact product (goal: <= 1.3 x on average at BiFair's
`outer_every`). Sides are
interleaved in one process; medians are compared. Memory is the peak of a first step above what stood before it, in a
process of its own (Linux or CUDA).
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from recbole_fair.runner import _Run
from recbole_fair.settings.config import Config
from recbole_fair.strategies.base import group_means

NEVER = 1_000_000
KEYS: dict[str, Any] = {"item_encoder": "random", "use_gpu": torch.cuda.is_available()}


def prepared(folder: Path, model: str, **keys: Any) -> tuple[Any, Any]:
    """Trainer and one batch of a run, before its first epoch."""
    work = _Run(Config(model, "ml-100k", overrides={"run_dir": str(folder), **KEYS, **keys}), True, None)
    data, trainer = work.prepare()
    trainer.model.train()
    trainer._start_schedule(data.train)
    return trainer, next(islice(data.train, 1)).to(trainer.device)


def plain(folder: Path) -> Callable[[], None]:
    """AlphaRec's step."""
    trainer, batch = prepared(folder, "AlphaRec")

    def step() -> None:
        trainer.optimizer.zero_grad()
        trainer.model.calculate_loss(batch).backward()
        trainer.optimizer.step()

    return step


def fair(folder: Path, **keys: Any) -> Callable[[], None]:
    """A step of BiFair as these keys ask for it."""
    trainer, batch = prepared(folder, "BiFairAlphaRec", **{"outer_every": NEVER, **keys})
    return lambda: trainer._step(trainer.strategy, batch, "")


def naive(folder: Path, group: str) -> Callable[[], None]:
    """Algorithm 2's gradients by one backward pass a group through the whole model."""
    trainer, batch = prepared(folder, "BiFairAlphaRec", fair_group=group)
    model, strategy = trainer.model, trainer.strategy

    def step() -> None:
        trainer.optimizer.zero_grad()
        membership = strategy.view.membership(batch["user_id"], batch["item_id"])
        means, present = group_means(model.calculate_loss(batch), membership)
        for mean in means[present]:
            torch.autograd.grad(mean, strategy.parameters, retain_graph=True)
        means.sum().backward(inputs=strategy.parameters)
        trainer.optimizer.step()

    return step


def peak(step: Callable[[], None]) -> float:
    """Megabytes at the peak of a process's first step above what stood before it."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    highest = [before := _resident()]
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            highest.append(_resident())
            done.wait(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    step()
    done.set()
    watcher.join()
    return (max(highest) - before) / 1e6


def _resident() -> int:
    """Bytes of this process in memory now; the kernel's own peak counts the start of the process too."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_of(side: str) -> str:
    """The same in a process of its own, whose memory nothing else has used before."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, f"--peak={side}"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def timed(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds a step; every round takes all sides in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            with _clock(seconds[name]):
                step()
    return {name: statistics.median(values) for name, values in seconds.items()}


@contextmanager
def _clock(into: list[float]) -> Iterator[None]:
    start = perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    into.append(perf_counter() - start)


SOLVER = {"weights": "frank_wolfe"}
SIDES: dict[str, Callable[[Path], Callable[[], None]]] = {
    "AlphaRec": plain,
    "entropy, 2 groups": lambda root: fair(root, fair_group="pop"),
    "entropy, 18 groups": lambda root: fair(root, fair_group="genre"),
    "Algorithm 2, 2 groups": lambda root: fair(root, fair_group="pop", **SOLVER),
    "Algorithm 2, 18 groups": lambda root: fair(root, fair_group="genre", **SOLVER),
    "the same by the vectors": lambda root: fair(root, fair_group="genre", gram="vectors", **SOLVER),
    "naive backward a group, 2": lambda root: naive(root, "pop"),
    "naive backward a group, 18": lambda root: naive(root, "genre"),
    "entropy and an outer step": lambda root: fair(root, fair_group="genre", outer_every=1),
    "the same, differences": lambda root: fair(root, fair_group="genre", outer_every=1, implicit="finite_difference"),
    "the same, first order": lambda root: fair(root, fair_group="genre", outer_every=1, xi=0),
}


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        steps = {side: make(Path(root) / str(place)) for place, (side, make) in enumerate(SIDES.items())}
        seconds = timed(steps, rounds)
    for side in SIDES:
        ratio = seconds[side] / seconds["AlphaRec"]
        print(f"{side:28} {seconds[side] * 1e3:8.1f} ms  {ratio:6.2f} x  peak {peak_of(side)} MB")
    inner, outer = seconds["entropy, 18 groups"], seconds["entropy and an outer step"]
    for every in (1, 10):
        print(f"outer_every={every}: {1 + (outer / inner - 1) / every:.2f} x the step without an outer level")


if __name__ == "__main__":
    options = dict(word.lstrip("-").split("=") for word in sys.argv[1:])
    if "peak" in options:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{peak(SIDES[options['peak']](Path(folder))):.0f}")
    else:
        main(int(options.get("rounds", 9)))
