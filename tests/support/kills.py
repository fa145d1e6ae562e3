"""Running in a process of its own and killing it at a chosen moment, for tests and benchmarks/kill_and_resume.py."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

_CHILD = """
import json, os, signal, sys
from pathlib import Path
scenario, keys = json.loads(sys.argv[1]), json.loads(sys.argv[2])
from recbole_fair import runner
from recbole_fair.training.trainer import FairTrainer
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if scenario["kill_at"] == "checkpoint":
    real, seen = Path.replace, []
    def replace(self, target):
        # half-way through a write: the new file lies beside the old one, not yet in its place
        if Path(target).suffix == ".safetensors":
            seen.append(target)
            if len(seen) > scenario["when"]:
                Path(self).write_bytes(Path(self).read_bytes()[: Path(self).stat().st_size // 2])
                die()
        return real(self, target)
    Path.replace = replace
elif scenario["kill_at"] == "batch":
    real, seen = FairTrainer._check_nan, []
    def count(self, loss):
        seen.append(1)
        if len(seen) > scenario["when"]:
            die()
        return real(self, loss)
    FairTrainer._check_nan = count
def on_epoch(epoch, score):
    if scenario["kill_at"] == "epoch" and epoch >= scenario["when"]:
        die()
runner.run(**keys, on_epoch=on_epoch)
"""


@dataclass(frozen=True)
class Scenario:
    """Which model, and when its process dies: after an epoch, at a batch, or inside the write of a checkpoint."""

    model: str
    kill_at: str
    when: int = 2


def interrupted(scenario: Scenario, keys: dict[str, Any]) -> int:
    """Start the run in a new process and let it be killed; its exit status (-9)."""
    command = [sys.executable, "-W", "ignore", "-c", _CHILD, json.dumps(asdict(scenario)), json.dumps(keys)]
    return subprocess.run(command, capture_output=True, check=False).returncode
