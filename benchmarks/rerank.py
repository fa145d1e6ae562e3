"""Re-ranking at scale: 1 million users with 100 scored candidates each among 100,000 items of 18 genres, top 20 out.

    python benchmarks/rerank.py [--users 1000000] [--methods MinMax,CPFair,Calibrated,MMR]

Lists are generated and held in memory, files are not read. Every fourth item has two genres. Each method runs in a
process of its own. Goals on two cores: 60 seconds a method and 8 GiB.
"""

from __future__ import annotations

import argparse
import resource
from multiprocessing import get_context
from time import perf_counter, process_time

import numpy as np

from recbole_fair.rerank.candidates import Candidates
from recbole_fair.rerank.methods import METHODS

ITEMS, WIDTH, GENRES, K = 100_000, 100, 18, 20


def generate(users: int) -> Candidates:
    """Lists in which popular items stand more often, as in real data."""
    rng = np.random.default_rng(0)
    stride = ITEMS // WIDTH
    items = np.empty((users, WIDTH), dtype=np.int32)
    for start in range(0, users, 1 << 16):
        rows = items[start : start + (1 << 16)]
        rows[:] = rng.power(0.3, rows.shape) * stride + np.arange(WIDTH) * stride + 1
    membership = np.zeros((ITEMS + 1, GENRES), dtype=bool)
    for share in (1, 4):
        chosen = np.arange(1, ITEMS + 1, share)
        membership[chosen, (rng.power(0.5, len(chosen)) * GENRES).astype(int)] = True
    scores = np.sort(rng.random((users, WIDTH), dtype=np.float32), axis=1)[:, ::-1]
    return Candidates(items, scores, K, membership, profile=rng.dirichlet(np.ones(GENRES), users))


def measure(name: str, users: int) -> str:
    """One method: wall seconds, processor seconds, peak memory of the process."""
    candidates = generate(users)
    method = METHODS[name]
    wall, processor = perf_counter(), process_time()
    method.choose(candidates, method.default)
    spent = perf_counter() - wall, process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{name:<12} {spent[0]:7.1f} s wall {spent[1]:7.1f} s processor  peak {peak:.1f} GiB"


def main() -> None:
    """Measure the methods one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--methods", default="MinMax,CPFair,Calibrated,MMR")
    given = parser.parse_args()
    print(f"{given.users:,} users x {WIDTH} candidates, top {K}")
    for name in given.methods.split(","):
        with get_context("spawn").Pool(1) as pool:
            print(pool.apply(measure, (name, given.users)), flush=True)


if __name__ == "__main__":
    main()
