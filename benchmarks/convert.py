"""How fast and how lean the converter is: `python benchmarks/convert.py [--raw DIR] [--rows 10000000] [--pairs 9]`.

MovieLens-1M: writing the three files and the manifest, against pandas' C engine reading and writing the same ratings
tab-separated, and against a loop of `str.split`; medians of interleaved pairs, the read-back through RecBole apart.
Amazon: ratings made up here (2014's layout), grouped by item and in random order, 1 million rows and `--rows`, each in
a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from recbole_fair.convert import build, readback

RAW = Path(__file__).parents[2] / "shared/data/ml-1m"
_CHUNK = 1_000_000


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def converter(source: str, raw: Path, folder: Path, **options: str) -> float:
    """Seconds to write a data set, without the read-back."""
    with tempfile.TemporaryDirectory(dir=folder) as out, mock.patch.object(readback, "verify"):
        return timed(lambda: build.convert(build.Conversion(source, raw, Path(out), "set", options)))


def with_pandas(tabs: Path, folder: Path) -> float:
    def work() -> None:
        frame = pd.read_csv(tabs, sep="\t", header=None, engine="c")
        frame.to_csv(folder / "pandas.inter", sep="\t", index=False, header=False)

    return timed(work)


def with_split(raw: Path, folder: Path, checked: bool) -> float:
    """The loop a script would have; `checked`: with the numbers looked at, and ids and pairs counted as we do."""

    def work() -> None:
        users, items, pairs = set(), set(), set()
        with (raw / "ratings.dat").open() as source, (folder / "loop.inter").open("w") as target:
            for line in source:
                user, item, rating, moment = line.rstrip("\n").split("::")
                if checked:
                    if not 1 <= float(rating) <= 5 or float(moment) < 0:
                        raise ValueError(line)
                    users.add(user)
                    items.add(item)
                    pairs.add((user, item))
                target.write("\t".join((user, item, rating, moment)) + "\n")

    return timed(work)


def films(raw: Path, pairs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tabs = folder / "ratings.tsv"
        tabs.write_bytes((raw / "ratings.dat").read_bytes().replace(b"::", b"\t"))
        rivals: dict[str, Callable[[], float]] = {
            "pandas, C engine, read and write": lambda: with_pandas(tabs, folder),
            "str.split loop, nothing checked": lambda: with_split(raw, folder, checked=False),
            "str.split loop, checks and counts": lambda: with_split(raw, folder, checked=True),
        }
        converter("ml-1m", raw, folder)
        for title, rival in rivals.items():
            measured = [(converter("ml-1m", raw, folder), rival()) for _ in range(pairs)]
            ours, theirs = (statistics.median(column) for column in zip(*measured, strict=True))
            ratio = statistics.median(b / a for a, b in measured)
            print(f"ml-1m: converter {ours:.2f} s, {title} {theirs:.2f} s: {ratio:.1f} x")
        whole = timed(lambda: build.convert(build.Conversion("ml-1m", raw, folder / "out", "ml-1m")))
        print(f"ml-1m: with the full read-back through RecBole {whole:.1f} s")


def make_amazon(raw: Path, rows: int, order: str) -> None:
    """Ratings with a long tail of users and items, ids as they look; a hundredth of the items has metadata.

    The published files are grouped by item. In random order any item may come in any row, as if they were shuffled.
    """
    raw.mkdir(parents=True)
    draw = np.random.default_rng(7)
    with (raw / "ratings_Books.csv").open("w") as stream:
        for start in range(0, rows, _CHUNK):
            size = min(_CHUNK, rows - start)
            users = (draw.beta(0.6, 1.2, size) * rows * 0.35).astype(int)
            tail = (draw.beta(0.4, 1.6, size) * size * 0.1).astype(int)
            shelf = start if order == "grouped" else draw.integers(0, -(-rows // _CHUNK), size) * _CHUNK
            items = np.sort(shelf // 10 + tail) if order == "grouped" else shelf // 10 + tail
            pd.DataFrame({
                "user": [f"A{user:013X}" for user in users],
                "item": [f"B{item:09X}" for item in items],
                "rating": draw.integers(1, 6, size).astype(float),
                "time": draw.integers(900_000_000, 1_400_000_000, size),
            }).to_csv(stream, header=False, index=False)  # fmt: skip
    with (raw / "meta_Books.json").open("w") as stream:
        stream.writelines(f"{{'asin': 'B{n:09X}', 'title': 'Title {n}'}}\n" for n in range(0, rows // 10, 100))


def alone(raw: Path, mode: str) -> None:
    """In a process of its own: seconds, seconds of processor time and peak memory of one conversion."""
    with tempfile.TemporaryDirectory(dir=raw.parent) as name:
        request = build.Conversion("amazon-books", raw, Path(name), "set", {"category": "Books"}, verify="sample")
        unread = mock.patch.object(readback, "verify") if mode == "write" else contextlib.nullcontext()
        with unread:
            before = time.process_time()
            seconds = timed(lambda: build.convert(request))
            busy = time.process_time() - before
    print(seconds, busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def amazon(rows: int, pairs: int, order: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[tuple[int, str], list[list[float]]] = {}
        for size in (1_000_000, rows):
            make_amazon(folder / str(size) / "raw", size, order)
        for mode, times in (("write", pairs), ("sample", 1)):
            for _ in range(times):
                for size in (1_000_000, rows):
                    command = [sys.executable, __file__, "--alone", str(folder / str(size) / "raw"), "--mode", mode]
                    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                    figures.setdefault((size, mode), []).append([float(figure) for figure in answer])
    for (size, mode), runs in figures.items():
        seconds = statistics.median(run[0] for run in runs)
        what = "written" if mode == "write" else "written, counted, a sample read back"
        each_us = seconds / size * 1e6
        print(
            f"amazon, {order}, {size} rows {what}: {seconds:.1f} s, {each_us:.2f} us a row, {runs[0][2]:.2f} GiB peak"
        )
    for place, what in enumerate(("time", "processor time, which other programs disturb less,")):
        each = {size: [run[place] / size for run in figures[size, "write"]] for size in (1_000_000, rows)}
        ratios = sorted(b / a for a, b in zip(each[1_000_000], each[rows], strict=True))
        spread = f"{statistics.median(ratios):.2f} x ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        print(f"amazon, {order}: {what} a row at {rows} rows is {spread} that at 1 million")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, default=RAW)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--alone", type=Path)
    parser.add_argument("--mode", default="write")
    arguments = parser.parse_args()
    if arguments.alone:
        alone(arguments.alone, arguments.mode)
        return
    if arguments.raw.is_dir():
        films(arguments.raw, arguments.pairs)
    else:
        print(f"{arguments.raw}: not there, so nothing is measured on MovieLens-1M")
    if arguments.rows:
        for order in ("grouped", "random"):
            amazon(arguments.rows, min(arguments.pairs, 5), order)


if __name__ == "__main__":
    main()
