"""The figures of a finished run, worked out anew from its files: the csv module and plain loops, no line shared.

What is read: recommendations.tsv and interactions.tsv of the run, and the raw .user and .item files of the data set.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Lists = dict[str, list[str]]  # user -> items, best first; an empty word is an empty place
Sets = dict[str, set[str]]  # user -> items, or group -> members
NAN = math.nan


def rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """A table with a header."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter=delimiter))


def atomic(path: Path) -> dict[str, dict[str, str]]:
    """A .user or .item file: id -> field -> text."""
    found = {}
    for row in rows(path, "\t"):
        plain = {name.split(":")[0]: value for name, value in row.items()}
        found[next(iter(plain.values()))] = plain
    return found


@dataclass
class Judged:
    """Lists of the judged users beside the split they come from."""

    lists: Lists = field(default_factory=dict)
    train: list[tuple[str, str]] = field(default_factory=list)
    known: Sets = field(default_factory=dict)  # train and valid
    test: Sets = field(default_factory=dict)
    users: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)


def judged(folder: Path) -> Judged:
    """The files of a run."""
    found = Judged()
    for row in rows(folder / "interactions.tsv", "\t"):
        user, item = row["user_id"], row["item_id"]
        found.users.add(user)
        found.items.add(item)
        if row["split"] == "train":
            found.train.append((user, item))
        (found.test if row["split"] == "test" else found.known).setdefault(user, set()).add(item)
    for row in rows(folder / "recommendations.tsv", "\t"):
        listed = found.lists.setdefault(row["user_id"], [])
        listed.append(row["item_id"])
        assert int(row["rank"]) == len(listed)
    return found


# --- one list


def recall(listed: list[str], liked: set[str], k: int) -> float:
    return sum(item in liked for item in listed[:k]) / len(liked)


def precision(listed: list[str], liked: set[str], k: int) -> float:
    return sum(item in liked for item in listed[:k]) / k


def hit(listed: list[str], liked: set[str], k: int) -> float:
    return float(any(item in liked for item in listed[:k]))


def mrr(listed: list[str], liked: set[str], k: int) -> float:
    for rank, item in enumerate(listed[:k], start=1):
        if item in liked:
            return 1 / rank
    return 0.0


def ndcg(listed: list[str], liked: set[str], k: int) -> float:
    gain = ideal = 0.0
    for rank, item in enumerate(listed[:k], start=1):
        gain += 1 / math.log2(rank + 1) if item in liked else 0.0
    for rank in range(1, min(k, len(liked)) + 1):
        ideal += 1 / math.log2(rank + 1)
    return gain / ideal


def average_precision(listed: list[str], liked: set[str], k: int) -> float:
    total, hits = 0.0, 0
    for rank, item in enumerate(listed[:k], start=1):
        if item in liked:
            hits += 1
            total += hits / rank
    return total / min(k, len(liked))


OF_A_LIST: dict[str, Callable[[list[str], set[str], int], float]] = {
    "recall": recall,
    "precision": precision,
    "hit": hit,
    "mrr": mrr,
    "ndcg": ndcg,
    "map": average_precision,
}


# --- groups of figures


def mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else NAN


def cv(values: Iterable[float]) -> float:
    found = [value for value in values if not math.isnan(value)]
    middle = mean(found)
    if len(found) < 2 or middle == 0:
        return NAN
    return math.sqrt(mean((value - middle) ** 2 for value in found)) / middle


def minimum(values: Iterable[float]) -> float:
    found = sorted(value for value in values if not math.isnan(value))
    return mean(found[: max(1, len(found) // 4)])


def gap(values: Iterable[float]) -> float:
    found = [value for value in values if not math.isnan(value)]
    return max(found) - min(found) if len(found) > 1 else NAN


def ratio(values: Iterable[float]) -> float:
    found = [value for value in values if not math.isnan(value)]
    return min(found) / max(found) if len(found) > 1 and max(found) > 0 else NAN


BETWEEN = {"gap": gap, "ratio": ratio, "cv": cv, "min": minimum}


# --- who belongs to which group


def members(table: Mapping[str, dict[str, str]], name: str, *, several: bool = False) -> Sets:
    """Values of a field to the ids that have them; `several` words are several values."""
    found: Sets = {}
    for identifier, row in table.items():
        for value in row[name].split(" ") if several else [row[name]]:
            if value:
                found.setdefault(value, set()).add(identifier)
    return found


def popular(judged: Judged, share: float = 0.1) -> Sets:
    """The floor(share n) items with most training interactions, ties by id, and the rest."""
    counts: dict[str, int] = {}
    for _, item in judged.train:
        counts[item] = counts.get(item, 0) + 1
    ordered = sorted(counts, key=lambda item: (-counts[item], item))
    size = max(1, math.floor(share * len(ordered) + 1e-9))
    return {"popular": set(ordered[:size]), "rest": set(ordered[size:])}


# --- a run


@dataclass
class Figures:
    """What result.json's `test` and groups.csv must say."""

    test: dict[str, float] = field(default_factory=dict)
    groups: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)


def figures(run: Judged, topk: list[int], items: Mapping[str, Sets], users: Mapping[str, Sets]) -> Figures:
    """Every figure of lists: overall, by group of items and users, and between groups."""
    found = Figures()
    for k in topk:
        values = {
            name: {user: of_list(run.lists.get(user, []), liked, k) for user, liked in run.test.items()}
            for name, of_list in OF_A_LIST.items()
        }
        found.test |= {f"{name}@{k}": mean(by_user.values()) for name, by_user in values.items()}
        for grouping, groups in users.items():
            _of_users(found, values, grouping, groups, k)
        for grouping, groups in items.items():
            _of_items(found, run, grouping, groups, k)
        _of_the_catalogue(found, run, k)
    return found


def _of_users(found: Figures, values: dict[str, dict[str, float]], grouping: str, groups: Sets, k: int) -> None:
    for name, by_user in values.items():
        means = {}
        for group, own in groups.items():
            means[group] = mean(value for user, value in by_user.items() if user in own)
            cell = found.groups.setdefault((grouping, group), {"size": len(own), "users": len(own & by_user.keys())})
            cell[f"{name}@{k}"] = means[group]
        for prefix, between in BETWEEN.items():
            found.test[f"{prefix}_{name}@{k}[{grouping}]"] = between(means.values())


def _of_items(found: Figures, run: Judged, grouping: str, groups: Sets, k: int) -> None:
    utility, given_liked, shown, exposure, merit = {}, {}, {}, {}, {}
    slots = sum(bool(item) for user in run.test for item in run.lists.get(user, [])[:k])
    held_out = sum(len(liked) for liked in run.test.values())
    for group, own in groups.items():
        shares, hits, relevant, listed, could = [], 0, 0, 0, 0
        for user, liked in run.test.items():
            top = run.lists.get(user, [])[:k]
            right = sum(item in liked and item in own for item in top)
            if liked & own:
                shares.append(right / len(liked & own))
            hits, relevant = hits + right, relevant + len(liked & own)
            listed += sum(item in own for item in top)
            could += len(own - (run.known.get(user, set()) - liked))
        utility[group] = mean(shares)
        given_liked[group] = hits / relevant if relevant else NAN
        shown[group] = listed / could if could else NAN
        exposure[group] = listed / slots
        merit[group] = exposure[group] / (relevant / held_out) if relevant else NAN
        cell = found.groups.setdefault((grouping, group), {"size": len(own), "users": len(shares)})
        cell |= {f"recall@{k}": utility[group], f"exposure@{k}": exposure[group]}
    found.test |= {
        f"cv@{k}[{grouping}]": cv(utility.values()),
        f"min@{k}[{grouping}]": minimum(utility.values()),
        f"reo@{k}[{grouping}]": cv(given_liked.values()),
        f"rsp@{k}[{grouping}]": cv(shown.values()),
        f"exposure_cv@{k}[{grouping}]": cv(exposure.values()),
        f"merit_cv@{k}[{grouping}]": cv(merit.values()),
    }


def _of_the_catalogue(found: Figures, run: Judged, k: int) -> None:
    """Coverage, Gini, entropy and popularity; an empty place is no item."""
    counts: dict[str, int] = {}
    for _, item in run.train:
        counts[item] = counts.get(item, 0) + 1
    top = {user: run.lists.get(user, [])[:k] for user in run.test}
    times: dict[str, int] = {}
    for item in (item for listed in top.values() for item in listed if item):
        times[item] = times.get(item, 0) + 1
    every = [times.get(item, 0) for item in run.items]
    total = sum(every)
    found.test[f"itemcoverage@{k}"] = len(times) / len(run.items)
    found.test[f"giniindex@{k}"] = sum(abs(one - other) for one in every for other in every) / (2 * len(every) * total)
    found.test[f"shannonentropy@{k}"] = -sum(count / total * math.log(count / total) for count in times.values())
    found.test[f"averagepopularity@{k}"] = mean(mean(counts.get(item, 0) for item in listed) for listed in top.values())
