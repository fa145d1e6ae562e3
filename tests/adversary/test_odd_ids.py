"""Random data sets with odd ids: every figure of a run and of an audit of its lists, anew from the raw files.

Ids and group names are NA words, blanks, leading zeros, letters of many scripts, marks that a table or a page gives a
meaning, and very long ones. What is read back is the run's files; the groups come from the raw .user and .item.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import loops
import pytest

from recbole_fair import run
from recbole_fair.audit.judge import Files, audit

METRICS = [
    "Recall", "NDCG", "Hit", "MRR", "MAP", "Precision", "CV", "MIN", "REO", "RSP", "Exposure_CV", "Merit_CV",
    *(f"{prefix}_{base}" for prefix in loops.BETWEEN for base in loops.OF_A_LIST),
    "ItemCoverage", "GiniIndex", "ShannonEntropy", "AveragePopularity",
]  # fmt: skip
NA_WORDS = ["NA", "nan", "null", "None", "N/A", "NULL", "NaN", "<NA>", "#N/A", "n/a", "-nan", "", "[PAD]", "0", "-1"]
ODD = [
    "010", "10", "1e3", "1000", "0x1F", "true", "NO", "na\u00efve", "nai\u0308ve", "ключ", "鍵", "مفتاح", "🎬", "a'b",
    "=1+1", "<b>", "x&y", "%s", "{user}", "a;b", "a,b", "~", "\\n", "é" * 300, "x" * 2000, "#", "-", "İ", "ß", "SS",
    "½", "\u0661", "a\u200bb", "a\u202eb",
]  # fmt: skip
ALPHABET = "abzAZ019 _-.:;,'#&<>=+*äß中🎲\u0301"
GROUPS = ["NA", "null", "F", "f", "010", "weiblich ♀", "None", "a b", "x" * 60]


def words(rng: random.Random, count: int) -> list[str]:
    """So many different ids: odd ones first, then random ones; none empty, none with a blank at either end."""
    pool = [*NA_WORDS, *ODD]
    rng.shuffle(pool)
    chosen = dict.fromkeys(word for word in pool[: count * 2 // 3] if word)
    while len(chosen) < count:
        word = "".join(rng.choices(ALPHABET, k=rng.randint(1, 12))).strip()
        chosen.update({word: None} if word else {})
    return list(chosen)[:count]


def write(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    lines = ["\t".join(map(str, row)) for row in [header, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_data(folder: Path, seed: int) -> None:
    """odd.inter, odd.user and odd.item: times that only a double can hold apart, in shuffled order."""
    rng = random.Random(seed)
    users, items = words(rng, rng.randint(25, 40)), words(rng, rng.randint(15, 30))
    genders, genres = rng.sample(GROUPS, 3), rng.sample([word for word in GROUPS if " " not in word], 4)
    clock, rows = 1_700_000_000, []
    for user in users:
        for item in rng.sample(items, rng.randint(6, len(items) - 6)):
            clock += 1
            rows.append([user, item, rng.randint(1, 5), clock])
    rng.shuffle(rows)
    times = iter(rng.sample(range(1_700_000_000, 1_700_000_000 + len(rows)), len(rows)))
    folder.mkdir(parents=True)
    inter = [[user, item, rating, next(times)] for user, item, rating, _ in rows]
    write(folder / "odd.inter", ["user_id:token", "item_id:token", "rating:float", "timestamp:float"], inter)
    people = [[user, rng.choice([*genders, ""]), rng.randint(18, 60)] for user in users]
    write(folder / "odd.user", ["user_id:token", "gender:token", "age:float"], people)
    films = [[item, " ".join(rng.sample(genres, rng.randint(1, 3)))] for item in items]
    write(folder / "odd.item", ["item_id:token", "genre:token_seq"], films)


def held_out(folder: Path) -> dict[str, set[str]]:
    """The latest item of each user, by a plain sort of the raw file."""
    by_user: dict[str, list[tuple[float, str]]] = {}
    for line in (folder / "odd.inter").read_text(encoding="utf-8").split("\n")[1:-1]:
        user, item, _, time = line.split("\t")
        by_user.setdefault(user, []).append((float(time), item))
    return {user: {max(timed)[1]} for user, timed in by_user.items()}


def raw(path: Path) -> dict[str, dict[str, str]]:
    """A raw table without the csv module: cells hold no tab, quote or line end."""
    head, *lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    names = [name.split(":")[0] for name in head.split("\t")]
    return {line.split("\t")[0]: dict(zip(names, line.split("\t"), strict=True)) for line in lines}


def binned(users: dict[str, dict[str, str]]) -> loops.Sets:
    bins: loops.Sets = {"young": set(), "old": set()}
    for user, row in users.items():
        bins["young" if float(row["age"]) < 35 else "old"].add(user)
    return bins


def check(stored: dict[str, float | None], cells: list[dict[str, Any]], expected: loops.Figures) -> None:
    assert stored.keys() == expected.test.keys()
    for key, value in expected.test.items():
        assert stored[key] is None if math.isnan(value) else stored[key] == pytest.approx(value, abs=1e-9), key
    table = {(row["field"], row["group"]): row for row in cells if row["group"] != "(none)"}
    assert table.keys() == expected.groups.keys(), "no group has vanished"
    for key, figures in expected.groups.items():
        for name in figures if figures["users"] else ("size", "users"):  # of nobody, nothing is said
            value = figures[name]
            assert math.isnan(value) or float(table[key][name]) == pytest.approx(value, abs=1e-9), (key, name)


SEEDS = [pytest.param(seed, marks=[] if seed < 3 else [pytest.mark.slow]) for seed in range(24)]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_figure_follows_from_the_raw_files(seed: int, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "odd"
    write_data(folder, seed)
    groups = {
        "item_groups": ["pop", "genre"], "genre_field": "genre", "user_groups": ["gender", "age", "gender*age"],
        "group_bins": {"age": {"young": "[0,35)", "old": "[35,inf)"}}, "unknown_values": [],
    }  # fmt: skip
    shared = {"metrics": METRICS, "topk": [3, 5], "min_group_users": 1, "bootstrap": 20, **groups}
    result = run(
        "MF", "odd", data_path=str(tmp_path / "data"), run_dir=str(tmp_path / "run"), valid_metric="NDCG@5", epochs=1,
        use_gpu=False, save_recommendations=True, state="error",
        eval_args={"split": {"LS": "valid_and_test"}, "order": "TO"}, **shared,
    )  # fmt: skip
    run_dir = Path(result.run_dir)
    judged = loops.judged(run_dir)
    assert judged.test == held_out(folder), "the latest items are the latest"
    users, items = raw(folder / "odd.user"), raw(folder / "odd.item")
    assert (judged.users, judged.items) == (set(users), set(items)), "no user and no item has vanished"
    gender, age = loops.members(users, "gender"), binned(users)
    crossed = {f"{a}*{b}": gender[a] & age[b] for a in gender for b in age}
    genres = loops.members(items, "genre", several=True)
    expected = loops.figures(
        judged, [3, 5], {"pop": loops.popular(judged), "genre": genres},
        {"gender": gender, "age": age, "gender*age": crossed},
    )  # fmt: skip
    check(json.loads((run_dir / "result.json").read_text())["test"], loops.rows(run_dir / "groups.csv"), expected)
    files = [run_dir / "recommendations.tsv", run_dir / "interactions.tsv", folder / "odd.user", folder / "odd.item"]
    audited = audit(Files(*files), tmp_path / "audit", "MF", "odd", shared)
    check(audited.test, audited.group_rows, expected)
    assert audited.data["split"] == result.data["split"]
