"""Planted run directories: files as a run leaves them, written without training anything.

Users u0 ... have a gender and test items of two item groups; a model hits each test item with a probability of its own,
so that models can be made better, worse or equal on purpose.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

USERS = 60
TOP, TAIL = "pop:popular", "pop:rest"
FACTS = {"fingerprint": "f00d", "split": "5p117", "candidates": None, "users": USERS, "items": 40, "interactions": 900}


def hits_of(quality: tuple[float, float], seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Hits and test items by item group: 6 popular and 3 other test items a user, some users without the latter."""
    relevant = {TOP: np.full(USERS, 6), TAIL: np.where(np.arange(USERS) % 5 == 0, 0, 3)}
    draw = np.random.default_rng(seed)
    chances = dict(zip((TOP, TAIL), quality, strict=True))
    return {name: draw.binomial(relevant[name], chances[name]) for name in relevant}, relevant


def plant(
    folder: Path,
    model: str = "MF",
    seed: int = 1,
    *,
    quality: tuple[float, float] = (0.5, 0.2),
    config: Mapping[str, Any] | None = None,
    history: bool = True,
    **changes: Any,
) -> Path:
    """Write one finished run; `changes` replace entries of result.json."""
    folder.mkdir(parents=True)
    hits, relevant = hits_of(quality, seed * 7919 + sum(map(ord, model)))
    recall = sum(hits.values()) / sum(relevant.values())
    genders = ["F" if place % 3 == 0 else "M" for place in range(USERS)]
    write_users(folder, genders, recall, hits, relevant)
    groups = group_rows(genders, recall, hits, relevant)
    utilities = [row["recall@5"] for row in groups if row["kind"] == "item"]
    by_gender = [row["recall@5"] for row in groups if row["kind"] == "user"]
    result = {
        "model": model, "strategy": None, "dataset": "planted", "seed": seed, "config_hash": f"hash-{model}",
        "status": "ok", "error": None, "valid": {"recall@5": float(recall.mean())},
        "test": {
            "recall@5": float(recall.mean()),
            "cv@5[pop]": float(np.std(utilities) / np.mean(utilities)),
            "gap_recall@5[gender]": abs(by_gender[0] - by_gender[1]),
        },
        "interval": {}, "groups": groups, "parameters": {"total": 10, "trainable": 10},
        "seconds": {"data": 0.1, "train": 2.0 + seed}, "versions": {"recbole_fair": "0", "python": "3"},
        "environment": {"device": "cpu", "peak_memory": 250_000_000}, "data": dict(FACTS), "base": None, "warnings": [],
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result | changes))
    (folder / "run.json").write_text(json.dumps({"config_hash": result["config_hash"], "seed": seed}))
    (folder / "config.yaml").write_text(
        json.dumps({"model": model, "dataset": "planted", "epochs": 3, **(config or {})})
    )
    if history:
        write_history(folder)
    return folder


def write_users(folder: Path, genders: list[str], recall: np.ndarray, hits: Any, relevant: Any) -> None:
    columns = {
        "user_id": [f"u{place}" for place in range(USERS)],
        "gender": genders,
        "recall@5": recall.tolist(),
        **{f"hits[{name}@5]": values.tolist() for name, values in hits.items()},
        **{f"relevant[{name}]": values.tolist() for name, values in relevant.items()},
    }
    with (folder / "users.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def group_rows(genders: list[str], recall: np.ndarray, hits: Any, relevant: Any) -> list[dict[str, Any]]:
    rows = []
    for gender in ("F", "M"):
        own = [value for value, of in zip(recall, genders, strict=True) if of == gender]
        facts = {"kind": "user", "field": "gender", "group": gender, "size": len(own), "users": len(own)}
        rows.append({**facts, "recall@5": sum(own) / len(own)})
    for name, counts in relevant.items():
        shares = [hit / count for hit, count in zip(hits[name], counts, strict=True) if count]
        facts = {"kind": "item", "field": "pop", "group": name.split(":")[1], "size": 20, "users": len(shares)}
        rows.append({**facts, "recall@5": sum(shares) / len(shares)})
    return rows


def write_history(folder: Path) -> None:
    lines = ["epoch,metric,value"]
    for epoch in range(4):
        lines += [f"{epoch},loss,{1 / (epoch + 1)}", f"{epoch},valid recall@5,{0.1 * epoch}"]
        lines += [f"{epoch},weight[popular],{0.5 - 0.1 * epoch}", f"{epoch},weight[rest],{0.5 + 0.1 * epoch}"]
        lines += [f"{epoch},expert 1,{0.5 + 0.05 * epoch}", f"{epoch},expert 2,{0.5 - 0.05 * epoch}"]
    (folder / "history.csv").write_text("\n".join(lines) + "\n")


def change(folder: Path, **changes: Any) -> None:
    """Replace entries of a planted result.json."""
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def plant_table(root: Path) -> Path:
    """A tree with all that a report must tell apart: seeds, one seed, a failed, a collapsed, an unfinished run."""
    for seed in (1, 2, 3):
        plant(root / f"MF-s{seed}", "MF", seed)
        plant(root / f"BiFairMF-s{seed}", "BiFairMF", seed, quality=(0.5, 0.45), strategy="BiFair")
    plant(root / "Pop-s1", "Pop", 1, quality=(0.4, 0.02))
    plant(root / "Wild-s1", "Wild", 1, status="failed", error="loss is nan in epoch 2", test={}, valid={}, groups=[])
    plant(root / "Yes-s1", "Yes", 1, quality=(0.9, 0.9), status="collapsed", warnings=["answers Yes to 97 % of pairs"])
    unfinished = plant(root / "Slow-s1", "Slow", 1)
    (unfinished / "result.json").unlink()
    return root
