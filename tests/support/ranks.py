"""Runs of two processes, for tests: `trained_together` starts this file under torchrun, which asks the command line.

Rank 0 may be stopped after an epoch; the other rank ends with an error where it writes a file of a run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def trained_together(runs: list[dict[str, Any]], folder: Path) -> None:
    """Make runs of these keys below a folder; `stop_after` is the epoch, from 0, after which a run stops."""
    words = ["--standalone", "--nproc_per_node=2", str(Path(__file__)), json.dumps(runs), str(folder)]
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words], cwd=folder, timeout=600, check=False, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True,
    )  # fmt: skip
    traced = [line for line in ended.stderr.splitlines() if line.startswith("[rank")]
    assert ended.returncode == 0, "\n".join(traced)[-6000:] or ended.stderr[-3000:]


def _main(runs: list[dict[str, Any]], folder: str) -> None:
    from recbole_fair import cli, parallel
    from recbole_fair.errors import StorageError
    from recbole_fair.training.trainer import FairTrainer

    def refuse_to_write(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in ("os.mkdir", "os.rename", "os.remove") or (
            event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if writes and str(arguments[0]).startswith(folder):
            raise AssertionError(f"rank {os.environ['RANK']}: {event} {arguments}")

    if os.environ["RANK"] != "0":
        sys.addaudithook(refuse_to_write)
    after_epoch = FairTrainer._after_epoch
    for keys in runs:
        last = keys.pop("stop_after", None)

        def stop(trainer: FairTrainer, epoch: int, score: float, last: int | None = last) -> None:
            after_epoch(trainer, epoch, score)
            if epoch == last:
                raise StorageError("the disk is full")

        FairTrainer._after_epoch = stop  # type: ignore[method-assign]
        status = cli.main([f"--{key}={json.dumps(value)}" for key, value in keys.items()])
        assert status == (0 if last is None or parallel.rank() else 2)
        if status:  # the process would end here, and torchrun would end the others
            parallel.said()


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]), sys.argv[2])
