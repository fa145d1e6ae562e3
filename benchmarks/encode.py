"""Time to encode ml-100k's titles: ours against bare SentenceTransformer.encode, and from the cache.

The goals are at least 0.95 times and at least 50 times the bare library's speed.

    python benchmarks/encode.py [--pairs=9]

Both sides use the same weights, batch size and threads, and are timed in turns, so that what else the machine does
meets both alike. A pair is one run of each; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's client is imported

from recbole_fair.encoding.cache import item_vectors
from recbole_fair.encoding.encoders import make_encoder
from recbole_fair.language.checkpoints import find
from recbole_fair.language.packaged import MINILM


def main() -> None:
    """Print the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9, help="interleaved pairs (default: 9)")
    pairs = parser.parse_args().pairs
    tokens, texts = film_titles()
    encode, bare = ours(), bare_library()
    with tempfile.TemporaryDirectory() as folder:
        cached = from_cache(tokens, texts, folder)
        for run in (encode, bare):
            run(texts)  # loads the model and warms the caches of both
        times = [[seconds(run, texts) for run in (bare, encode, cached)] for _ in range(pairs)]
    bare_s, ours_s, cached_s = (median(column) for column in zip(*times, strict=True))
    print(f"{len(texts)} titles, {pairs} interleaved pairs, medians")
    print(f"bare SentenceTransformer.encode  {bare_s:9.4f} s")
    print(f"ours                             {ours_s:9.4f} s   {bare_s / ours_s:8.2f} x bare (goal >= 0.95)")
    print(f"ours, from the cache             {cached_s:9.4f} s   {bare_s / cached_s:8.1f} x bare (goal >= 50)")


def film_titles() -> tuple[list[str], list[str]]:
    """Item tokens and titles of the ml-100k that lies in the recbole package."""
    spec = find_spec("recbole")
    if spec is None or spec.origin is None:
        raise SystemExit("recbole is not installed")
    path = Path(spec.origin).parent / "dataset_example" / "ml-100k" / "ml-100k.item"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    return [row[0] for row in rows], [row[1] for row in rows]


def ours() -> Callable[[list[str]], object]:
    """The encoder as a run uses it."""
    return make_encoder(MINILM.name).encode


def bare_library() -> Callable[[list[str]], object]:
    """The same weights without us."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(find(MINILM.name).folder), device="cpu").encode


def from_cache(tokens: list[str], texts: list[str], folder: str) -> Callable[[list[str]], object]:
    """A later run's way to the vectors: hash the texts, check the file's hash, map its rows and read them."""
    item_vectors(make_encoder(MINILM.name), tokens, texts, folder)
    later = make_encoder(MINILM.name)  # as on the other side, finding the model is not part of it
    return lambda titles: item_vectors(later, tokens, titles, folder).sum()


def seconds(run: Callable[[list[str]], object], texts: list[str]) -> float:
    """Wall time of one run."""
    start = perf_counter()
    run(texts)
    return perf_counter() - start


if __name__ == "__main__":
    main()
