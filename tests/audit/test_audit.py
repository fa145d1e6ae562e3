"""`audit`: a run's own lists give the run's own figures, any form of table gives the same, bad tables are refused."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import loops
import numpy as np
import pyarrow as pa
import pytest
from planted import run_planted
from pyarrow import parquet

from recbole_fair import cli
from recbole_fair.audit.judge import Files, audit
from recbole_fair.data.identity import split_digest
from recbole_fair.errors import UsageError
from recbole_fair.metrics import declared
from recbole_fair.report.statistics.evaluated import evaluated
from recbole_fair.report.users import read_users
from recbole_fair.rundir.result import Result
from recbole_fair.runner import run

Toy = Callable[..., dict[str, Any]]

# TailPercentage is not among them: it breaks ties by RecBole's numbering of items, which lists do not show.
METRICS = [
    "Recall", "NDCG", "Hit", "MRR", "MAP", "Precision", "CV", "MIN", "REO", "RSP", "Exposure_CV", "Merit_CV",
    "Gap_NDCG", "Ratio_Recall", "CV_Hit", "MIN_MRR", "ItemCoverage", "GiniIndex", "ShannonEntropy", "AveragePopularity",
    "AWRF", "AWRF_Population", "AWRF_Uniform", "MMF", "ARP", "APLT", "ACLT", "Popularity_Lift", "NDKL", "EE_D", "EE_R",
    "EE_L", "Calibration_KL", "Calibration_JS",
]  # fmt: skip
GROUPS: dict[str, Any] = {"item_groups": ["pop", "genre"], "genre_field": "genre", "user_groups": ["gender"]}


def audited(folder: Path, files: Sequence[Path | None], **keys: Any) -> Result:
    return audit(Files(*files), folder, "system", "data", keys)  # type: ignore[arg-type]


def same_figures(ours: Result, theirs: Result) -> None:
    assert ours.test.keys() == theirs.test.keys()
    for key, value in theirs.test.items():
        assert (ours.test[key] is None) == (value is None), key
        assert value is None or ours.test[key] == pytest.approx(value, abs=1e-12), key
    assert len(ours.group_rows) == len(theirs.group_rows)
    for mine, other in zip(ours.group_rows, theirs.group_rows, strict=True):
        assert mine.keys() == other.keys()
        for key, value in other.items():
            if not key.endswith(("_low", "_high")):
                assert mine[key] == (pytest.approx(value, abs=1e-12) if isinstance(value, float) else value), key


# --- the lists of a run


def audit_of_run(result: Result, folder: Path, side_files: Path, **keys: Any) -> Result:
    run_dir = Path(result.run_dir)
    files = [
        run_dir / "recommendations.tsv",
        run_dir / "interactions.tsv",
        side_files / "toy.user",
        side_files / "toy.item",
    ]
    return audited(folder, files, metrics=METRICS, **{"topk": [3, 5], **GROUPS, **keys})


@pytest.mark.parametrize("model", ["MF", "SASRec", "EASE"])
def test_the_lists_of_a_run_have_the_figures_of_the_run(model: str, toy: Toy, toy_root: Path, tmp_path: Path) -> None:
    theirs = run(**toy(model, metrics=METRICS, save_recommendations=True))
    ours = audit_of_run(theirs, tmp_path / "audit", toy_root / "toy")
    same_figures(ours, theirs)
    for fact in ("split", "users", "items", "interactions"):
        assert ours.data[fact] == theirs.data[fact]
    users = [{row["user_id"]: row for row in loops.rows(Path(one.run_dir) / "users.csv")} for one in (ours, theirs)]
    assert users[0].keys() == users[1].keys()
    for user, row in users[1].items():
        assert {key: float(value) for key, value in users[0][user].items() if key not in ("user_id", "gender")} == {
            key: float(value) for key, value in row.items() if key not in ("user_id", "gender")
        }
        assert users[0][user]["gender"] == row["gender"]


def test_groups_without_a_column_are_the_same_in_a_run_and_an_audit(toy: Toy, toy_root: Path, tmp_path: Path) -> None:
    groups = {"item_groups": ["tail3", "cold"], "user_groups": ["activity", "mainstream", "activity*gender"]}
    cuts = {"tail_shares": [0.5, 0.3], "cold_interactions": 4}
    theirs = run(**toy("MF", metrics=METRICS, save_recommendations=True, **groups, **cuts))
    same_figures(audit_of_run(theirs, tmp_path / "audit", toy_root / "toy", **groups, **cuts), theirs)
    assert {row["group"] for row in theirs.group_rows} >= {"head", "mid", "tail", "cold", "warm", "low", "high*F"}


def changed_toy(toy_root: Path, target: Path, change: Callable[[str, str], str]) -> Path:
    """A copy of the toy data whose files are changed by `change(suffix, text)`."""
    folder = target / "toy"
    folder.mkdir(parents=True)
    for file in (toy_root / "toy").glob("toy.*"):
        (folder / file.name).write_text(change(file.suffix, file.read_text()), encoding="utf-8")
    return folder


def with_repeats(suffix: str, text: str) -> str:
    """Some users meet an item again, in another part and twice in the last."""
    lines = text.splitlines()
    if suffix == ".inter":
        again = [line.rsplit("\t", 1)[0] for line in lines[1:200:7]]
        lines += [f"{line}\t{10_000 + number}" for number, line in enumerate([*again, *again[::2]])]
    return "\n".join(lines) + "\n"


def with_odd_ids(_: str, text: str) -> str:
    """Quotes, blanks and letters outside ASCII in ids, quoted as an atomic file has them; a genre of two words."""
    for plain, odd in (("uF1\t", '"u ""F"" 1"\t'), ("uM2\t", "ü,M 2\t"), ("c3\t", '"""c3"""\t'), ("n4\t", "n'4; ☃\t")):
        text = text.replace(plain, odd)
    return text.replace("\tnoir", "\tfilm\u00a0noir")


@pytest.mark.parametrize("change", [with_repeats, with_odd_ids])
def test_so_they_have_with_repeated_rows_and_odd_ids(
    change: Callable[[str, str], str], toy: Toy, toy_root: Path, tmp_path: Path
) -> None:
    folder = changed_toy(toy_root, tmp_path / "data", change)
    theirs = run(**toy("MF", data_path=str(tmp_path / "data"), metrics=METRICS, save_recommendations=True))
    ours = audit_of_run(theirs, tmp_path / "audit", folder)
    same_figures(ours, theirs)
    assert ours.data["split"] == theirs.data["split"]
    names = [{row["user_id"] for row in loops.rows(Path(one.run_dir) / "users.csv")} for one in (ours, theirs)]
    assert names[0] == names[1]
    if change is with_odd_ids:
        assert {'u "F" 1', "ü,M 2"} <= names[0]
        assert "film noir" in {row["group"] for row in ours.group_rows}


def test_short_lists_of_a_run_are_counted(toy: Toy, toy_root: Path, tmp_path: Path) -> None:
    keys = {"topk": [3, 20], "valid_metric": "NDCG@3", "metrics": METRICS, "save_recommendations": True}
    theirs = run_planted(toy, lambda user, item, _: float((user[1] == "F") == (item[0] == "c")), **keys)
    ours = audit_of_run(theirs, tmp_path / "audit", toy_root / "toy", topk=[3, 20])
    same_figures(ours, theirs)
    assert "42 judged users have fewer than 20 items listed; the rest counts as misses" in ours.warnings


# --- lists that another system made


class Shop:
    """Tables as lists of rows, to be written in any form; lists have gaps, strangers and users left out."""

    def __init__(self) -> None:
        draw = random.Random(3)
        users, items = [f"u{number}" for number in range(40)], [f"i{number}" for number in range(25)]
        self.interactions = [["user_id", "item_id", "split"]]
        for user in users[:36]:
            for item in draw.sample(items[:22], 8):
                self.interactions.append([user, item, draw.choice(["train", "train", "valid", "test"])])
        self.recommendations = [["user_id", "item_id", "rank"]]
        for user in users[4:]:
            for rank, item in enumerate(draw.sample(items, 6), start=1):
                if draw.random() > 0.1:
                    self.recommendations.append([user, item, str(rank)])
        self.users = [
            ["user_id", "gender", "country"],
            *([user, draw.choice("FM"), "xy"[len(user) % 2]] for user in users),
        ]
        genres = ["tea", "cup", "tea cup", ""]
        self.items = [
            ["item_id", "genre", "country"],
            *([item, draw.choice(genres), "p"] for item in items),
            ["unsold", "tea", "p"],
        ]

    def judged(self, k: int) -> loops.Judged:
        """What the loops read; an empty place of a list holds no item."""
        found = loops.Judged(items={row[0] for row in self.items[1:]})
        for user, item, split in self.interactions[1:]:
            if split == "train":
                found.train.append((user, item))
            (found.test if split == "test" else found.known).setdefault(user, set()).add(item)
        for user, item, rank in self.recommendations[1:]:
            listed = found.lists.setdefault(user, [""] * k)
            if int(rank) <= k:
                listed[int(rank) - 1] = item
        return found

    def tables(self) -> dict[str, list[list[str]]]:
        return {name: getattr(self, name) for name in ("recommendations", "interactions", "users", "items")}


def as_tsv(path: Path, table: list[list[str]]) -> Path:
    path.write_text("\n".join("\t".join(row) for row in table) + "\n")
    return path


def as_csv(path: Path, table: list[list[str]]) -> Path:
    path = path.with_suffix(".csv")
    with path.open("w", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(table)
    return path


def as_spreadsheet(path: Path, table: list[list[str]]) -> Path:
    """Byte-order mark and CR LF."""
    path = path.with_suffix(".csv")
    path.write_bytes("\r\n".join(["\ufeff" + ",".join(table[0]), *(",".join(row) for row in table[1:])]).encode())
    return path


def as_atomic(path: Path, table: list[list[str]]) -> Path:
    kinds = {"genre": "token_seq", "rank": "float"}
    return as_tsv(path, [[f"{name}:{kinds.get(name, 'token')}" for name in table[0]], *table[1:]])


def as_parquet(path: Path, table: list[list[str]]) -> Path:
    columns: dict[str, list[Any]] = {name: [row[place] for row in table[1:]] for place, name in enumerate(table[0])}
    if "rank" in columns:
        columns["rank"] = [int(rank) for rank in columns["rank"]]
    if "genre" in columns:
        columns["genre"] = [cell.split() or None for cell in columns["genre"]]
    path = path.with_suffix(".parquet")
    parquet.write_table(pa.table(columns), path)
    return path


def written(folder: Path, write: Callable[[Path, list[list[str]]], Path], shop: Shop) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [write(folder / f"{name}.tsv", table) for name, table in shop.tables().items()]


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_lists_of_another_system_are_judged_as_plain_loops_judge_them(shop: Shop, tmp_path: Path) -> None:
    files = written(tmp_path / "in", as_atomic, shop)
    result = audited(tmp_path / "out", files, metrics=METRICS, topk=[2, 5], min_group_users=1, **GROUPS)
    assert (result.data["users"], result.data["items"]) == (40, 26), "whoever any table names"
    judged = shop.judged(5)
    genres = loops.members({row[0]: {"genre": row[1]} for row in shop.items[1:]}, "genre", several=True)
    genders = loops.members({row[0]: {"gender": row[1]} for row in shop.users[1:]}, "gender")
    expected = loops.figures(judged, [2, 5], {"pop": loops.popular(judged), "genre": genres}, {"gender": genders})
    of_the_host = {f"averagepopularity@{k}" for k in (2, 5)}  # counts empty places as items nobody knows
    compared = expected.test.keys() & result.test.keys() - of_the_host
    assert len(compared) == 50
    for key in compared:
        assert result.test[key] == pytest.approx(expected.test[key], abs=1e-9), key
    cells = {(row["field"], row["group"]): row for row in result.group_rows}
    for key, figures in expected.groups.items():
        for name in figures.keys() & cells[key].keys():
            assert cells[key][name] == pytest.approx(figures[name], abs=1e-9), (key, name)


def test_what_each_list_is_worth_has_intervals_is_told_by_user_group_and_given_back(shop: Shop, tmp_path: Path) -> None:
    names = ["Recall", "ARP", "APLT", "Popularity_Lift", "NDKL", "EE_L", "Calibration_JS"]
    files = written(tmp_path / "in", as_atomic, shop)
    result = audited(tmp_path / "out", files, metrics=names, topk=[5], min_group_users=1, **GROUPS)
    of_groups = {f"{name}@5[{field}]" for name in ("ndkl", "ee_l", "calibration_js") for field in ("pop", "genre")}
    assert result.test.keys() == {"recall@5", "arp@5", "aplt@5[pop]", "popularity_lift@5", *of_groups}
    assert all(low <= result.test[key] <= high for key, (low, high) in result.interval.items())
    women = next(row for row in result.group_rows if row["group"] == "F")
    assert women["popularity_lift@5_low"] < women["popularity_lift@5"] < women["popularity_lift@5_high"]
    assert "calibration_js@5[genre]" in women and "aplt@5[pop]" in women
    assert any("popularity_lift@5: undefined for" in note for note in result.warnings), "a user without training"
    users = read_users(tmp_path / "out")
    assert users is not None and all(evaluated(users, key, value) for key, value in result.test.items())


def test_a_metric_of_the_long_tail_needs_a_grouping_that_has_one(shop: Shop, tmp_path: Path) -> None:
    files = written(tmp_path / "in", as_tsv, shop)
    with pytest.raises(UsageError, match="APLT is of pop or tail3; name one among item_groups"):
        audited(tmp_path / "out", files, metrics=["APLT"], topk=[5], item_groups=["country"])


def test_short_lists_strangers_and_unknown_values_are_counted(shop: Shop, tmp_path: Path) -> None:
    result = audited(tmp_path / "out", written(tmp_path / "in", as_atomic, shop), topk=[2, 5], **GROUPS)
    judged = shop.judged(5)
    short = sum("" in judged.lists.get(user, [""]) for user in judged.test)
    assert f"{short} judged users have fewer than 5 items listed; the rest counts as misses" in result.warnings
    strangers = len(judged.lists.keys() - judged.test.keys())
    assert f"{strangers} users have lists but no test item, and are not judged" in result.warnings
    assert short > 5 and strangers > 3
    none = next(row for row in result.group_rows if (row["field"], row["group"]) == ("genre", "(none)"))
    assert none["size"] == sum(not row[1] for row in shop.items[1:])


def test_gaps_in_lists_take_no_places(tmp_path: Path) -> None:
    """Ranks 1 and 3 of 3: two places are taken, one of them by a popular item."""
    met = [
        ["user_id", "item_id", "split"],
        ["a", "x", "test"], ["b", "x", "train"], ["b", "y", "train"], ["c", "x", "train"], ["c", "z", "valid"],
    ]  # fmt: skip
    lists = [["user_id", "item_id", "rank"], ["a", "x", "3"], ["a", "y", "1"]]
    files = [as_tsv(tmp_path / "l.tsv", lists), as_tsv(tmp_path / "m.tsv", met)]
    result = audited(tmp_path / "out", files, topk=[3], metrics=["Recall", "MRR"], min_group_users=1, popular_share=0.5)
    assert (result.test["recall@3"], result.test["mrr@3"]) == (1, 1 / 3)
    assert {row["group"]: row.get("exposure@3") for row in result.group_rows} == {
        "popular": 0.5,
        "rest": None,
        "(none)": None,
    }
    assert result.group_rows[1]["users"] == 0, "y is nobody's test item"


@pytest.mark.parametrize("write", [as_csv, as_spreadsheet, as_atomic, as_parquet])
def test_every_form_of_table_gives_the_same(write: Callable[..., Path], shop: Shop, tmp_path: Path) -> None:
    keys = {"metrics": METRICS, "topk": [2, 5], **GROUPS}
    if write in (as_csv, as_spreadsheet):  # plain text has no lists: a cell is one value
        keys["genre_field"] = "country"
    plain = audited(tmp_path / "a", written(tmp_path / "tsv", as_tsv, shop), **{**keys, "genre_field": "country"})
    lists = audited(tmp_path / "b", written(tmp_path / "atomic", as_atomic, shop), **keys)
    other = audited(tmp_path / "c", written(tmp_path / "other", write, shop), **keys)
    same_figures(other, plain if keys["genre_field"] == "country" else lists)
    assert other.interval == (plain if keys["genre_field"] == "country" else lists).interval
    assert other.data["split"] == plain.data["split"] == lists.data["split"]


def test_users_and_items_may_have_fields_of_one_name(shop: Shop, tmp_path: Path) -> None:
    files = written(tmp_path / "in", as_tsv, shop)
    users = audited(tmp_path / "a", files, topk=[3], user_groups=["country"], item_groups=["pop"])
    items = audited(tmp_path / "b", files, topk=[3], item_groups=["country"])
    assert [row["group"] for row in users.group_rows if row["kind"] == "user"] == ["x", "y"]
    assert [row["group"] for row in items.group_rows] == ["p"]
    with pytest.raises(UsageError, match="named twice"):
        audited(tmp_path / "c", files, topk=[3], item_groups=["country"], user_groups=["country"])


def test_users_without_a_row_are_of_no_group(shop: Shop, tmp_path: Path) -> None:
    shop.users = shop.users[:20]
    result = audited(tmp_path / "out", written(tmp_path / "in", as_tsv, shop), topk=[3], user_groups=["gender"])
    none = next(row for row in result.group_rows if (row["kind"], row["group"]) == ("user", "(none)"))
    assert none["size"] == 40 - 19
    assert sum(row["users"] for row in result.group_rows if row["kind"] == "user") == len(
        loops.rows(tmp_path / "out" / "users.csv")
    )


def test_texts_may_run_over_several_lines(shop: Shop, tmp_path: Path) -> None:
    """In a file of several blocks, which a reader that splits at line ends would cut within a text."""
    story = "\n".join(["once, upon a time"] * 200)
    shop.items = [["item_id", "genre", "story"], *([f"i{number}", "tea", story] for number in range(1500))]
    files = written(tmp_path / "in", as_csv, shop)
    assert files[3].stat().st_size > 4 << 20
    result = audited(tmp_path / "out", files, topk=[3], item_groups=["genre"])
    assert [row["size"] for row in result.group_rows] == [1500]


def test_the_digest_of_a_split_is_of_pairs_and_parts_whatever_their_order() -> None:
    users, items = np.array(["[PAD]", "a", "b"]), np.array(["[PAD]", "x", "y"])

    def digest(**parts: list[tuple[int, int]]) -> str:
        columns = {name: np.array(pairs, dtype=np.int64).reshape(-1, 2).T for name, pairs in parts.items()}
        return split_digest(users, items, {name: (user, item) for name, (user, item) in columns.items()})

    first = digest(train=[(1, 1), (2, 2)], test=[(1, 2)])
    assert digest(test=[(1, 2)], train=[(2, 2), (1, 1)]) == first
    others = [
        digest(train=[(1, 1), (1, 2)], test=[(2, 2)]),
        digest(train=[(1, 1)], test=[(1, 2), (2, 2)]),
        digest(train=[(1, 1), (2, 2)], valid=[(1, 2)]),
        digest(train=[(1, 2), (2, 2)], test=[(1, 1)]),
        digest(train=[(1, 1), (2, 2)], test=[(2, 1)]),
        digest(train=[(1, 1), (2, 2), (2, 2)], test=[(1, 2)]),
    ]
    assert len({first, *others}) == len(others) + 1


def test_one_user_is_judged_without_an_interval(tmp_path: Path) -> None:
    met = [["user_id", "item_id", "split"], ["a", "x", "test"], ["a", "y", "train"], ["a", "z", "test"]]
    lists = [["user_id", "item_id", "rank"], ["a", "x", "1"], ["a", "y", "2"]]
    result = audited(tmp_path / "out", [as_tsv(tmp_path / "l", lists), as_tsv(tmp_path / "m", met)], topk=[2])
    assert result.test["recall@2"] == 0.5 and result.test["cv@2[pop]"] is None
    assert "no intervals: 1 judged user(s)" in result.warnings
    assert set(result.interval.values()) == {None}


# --- refusals


def lists_of(*rows: str, header: str = "user_id\titem_id\trank") -> str:
    return "\n".join([header, *(row.replace(" ", "\t") for row in rows)]) + "\n"


GOOD = lists_of("a x 1", "a y 2", "b y 1")
MET = lists_of("a x test", "a z train", "b y test", "b x train", header="user_id\titem_id\tsplit")
USERS, ITEMS = "user_id\tgender\na\tF\nb\tM\n", "item_id\tgenre\nx\tp\ny\tq\nz\tq\n"

BAD_TABLES = [
    ("recommendations", GOOD.replace("item_id", "item"), "no column 'item_id'"),
    ("recommendations", GOOD.replace("rank", "place"), "no column 'rank'"),
    ("recommendations", lists_of("a x 1", "a y 1"), "user a has rank 1 twice"),
    ("recommendations", lists_of("a x 1", "a x 2"), "user a has one item twice"),
    ("recommendations", lists_of("a x 0", "a y 1"), "ranks count from 1"),
    ("recommendations", lists_of("a x -3"), "ranks count from 1"),
    ("recommendations", lists_of("a x 1.5"), "invalid value '1.5'"),
    ("recommendations", lists_of("a x first"), "invalid value 'first'"),
    ("recommendations", lists_of("a x ", "a y 2"), "1 empty cells"),
    ("recommendations", lists_of("a x 99999999999999999999"), "invalid value '9999"),
    ("recommendations", lists_of(" x 1", "a y 2"), "'user_id' has empty cells"),
    ("recommendations", lists_of("a  1", "a y 2"), "'item_id' has empty cells"),
    ("recommendations", lists_of("a x"), "Expected 3 columns, got 2"),
    ("recommendations", lists_of("a x 1 9"), "Expected 3 columns, got 4"),
    ("recommendations", "", "expected a header"),
    ("recommendations", "\n\n", "expected a header"),
    ("recommendations", "user_id\tuser_id\trank\n", "different column names"),
    ("recommendations", "user_id\titem_id\trank\n", "no user with a test item has a list"),
    ("recommendations", "user_id\titem_id\trank", "not readable as a table"),
    ("recommendations", lists_of("7 x 1"), "do both files name users alike"),
    ("recommendations", GOOD.replace("\t", "|"), "no column 'user_id'"),
    ("recommendations", GOOD.encode() + b"\xff\tx\t1\n", "not readable as a table"),
    ("recommendations", GOOD.encode("utf-16"), "not readable as a table"),
    ("recommendations", None, "no such file"),
    ("interactions", MET.replace("test", "exam"), "split 'exam': expected train, valid or test"),
    ("interactions", MET.replace("\ttest", "\t"), "'split' has empty cells"),
    ("interactions", MET.replace("test", "valid"), "no row has split=test"),
    ("interactions", "user_id\titem_id\tsplit\n", "no row has split=test"),
    ("interactions", MET.replace("split", "part"), "no column 'split'"),
    ("users", USERS.replace("user_id", "id"), "no column 'user_id'"),
    ("users", USERS + "a\tM\n", "user a stands in several rows"),
    ("users", USERS.replace("gender", "sex"), "user_groups='gender': no such field"),
    ("items", ITEMS + "\tp\n", "'item_id' has empty cells"),
    ("items", ITEMS + "x\tq\n", "item x stands in several rows"),
    ("items", '"item_id\tgenre\nx\tp\n', "items.tsv"),
]  # fmt: skip


def paths_of(folder: Path, **texts: str | bytes | None) -> list[Path]:
    found = []
    for name, plain in {"recommendations": GOOD, "interactions": MET, "users": USERS, "items": ITEMS}.items():
        text = texts.get(name, plain)
        found.append(folder / f"{name}.tsv")
        if text is not None:
            found[-1].write_bytes(text if isinstance(text, bytes) else text.encode())
    return found


def test_the_good_tables_are_judged(tmp_path: Path) -> None:
    """Else the refusals below would show nothing."""
    result = audited(tmp_path / "out", paths_of(tmp_path), topk=[2], **GROUPS)
    assert result.test["recall@2"] == 1 and not any("empty" in warning for warning in result.warnings)


@pytest.mark.parametrize(("name", "text", "says"), BAD_TABLES)
def test_a_bad_table_is_refused_by_name(name: str, text: str | bytes | None, says: str, tmp_path: Path) -> None:
    files = paths_of(tmp_path, **{name: text})
    with pytest.raises(UsageError) as caught:
        audited(tmp_path / "out", files, topk=[2], **GROUPS)
    assert says in str(caught.value)
    assert f"{name}.tsv" in str(caught.value), "the file is named"
    assert not (tmp_path / "out").exists(), "and nothing is written"


def test_a_companys_own_files_are_read_with_semicolons_and_their_own_names(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = paths_of(tmp_path / "plain")
    texts = {"recommendations": GOOD, "interactions": MET, "users": USERS, "items": ITEMS}
    own = {
        name: text.replace("user_id", "customer").replace("item_id", "article").replace("\t", ";")
        for name, text in texts.items()
    }
    theirs = audit(Files(*plain), tmp_path / "a", "system", "data", {**GROUPS, "topk": [2]})
    files = paths_of(tmp_path, **own)
    keys = {**GROUPS, "topk": [2]}
    ours = audit(Files(*files, ids=("customer", "article")), tmp_path / "b", "system", "data", keys)
    same_figures(ours, theirs)
    assert (ours.config_hash, ours.data["fingerprint"]) != (theirs.config_hash, theirs.data["fingerprint"])
    arguments = [f"--{name}={path}" for name, path in zip(own, files, strict=True)]
    typed = ["audit", *arguments, "--user=customer", "--item=article", "--topk=2", f"--run_dir={tmp_path / 'b'}"]
    assert cli.main([*typed, "--item_groups=pop,genre", "--genre_field=genre", "--user_groups=gender", "--quiet"]) == 0
    with pytest.raises(UsageError, match=r"no column 'user_id'\. It has customer, article, rank; give the name"):
        audit(Files(*files), tmp_path / "c", "system", "data", keys)


def test_lists_are_judged_as_far_as_they_go_where_no_k_is_asked_for(tmp_path: Path) -> None:
    files = paths_of(tmp_path)
    assert {key.partition("@")[2][0] for key in audited(tmp_path / "out", files, metrics=["NDCG"]).test} == {"2"}
    ten = paths_of(tmp_path, recommendations=lists_of(*(f"a {n} {n}" for n in range(1, 11)), "b y 1"),
                   items="item_id\n" + "".join(f"{n}\n" for n in [*range(1, 11), "x", "y", "z"]))  # fmt: skip
    assert list(audited(tmp_path / "ten", ten, metrics=["NDCG"]).test) == ["ndcg@10"]


def test_interactions_without_a_split_are_told_where_to_get_one(tmp_path: Path) -> None:
    files = paths_of(tmp_path, interactions=MET.replace("split", "rating"))
    with pytest.raises(UsageError, match=r"no column 'split'\. It has user_id, item_id, rating; .*interactions\.tsv"):
        audited(tmp_path / "out", files)


def test_numbers_that_are_no_bins_are_named_as_in_a_run(tmp_path: Path) -> None:
    people = "user_id\tage\n" + "".join(
        f"{name}\t{20 + n}\n" for n, name in enumerate(["a", "b", *map(str, range(30))])
    )
    result = audited(tmp_path / "out", paths_of(tmp_path, users=people), topk=[2], user_groups=["age"])
    assert any("groups of one number each" in note for note in result.warnings)


BAD_COLUMNS = [
    ({"rank": pa.array([1, None], pa.int64())}, "1 empty cells"),
    ({"rank": pa.array([1.0, 2.5])}, "expected whole numbers"),
    ({"rank": pa.array(["1", "two"])}, "expected whole numbers"),
    ({"rank": pa.array([[1], [2]])}, "expected whole numbers"),
    ({"user_id": pa.array(["a", None])}, "'user_id' has empty cells"),
    ({"user_id": pa.array([["a"], ["b"]])}, "expected words or numbers"),
    ({"user_id": pa.array([b"\xff", b"b"])}, "expected words or numbers"),
]


@pytest.mark.parametrize(("columns", "says"), BAD_COLUMNS)
def test_a_bad_column_of_a_parquet_file_is_refused(columns: dict[str, pa.Array], says: str, tmp_path: Path) -> None:
    plain = {"user_id": pa.array(["a", "b"]), "item_id": pa.array(["x", "y"]), "rank": pa.array([1, 1])}
    files = paths_of(tmp_path)
    files[0] = tmp_path / "lists.parquet"
    parquet.write_table(pa.table(plain), files[0])
    assert audited(tmp_path / "good", files, topk=[2], **GROUPS).status == "ok"
    parquet.write_table(pa.table({**plain, **columns}), files[0])
    with pytest.raises(UsageError, match=r"lists\.parquet") as caught:
        audited(tmp_path / "out", files, topk=[2], **GROUPS)
    assert says in str(caught.value)


def test_parquet_ids_may_be_numbers_and_ranks_floats_or_text(tmp_path: Path) -> None:
    met = [["user_id", "item_id", "split"], ["1", "10", "test"], ["2", "20", "test"]]
    files = [tmp_path / "lists.parquet", as_tsv(tmp_path / "met.tsv", met)]
    for ranks in ([1, 1], [1.0, 1.0], ["1", "1"]):
        columns = {"user_id": pa.array([1, 2]), "item_id": pa.array([10, 10]), "rank": pa.array(ranks)}
        parquet.write_table(pa.table(columns), files[0])
        folder = tmp_path / type(ranks[0]).__name__
        assert audited(folder, files, topk=[1], item_groups=[], metrics=["Recall"]).test == {"recall@1": 0.5}


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    files = paths_of(tmp_path)
    files[0] = tmp_path / "lists.parquet"
    files[0].write_text(GOOD)
    with pytest.raises(UsageError, match=r"lists\.parquet: not readable as a table"):
        audited(tmp_path / "out", files, topk=[2])


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"metrics": ["Recal"]}, "Did you mean 'recall'"),
        ({"metrics": []}, "metrics: names none, so there is nothing to judge"),
        ({"metrics": ["GAUC"]}, "reads the scores of all items"),
        ({"metrics": ["AUC"]}, "eval_protocol=labeled"),
        ({"metrics": ["GD"]}, "eval_protocol=labeled"),
        ({"metrics": ["RMSE"]}, "eval_protocol=labeled"),
        ({"topk": [0]}, "a positive number"),
        ({"topk": []}, "a positive number"),
        ({"topk": "ten"}, "lengths of the judged lists"),
        ({"topk": [4]}, "name only 3 items"),
        ({"topkk": [2]}, "Did you mean 'topk'"),
        ({"epochs": 3}, "audit does not take it"),
        ({"item_groups": ["colour"]}, "item_groups='colour': no such field"),
        ({"item_groups": ["gender"]}, "item_groups='gender': no such field"),
        ({"user_groups": ["genre"]}, "Did you mean 'gender'"),
        ({"user_groups": ["gender*age"]}, "user_groups='age': no such field"),
        ({"group_bins": {"gender": {"young": "[0,3)"}}}, "'F' is no number"),
        ({"interval": 3}, "interval=3"),
        ({"bootstrap": -1}, "bootstrap=-1"),
        ({"min_group_users": 0}, "min_group_users=0"),
    ],
)
def test_wrong_settings_are_refused(keys: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        audited(tmp_path / "out", paths_of(tmp_path), **{"topk": [2], **GROUPS, **keys})
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_registered_class_that_is_no_mean_over_users_is_left_to_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Whole:
        """Reads more of the lists than each user's hits."""

        smaller, metric_need = True, ["rec.items", "data.num_items"]

    monkeypatch.setattr(declared, "CLASSES", {"whole": Whole})
    with pytest.raises(UsageError, match="metrics: Whole is no mean over users of what lists find"):
        audited(tmp_path / "out", paths_of(tmp_path), topk=[2], metrics=["Whole"])


def test_a_group_needs_the_table_that_holds_it(tmp_path: Path) -> None:
    files = paths_of(tmp_path)
    assert audited(tmp_path / "out", files[:2], topk=[2]).group_rows[0]["field"] == "pop"
    made = audited(tmp_path / "made", files[:2], topk=[2], item_groups=["tail3"], user_groups=["activity"])
    assert {row["field"] for row in made.group_rows} == {"tail3", "activity"}, "no table is needed"
    for side, key in (("users", "user_groups"), ("items", "item_groups")):
        with pytest.raises(UsageError, match=f"give --{side}=FILE"):
            audited(tmp_path / "other", files[:2], topk=[2], **{key: ["gender"]})


def test_only_its_own_folder_is_written(tmp_path: Path) -> None:
    files, folder = paths_of(tmp_path), tmp_path / "out"
    first = audited(folder, files, topk=[2])
    results = {"result.json", "config.yaml", "users.csv", "groups.csv"}
    assert {path.name for path in folder.iterdir()} == results | {"run.json", ".lock"}
    assert audited(folder, files, topk=[2], interval=0.5).test == first.test, "the same figures, shown otherwise"
    with pytest.raises(UsageError, match="other files or settings"):
        audited(folder, files, topk=[1])
    files[0].write_text(lists_of("a y 1"))
    with pytest.raises(UsageError, match="other files or settings"):
        audited(folder, files, topk=[2])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="is not empty"):
        audited(tmp_path / "mine", files, topk=[2])
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


# --- the command line


def words(folder: Path, *more: str) -> list[str]:
    given = {path.stem: path for path in paths_of(folder)}
    return ["audit", *(f"--{name}={path}" for name, path in given.items()), f"--run_dir={folder / 'out'}", *more]


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--topk=1,2", "--metrics=Recall,CV", "--item_groups=pop,genre", "--genre_field=genre", "--system=Ours",
            "--user_groups=gender", "--bootstrap=0", "--group_bins.gender.all=[F, M]", "--dataset=shop"]  # fmt: skip
    assert cli.main(words(tmp_path, *more)) == 0
    out = capsys.readouterr().out
    assert "Ours on shop" in out and "recall@2" in out and str(tmp_path / "out") in out
    stored = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (stored["model"], stored["dataset"], stored["status"]) == ("Ours", "shop", "ok")
    assert stored["test"].keys() >= {"recall@1", "recall@2", "cv@1[pop]", "cv@2[genre]"}
    assert [row["group"] for row in stored["groups"] if row["kind"] == "user"] == ["all"]
    assert math.isclose(stored["test"]["recall@2"], 1)


@pytest.mark.parametrize(
    ("more", "less", "says"),
    [
        (["--user_groups=age"], "", "no such field"),
        (["--nonsense=1"], "", "audit does not take it"),
        (["stray"], "", "takes --key=value only"),
        ([], "--recommendations", "give --recommendations=FILE"),
        ([], "--interactions", "give --interactions=FILE"),
        ([], "--run_dir", "give --run_dir=DIR"),
    ],
)
def test_the_command_line_refuses_with_2_and_a_sentence(
    more: list[str], less: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word for word in words(tmp_path, "--topk=2", *more) if not less or not word.startswith(less)]
    assert cli.main(given) == 2
    error = capsys.readouterr().err
    (refusal,) = (line for line in error.splitlines() if not line.startswith("reading "))  # the stage it came to
    assert says in refusal and "Traceback" not in error


def several(folder: Path, *systems: str) -> list[str]:
    rest = [word for word in words(folder, "--topk=2", "--bootstrap=20") if not word.startswith("--recommendations")]
    (folder / "other.tsv").write_text((folder / "recommendations.tsv").read_text().replace("\t1\n", "\t9\n"))
    return [*rest, *(word for system in systems for word in ("--recommendations", system))]


def test_several_systems_share_their_data_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (paths_of(tmp_path)[0].with_name(name) for name in ("recommendations.tsv", "other.tsv"))
    more = ["--metrics=Recall,NDCG,REO,RSP,ARP", "--user_groups=gender"]
    assert cli.main([*several(tmp_path, f"A={first}", f"B={second}"), *more]) == 0
    assert str(tmp_path / "out" / "report" / "index.html") in capsys.readouterr().out
    results = [Result.read(tmp_path / "out" / name) for name in "AB"]
    assert results[0].data == results[1].data and results[0].config_hash != results[1].config_hash
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert "Is the row better than A?" in page and 'id="results-2"' not in page, "comparable, so in one table"
    tested = page[page.index('id="tests-1"') : page.index("</table>", page.index('id="tests-1"'))]
    assert all(key in tested for key in ("recall@2", "ndcg@2", "arp@2")) and "no verdict (1 seed)" in tested


@pytest.mark.parametrize(
    "systems", [("A=x", "A=y"), ("x", "B=y"), ("../up=x", "B=y"), ("report=x", "B=y"), ("A=", "B=y")]
)
def test_several_systems_need_a_name_each(
    systems: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(several(tmp_path, *systems)) == 2
    assert "give each as NAME=FILE" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_digest_says_which_file_had_which_role(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "rix"]
    for path in paths:
        path.write_text("user_id\n")
    assert Files(*paths[:2], users=paths[2]).digest != Files(*paths[:2], items=paths[2]).digest
