"""Our re-rankers beside FairDiverse's own classes: the same lists, groups, metrics and rule of choice.

    python -m venv --system-site-packages fd  # or any environment in which recbole_fair runs
    fd/bin/pip install cvxpy pot gurobipy networkx && fd/bin/pip install --no-deps fairdiverse==1.0.0
    fd/bin/python -W ignore benchmarks/beside_fairdiverse.py RUN_DIR [RUN_DIR ...] [--limit=60]

Each RUN_DIR is a finished run on data with genres. Candidates are each user's 100 best items, scores scaled to [0, 1]
by user. FairDiverse knows one group an item: on both sides an item is of its first genre, and genres that come first
for fewer than 10 items are one group, as its preprocessing makes them. It scores all items: what is no candidate is
-1e6 for the classes that add to scores, and 0, as in its own files, for those that sum or divide them; "outside" is the
share of list places that are no candidates.

Settings are those of FairDiverse's yaml of the class where it has one. The strength is from a grid: on validation the
smallest CV@20 that keeps 98 % of the host's NDCG@20, as ours choose (* marks the most accurate one where none keeps
it). Figures are of test lists. "by score": the NDCG of the same items in the order of the model's scores. A pass beyond
the limit of processor seconds is given up, and with it the stronger settings of the class.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any

os.environ["TQDM_DISABLE"] = "1"  # before anything imports tqdm

import numpy as np
import torch
from fairdiverse.recommendation import rerank_model  # type: ignore[import-not-found]

from recbole_fair.metrics import exposure, formulas, topk
from recbole_fair.rerank.candidates import BoolArray, Candidates, FloatArray, IntArray, profiles
from recbole_fair.rerank.methods import METHODS
from recbole_fair.runner import open_run
from recbole_fair.strategies.after import Point, fairest_within

K, DEPTH, BUDGET, RARE = 20, 100, 0.98, 10
_LEAST = 1e-6  # a candidate's lowest score, above that of an item that is none


@dataclass(frozen=True)
class Part:
    """One part's candidates, and what is judged of lists."""

    candidates: Candidates
    scores: FloatArray  # [U, I] scaled, 0 where an item is no candidate
    positives: BoolArray  # [U, I]


@dataclass(frozen=True)
class Class:
    """A class of FairDiverse: which key is its strength, what is tried from weak to strong, its other settings."""

    key: str
    strengths: tuple[float, ...]
    settings: dict[str, Any]
    absent: float = -1e6  # the score of an item that is no candidate
    by_catalogue: tuple[
        float, ...
    ] = ()  # strengths with the groups' shares of the items as their weights, if it has any


_ALPHAS = (0.1, 0.2, 0.4, 0.7)
_PMMF, _WELF = {"learning_rate": 0.01, "gamma": 0.2}, {"alpha1": 0.8, "alpha2": 3, "iter_num": 30}
CLASSES = {
    "PMMF": Class("lambda", (0.5, 2, 5), _PMMF, by_catalogue=(0.0005, 0.001, 0.002, 0.005)),
    "CPFair": Class("lambda", (0.02, 0.05, 0.1, 0.2, 0.5, 1, 10), {}),
    "min_regularizer": Class(
        "lambda", (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5), {}, by_catalogue=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02)
    ),
    "k_neighbor": Class("nearest_k", (15, 14, 12, 10, 5), {}),
    "TaxRank": Class("t", (0, 0.1, 0.5, 1, 2), {"ot_lambda": 0.05, "sample_num": DEPTH}, absent=0),
    "Welf": Class("lambda", (0.005, 0.01, 0.02, 0.05, 0.1, 0.5), _WELF, absent=0),
    "FairRec": Class("para", _ALPHAS, {}, absent=0),
    "FairRecPlus": Class("para", _ALPHAS, {}, absent=0),
    "RAIF": Class("alpha", (0.01, 0.05, 0.1, 0.5), {"candidate": DEPTH}, absent=0),
}
OURS = ("P-MMF", "MinMax", "CPFair", "FairRec", "TaxRank", "FA-IR", "Calibrated", "MMR")
BY_TARGET = ("P-MMF", "MinMax", "CPFair", "TaxRank", "FA-IR")  # what is due to groups matters to these
Lists = Callable[[Part, float], IntArray]  # candidates and strength -> items [U, K]


def first_genres(data: Any, field: str) -> BoolArray:
    """[I, G] of the first genre of each item; the last group is of the genres that come first for few items."""
    first = [values[0] if values else "" for values in data.values(field, "genre_field")]
    sizes = Counter(first[1:])
    names = np.array(sorted(name for name, size in sizes.items() if size >= RARE))
    membership = np.array(first)[:, None] == names
    rest = ~membership.any(axis=1, keepdims=True)
    rest[0] = False
    return np.concatenate([membership, rest], axis=1)


@torch.no_grad()
def gather(data: Any, trainer: Any, loader: Any, membership: BoolArray) -> Part:
    """The candidates of a part's users, and what they like."""
    trainer.tot_item_num, trainer.item_tensor = len(membership), loader.dataset.get_item_feature().to(trainer.device)
    users, items, scores, positives = [], [], [], []
    for batch in loader:
        interaction, values, rows, liked = trainer.scores(batch)
        best = values.topk(DEPTH, dim=1)
        users.append(interaction[data.dataset.uid_field].numpy())
        items.append(best.indices.numpy())
        scores.append(best.values.double().numpy())
        positives.append(np.zeros(values.shape, dtype=bool))
        positives[-1][rows, liked] = True
    met, of = data.pairs("train")
    profile = profiles(met, of, data.dataset.user_num, membership)[np.concatenate(users)]
    candidates = Candidates(np.concatenate(items), np.concatenate(scores), K, membership, profile=profile)
    dense = np.zeros((len(candidates.items), len(membership)))
    np.put_along_axis(dense, candidates.items, np.maximum(candidates.scaled(slice(None)), _LEAST), axis=1)
    return Part(candidates, dense, np.concatenate(positives))


def theirs(name: str, by_catalogue: bool) -> Lists:
    """Lists of a class of FairDiverse; `by_catalogue` weighs groups by their share of the items instead of 1."""
    settings = CLASSES[name]

    def lists(part: Part, strength: float) -> IntArray:
        membership = part.candidates.membership[1:]  # its items are numbered from 0, without padding
        shape = {"dataset": "lists", "item_num": len(membership), "group_num": membership.shape[1]}
        np.random.seed(0)  # TaxRank draws its lists
        method = getattr(rerank_model, name)({**settings.settings, settings.key: strength, **shape})
        if by_catalogue:  # an array is refused by the constructor, a list by P-MMF's arithmetic
            method.weights = part.candidates.due
        scores = part.scores[:, 1:]
        answer = method.rerank(np.where(scores > 0, scores, settings.absent), K)
        made = np.zeros((len(scores), K), dtype=np.int64)
        for user in range(len(scores)):
            made[user, : len(answer[user])] = np.asarray(answer[user], dtype=np.int64) + 1
        return made

    return lists


def ours(name: str, equal: bool) -> Lists:
    """Lists of a method of ours; `equal` makes the same due to every group instead of its share of the items."""

    def lists(part: Part, strength: float) -> IntArray:
        groups = part.candidates.membership.shape[1]
        candidates = replace(part.candidates, target=np.full(groups, 1 / groups) if equal else None)
        return np.take_along_axis(candidates.items, METHODS[name].choose(candidates, strength), axis=1)

    return lists


@dataclass(frozen=True)
class Judged:
    """What lists do."""

    ndcg: float
    by_score: float  # NDCG of the same items in the order of the model's scores
    cv: float
    minimum: float
    exposure_cv: float
    lower_half: float  # FairDiverse's MMF: share of exposure of the lower half of the groups
    least: float  # share of exposure of the group that is shown least
    outside: float  # share of places that are no candidates

    def row(self) -> str:
        """As cells of a table."""
        first = (self.ndcg, self.by_score, self.cv, self.minimum, self.exposure_cv)
        shares = (self.lower_half, self.least)
        return " | ".join([*(f"{value:.3f}" for value in first), *(f"{value:.4f}" for value in shares),
                           f"{self.outside:.1%}"])  # fmt: skip


def judge(part: Part, lists: IntArray) -> Judged:
    """Accuracy, recall by group and exposure, by the package's own functions."""
    membership, liked = part.candidates.membership, part.positives.sum(axis=1)
    order = np.argsort(-np.take_along_axis(part.scores, lists, axis=1), axis=1, kind="stable")
    hit = np.take_along_axis(part.positives, lists, axis=1)
    found = exposure.exposed(np.where(hit, lists, 0), membership, np.ones(K))
    recall = formulas.group_utility_terms(found, part.positives.astype(float) @ membership).value()
    shown = exposure.exposure(lists, membership).value()
    return Judged(
        ndcg=float(topk.ndcg(hit, liked)[:, -1].mean()),
        by_score=float(topk.ndcg(np.take_along_axis(hit, order, axis=1), liked)[:, -1].mean()),
        cv=float(formulas.cv(recall)),
        minimum=float(formulas.minimum(recall)),
        exposure_cv=float(formulas.cv(shown)),
        lower_half=float(exposure.max_min_share(shown)),
        least=float(shown.min()),
        outside=float((np.take_along_axis(part.scores, lists, axis=1) == 0).mean()),
    )


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """A TimeoutError once the block has taken so many seconds of processor time."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"over {seconds:g} s of processor time for one pass")

    former = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)  # again each second: one of the classes excepts everything
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)


def row(name: str, lists: Lists, strengths: tuple[float, ...], valid: Part, test: Part, limit: float) -> str:
    """Choose a strength on validation, judge it on test; the first error where a class does not run."""
    settings, judged, error = [0.0], [judge(valid, valid.candidates.items[:, :K])], ""
    for strength in strengths:
        try:
            with limited(limit):
                made = lists(valid, strength)
        except Exception as fault:  # another's code: whatever it raises is what is reported
            error = f"{type(fault).__name__} at {strength:g}: {str(fault).splitlines()[0][:100]}"
            break
        settings.append(strength)
        judged.append(judge(valid, made))
    if len(settings) == 1:
        return f"| {name} | does not run: {error} |"
    points = [Point((at,), one.ndcg, (), one.cv, one.minimum) for at, one in zip(settings, judged, strict=True)]
    chosen = fairest_within(points, BUDGET, "cv")
    mark = ""
    if all(point.accuracy < BUDGET * points[0].accuracy for point in points[1:]):
        chosen, mark = max(range(1, len(points)), key=lambda place: points[place].accuracy), "*"
    start = process_time()
    made = lists(test, settings[chosen] or strengths[0])
    seconds = process_time() - start
    figures = judge(test, made if settings[chosen] else test.candidates.items[:, :K])
    note = f" ({error})" if error else ""
    return f"| {name}{note} | {settings[chosen]:g}{mark} | {figures.row()} | {seconds:.2f} |"


def beside(folder: Path, workplace: Path, limit: float, names: set[str]) -> None:
    """The table of one run."""
    config, data, trainer = open_run(folder)
    membership = first_genres(data, config["genre_field"])
    trainer.model.eval()
    valid, test = (gather(data, trainer, loader, membership) for loader in (data.valid, data.test))
    place = workplace / "recommendation" / "processed_dataset" / "lists"
    place.mkdir(parents=True, exist_ok=True)  # where FairDiverse looks for groups
    place.joinpath("iid2pid.json").write_text(json.dumps(dict(enumerate(membership[1:].argmax(axis=1).tolist()))))
    os.chdir(workplace)
    sizes = f"{len(test.scores)} users, {len(membership) - 1} items, {membership.shape[1]} groups"
    print(f"\n{folder.name}: {sizes}, {DEPTH} candidates, top {K}\n")
    print(
        "| method | strength | NDCG | by score | CV | MIN | exposure CV | MMF | least share | outside | processor s |"
    )
    print("|" + " --- |" * 11)
    print(f"| host | | {judge(test, test.candidates.items[:, :K]).row()} | |", flush=True)
    for name, settings in CLASSES.items():
        for strengths in filter(None, (settings.strengths, settings.by_catalogue)):
            by_catalogue = strengths is settings.by_catalogue
            label = f"FairDiverse {name}" + ", weights of the catalogue" * by_catalogue
            if not names or name in names:
                print(row(label, theirs(name, by_catalogue), strengths, valid, test, limit), flush=True)
    for name in OURS:
        for equal in (False, True)[: 1 + (name in BY_TARGET)]:
            label = f"ours {name}" + ", equal shares due" * equal
            if not names or name in names:
                print(row(label, ours(name, equal), METHODS[name].strengths[1:], valid, test, limit), flush=True)


def main() -> None:
    """A table a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--limit", type=float, default=60)
    parser.add_argument("--methods", default="", help="names, all without")
    asked = parser.parse_args()
    packages = ("fairdiverse", "cvxpy", "pot", "gurobipy", "numpy", "recbole")
    print(f"Python {platform.python_version()}", *(f"{name} {importlib.metadata.version(name)}" for name in packages))
    runs = [folder.resolve() for folder in asked.runs]
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        for run in runs:
            os.chdir(home)  # a run may name its data by a relative path
            beside(run, Path(folder), asked.limit, set(asked.methods.split(",")) - {""})
        os.chdir(home)


if __name__ == "__main__":
    main()
