"""Thirty SIGKILLs spread over a run, ten of them inside a checkpoint write, over three kinds of models.

python benchmarks/kill_and_resume.py

Each killed run is resumed and must end in the figures of an undisturbed one: every metric, validation and test, equal.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))

from kills import Scenario, interrupted
from toy import toy_keys, write_toy

from recbole_fair import run

MODELS = ("AlphaRec", "SASRec", "SGL")
KILLS = [("epoch", when) for when in (1, 3, 5)] + [("batch", when) for when in (9, 15, 22, 30)]
KILLS += [("checkpoint", when) for when in (3, 6, 9)]


def main() -> None:
    same = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_toy(root)
        for model in MODELS:
            whole = run(**toy_keys(root, root / model, model, epochs=8))
            for kill_at, when in KILLS:
                keys = toy_keys(root, root / f"{model}-{kill_at}-{when}", model, epochs=8)
                status = interrupted(Scenario(model, kill_at, when), keys)
                resumed = run(**keys, resume=True)
                equal = (resumed.test, resumed.valid) == (whole.test, whole.valid)
                same += equal and status == -9
                print(f"{model:<9} killed at {kill_at} {when:<3} status {status}: {'same' if equal else 'DIFFERENT'}")
    print(f"{same} of {len(MODELS) * len(KILLS)} killed runs end in the figures of the undisturbed one")


if __name__ == "__main__":
    main()
