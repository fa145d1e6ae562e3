"""An audit at scale: 1 million users, lists of 20 among 100,000 items, generated; time and peak memory.

    python benchmarks/audit.py [--users 1000000]

Goals: 60 s of processor time and 6 GiB, reading the files included.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from recbole_fair.rundir.result import Result

ITEMS, LISTED, TESTED, TRAINED, GENRES = 100_000, 20, 3, 5, 18


def write(path: Path, **columns: np.ndarray) -> None:
    """A tab-separated table."""
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    arrow_csv.write_csv(table, path, arrow_csv.WriteOptions(delimiter="\t", quoting_style="none"))


def generate(folder: Path, users: int) -> None:
    """Lists and interactions in which popular items are met more often, as in real data."""
    rng = np.random.default_rng(0)
    listed = (rng.power(0.3, (users, LISTED)) * (ITEMS // LISTED)).astype(np.int64) + np.arange(LISTED) * (
        ITEMS // LISTED
    )
    everyone = np.arange(users)
    write(
        folder / "lists.tsv",
        user_id=np.repeat(everyone, LISTED),
        item_id=rng.permuted(listed, axis=1).ravel(),
        rank=np.tile(np.arange(1, LISTED + 1), users),
    )
    met = (rng.power(0.3, (users, TESTED + TRAINED)) * ITEMS).astype(np.int64)
    split = np.tile(np.array(["test"] * TESTED + ["train"] * TRAINED), users)
    write(folder / "met.tsv", user_id=np.repeat(everyone, TESTED + TRAINED), item_id=met.ravel(), split=split)
    write(
        folder / "users.tsv",
        user_id=everyone,
        gender=rng.choice(["F", "M"], users),
        age=rng.choice(["young", "old"], users),
    )
    write(folder / "items.tsv", item_id=np.arange(ITEMS), genre=rng.integers(GENRES, size=ITEMS))


def main() -> None:
    """Generate, audit in a process of its own, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    users = parser.parse_args().users
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        generate(folder, users)
        files = {"recommendations": "lists", "interactions": "met", "users": "users", "items": "items"}
        given = [f"--{name}={folder / stem}.tsv" for name, stem in files.items()]
        start = perf_counter()
        subprocess.run(
            [sys.executable, "-m", "recbole_fair", "audit", *given, "--item_groups=pop,genre",
             "--user_groups=gender,age", f"--run_dir={folder / 'out'}"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        result = Result.read(folder / "out")
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"{users:,} users: {perf_counter() - start:.0f} s ({result.seconds}), {spent.ru_utime + spent.ru_stime:.0f}"
            f" s of processor time, peak {result.environment['peak_memory'] / 2**30:.1f} GiB"
        )


if __name__ == "__main__":
    main()
