"""`rerank` on files: the lists of the method, in a file that `audit` reads; bad input by name, nothing half-written."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from pathlib import Path

import loops
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from recbole_fair import cli
from recbole_fair.audit.judge import Files, audit
from recbole_fair.rerank.candidates import Candidates
from recbole_fair.rerank.methods import METHODS

USERS, ITEMS, WIDTH = 12, 20, 9
Table = list[list[str]]


def shop() -> dict[str, Table]:
    """Scored lists out of order, genres of one and two words, and interactions of all parts."""
    draw = random.Random(4)
    users, items = [f"u{number:02}" for number in range(USERS)], [f"i{number:02}" for number in range(ITEMS)]
    genres = ["tea", "tea", "tea", "cup", "cup tea"]
    lists = [[user, item, f"{draw.random():.6f}"] for user in users for item in draw.sample(items, WIDTH)]
    draw.shuffle(lists)
    met = [[user, item, draw.choice(["train", "valid", "test"])] for user in users for item in draw.sample(items, 9)]
    return {
        "recommendations": [["user_id", "item_id", "score"], *lists],
        "items": [["item_id:token", "genre:token_seq"], *([item, draw.choice(genres)] for item in items)],
        "users": [["user_id", "gender"], *([user, draw.choice("FM")] for user in users)],
        "interactions": [["user_id", "item_id", "split"], *met],
    }


def written(folder: Path, tables: dict[str, Table]) -> list[str]:
    given = []
    for name, table in tables.items():
        path = folder / f"{name}.tsv"
        path.write_text("\n".join("\t".join(row) for row in table) + "\n")
        given.append(f"--{name}={path}")
    return given


def reranked(folder: Path, tables: dict[str, Table], *more: str) -> dict[str, list[str]]:
    words = ["rerank", *written(folder, tables), "--k=4", "--fair_group=genre", f"--out={folder / 'new.tsv'}", *more]
    assert cli.main(words) == 0
    found: dict[str, list[str]] = {}
    for row in loops.rows(folder / "new.tsv", "\t"):
        assert int(row["rank"]) == len(found.setdefault(row["user_id"], [])) + 1
        found[row["user_id"]].append(row["item_id"])
    return found


def candidates(tables: dict[str, Table]) -> Candidates:
    """The same by plain loops."""
    items = sorted(row[0] for row in tables["items"][1:])
    users = sorted({row[0] for row in tables["recommendations"][1:]})
    membership = np.zeros((len(items) + 1, 2), dtype=bool)
    for item, genre in tables["items"][1:]:
        for word in genre.split():
            membership[items.index(item) + 1, ["cup", "tea"].index(word)] = True
    codes, scores, relevant = (np.zeros((len(users), WIDTH), kind) for kind in (int, float, bool))
    profile = np.zeros((len(users), 2))
    of_part = {
        part: {tuple(row[:2]) for row in tables["interactions"][1:] if row[2] == part} for part in ("train", "valid")
    }
    for row, user in enumerate(users):
        own = [line for line in tables["recommendations"][1:] if line[0] == user]
        for place, (_, item, score) in enumerate(sorted(own, key=lambda line: -float(line[2]))):
            codes[row, place], scores[row, place] = items.index(item) + 1, float(score)
            relevant[row, place] = (user, item) in of_part["valid"]
        for _, item in [pair for pair in of_part["train"] if pair[0] == user]:
            member = membership[items.index(item) + 1]
            profile[row] += member / member.sum()
    profile /= np.maximum(profile.sum(1, keepdims=True), 1e-12)
    gender = dict(tables["users"][1:])
    sides = np.array([[gender[user] == side for side in "FM"] for user in users])
    return Candidates(codes, scores, 4, membership, None, sides, profile, relevant)


@pytest.mark.parametrize("name", METHODS)
def test_the_file_holds_the_lists_of_the_method(name: str, tmp_path: Path) -> None:
    tables = shop()
    found = reranked(tmp_path, tables, f"--method={name}", "--strength=0.4", "--user_group=gender")
    given, items = candidates(tables), sorted(row[0] for row in tables["items"][1:])
    places = METHODS[name].choose(given, 0.4)
    expected = [[items[given.items[row, place] - 1] for place in own] for row, own in enumerate(places)]
    assert [found[user] for user in sorted(found)] == expected


@pytest.mark.parametrize("out", ["new.tsv", "new.csv", "new.parquet"])
def test_audit_reads_what_is_written(out: str, tmp_path: Path) -> None:
    tables = shop()
    words = ["rerank", *written(tmp_path, tables), "--k=4", "--fair_group=genre", "--method=MinMax"]
    assert cli.main([*words, f"--out={tmp_path / out}"]) == 0
    files = Files(tmp_path / out, tmp_path / "interactions.tsv", items=tmp_path / "items.tsv")
    keys = {"topk": [4], "item_groups": ["genre"], "metrics": ["Recall", "Exposure_CV"]}
    result = audit(files, tmp_path / "audit", "new", "shop", keys)
    assert result.test["recall@4"] > 0 and not any("fewer than" in warning for warning in result.warnings)


def test_ranks_suffice_where_a_method_reads_ranks(tmp_path: Path) -> None:
    scored, tables = shop(), shop()
    ranked = sorted(scored["recommendations"][1:], key=lambda row: (row[0], -float(row[2])))
    tables["recommendations"] = [["user_id", "item_id", "rank"]]
    for place, (user, item, _) in enumerate(ranked):
        tables["recommendations"].append([user, item, str(place % WIDTH + 1)])
    for method in ("FA-IR", "FairRec"):
        assert reranked(tmp_path, tables, f"--method={method}") == reranked(tmp_path, scored, f"--method={method}")
    reranked(tmp_path, tables, "--method=FairRec")
    assert (tmp_path / "new.tsv").read_text().splitlines()[0] == "user_id\titem_id\trank"
    assert (
        cli.main(
            [
                "rerank",
                *written(tmp_path, tables),
                "--method=MMR",
                "--k=4",
                "--fair_group=genre",
                f"--out={tmp_path / 'x'}",
            ]
        )
        == 2
    )


def test_parquet_lists_are_read(tmp_path: Path) -> None:
    tables = shop()
    expected = reranked(tmp_path, tables, "--method=MMR")
    rows = tables["recommendations"][1:]
    columns = {"user_id": [row[0] for row in rows], "item_id": [row[1] for row in rows]}
    table = pa.table({**columns, "score": pa.array([float(row[2]) for row in rows])})
    parquet.write_table(table, tmp_path / "lists.parquet")
    words = written(tmp_path, tables)[1:]
    out = tmp_path / "other.tsv"
    assert cli.main(["rerank", f"--recommendations={tmp_path / 'lists.parquet'}", *words, "--k=4", "--method=MMR",
                     "--fair_group=genre", f"--out={out}"]) == 0  # fmt: skip
    assert out.read_text() == (tmp_path / "new.tsv").read_text()
    assert expected


def test_a_budget_takes_the_strongest_that_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = shop()
    reranked(tmp_path, tables, "--method=MMR", "--budget=0.9")
    said = capsys.readouterr().out
    given = candidates(tables)
    assert given.relevant is not None
    users = sorted({row[0] for row in tables["recommendations"][1:]})
    valid = {
        user: {row[1] for row in tables["interactions"][1:] if row[0] == user and row[2] == "valid"} for user in users
    }

    def ndcg(strength: float) -> float:
        values = []
        for row, places in enumerate(METHODS["MMR"].choose(given, strength)):
            liked = len(valid[users[row]])
            gain = sum(given.relevant[row, place] / math.log2(rank + 2) for rank, place in enumerate(places))
            if liked:
                values.append(gain / sum(1 / math.log2(rank + 2) for rank in range(min(liked, 4))))
        return sum(values) / len(values)

    enough = [strength for strength in METHODS["MMR"].strengths if ndcg(strength) >= 0.9 * ndcg(0.0)]
    assert f"MMR with strength {max(enough):g}," in said
    assert f"({ndcg(max(enough)) / ndcg(0.0):.4f})" in said


def test_test_rows_change_nothing(tmp_path: Path) -> None:
    tables = shop()
    for method in ("Calibrated", "CPFair", "UGF"):
        with_test = reranked(tmp_path, tables, f"--method={method}", "--user_group=gender")
        fewer = {**tables, "interactions": [row for row in tables["interactions"] if row[2] != "test"]}
        assert reranked(tmp_path, fewer, f"--method={method}", "--user_group=gender") == with_test


def test_validation_rows_of_users_without_a_list_change_nothing(tmp_path: Path) -> None:
    tables = shop()
    none = [row for row in tables["interactions"] if row[2] != "valid"]
    foreign = {**tables, "interactions": [*none, ["u99", "i01", "valid"]]}
    expected = reranked(tmp_path, {**tables, "interactions": none}, "--method=MinMax")
    assert reranked(tmp_path, foreign, "--method=MinMax") == expected


def test_a_target_says_what_is_due(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reranked(tmp_path, shop(), "--method=MinMax", "--strength=9", "--target.tea=0.25", "--target.cup=0.75")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows[0] == ["genre", "items", "due", "before", "after"]
    after = {row[0]: float(row[4]) for row in rows[1:]}
    assert rows[1][2] == "0.7500" and after["cup"] > float(rows[1][3])


def test_popularity_groups_come_from_training_rows(tmp_path: Path) -> None:
    tables = shop()
    tables["interactions"] += [["u00", item, "train"] for item, _ in tables["items"][1:]]
    words = ["--method=CPFair", "--fair_group=pop", "--k=4", f"--out={tmp_path / 'new.tsv'}"]
    assert cli.main(["rerank", *written(tmp_path, tables), *words]) == 0
    assert cli.main(["rerank", *written(tmp_path, tables)[:2], *words]) == 2


def changed(name: str, *edits: tuple[str, str]) -> dict[str, Table]:
    tables = shop()
    text = "\n".join("\t".join(row) for row in tables[name])
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return {**tables, name: [line.split("\t") for line in text.split("\n")]}


def first(name: str, row: int = 1) -> str:
    return "\t".join(shop()[name][row])


def repeated() -> dict[str, Table]:
    tables = shop()
    tables["recommendations"].append([*tables["recommendations"][1][:2], "0.5"])
    return tables


BAD = [
    ("short lists", shop(), ["--k=10"], "12 users have fewer than --k=10 candidates, user u00 9"),
    ("an item twice", repeated(), [], "twice; keep one"),
    ("no score", changed("recommendations", ("score", "points")), [], "no column 'score'"),
    ("no score, no rank", changed("recommendations", ("score", "points")), ["--method=FA-IR"], "no column 'rank'"),
    ("NaN", changed("recommendations", (first("recommendations"), "u01\ti01\tnan")), [], "empty, NaN or infinite"),
    ("inf", changed("recommendations", (first("recommendations"), "u01\ti01\tinf")), [], "finite score"),
    ("a word", changed("recommendations", (first("recommendations"), "u01\ti01\thigh")), [], "recommendations.tsv"),
    ("no group", changed("items", ("\tcup tea", "\t")), [], "listed items are in no group, item i"),
    ("one group", changed("items", ("\tcup tea", "\ttea"), ("\tcup", "\ttea")), [], "1 group; choose a field"),
    ("no field", shop(), ["--fair_group=colour"], "no such field"),
    ("target sum", shop(), ["--target.tea=0.5", "--target.cup=0.4"], "add up to 0.9; they must add up to 1"),
    ("target name", shop(), ["--target.tee=1"], "target.tee: no such group. Did you mean 'tea'?"),
    ("target value", shop(), ["--target.tea=-1", "--target.cup=2"], "target.tea=-1: expected a share"),
    ("target form", shop(), ["--target=1"], "name groups and their shares"),
    ("both", shop(), ["--strength=0.1", "--budget=0.9"], "give one; a budget chooses the strength"),
    ("budget", shop(), ["--budget=1.5"], "above 0 and up to 1"),
    ("budget word", shop(), ["--budget=much"], "--budget='much': a number"),
    ("no valid", changed("interactions", ("valid", "train")), ["--budget=0.9"], "rows with split=valid"),
    ("strength", shop(), ["--method=MMR", "--strength=2"], "--strength=2: lambda"),
    ("k", shop(), ["--k=0"], "--k=0: a positive whole number"),
    ("method", shop(), ["--method=MinMx"], "no such method. Did you mean 'MinMax'?"),
    ("key", shop(), ["--strenght=1"], "rerank does not take it"),
    ("word", shop(), ["stray"], "takes --key=value only"),
    ("no train", changed("interactions", ("train", "test")), ["--method=Calibrated"], "rows with split=train"),
    ("no users", shop(), ["--method=UGF"], "give --users=FILE and --user_group=FIELD"),
    ("bins", shop(), ["--group_bins.genre=x"], "group_bins.genre='x'"),
]  # fmt: skip


@pytest.mark.parametrize(("tables", "more", "says"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input_is_refused_and_nothing_is_written(
    tables: dict[str, Table], more: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"k": "4", "fair_group": "genre", "method": "MinMax", "out": str(tmp_path / "new.tsv")}
    for word in [one for one in more if one.startswith("--") and one[2:].partition("=")[0] in words]:
        words[word[2:].partition("=")[0]] = word.partition("=")[2]
        more = [one for one in more if one != word]
    given = written(tmp_path, tables)
    assert cli.main(["rerank", *given, *(f"--{key}={value}" for key, value in words.items()), *more]) == 2
    error = capsys.readouterr().err
    assert says in error and len(error.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.tsv" for name in tables}


def test_a_rank_twice_and_scores_that_rise_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = ["user_id", "item_id", "rank", "score"]
    for rows, says in (
        ([["a", "x", "1", "0.9"], ["a", "y", "1", "0.8"]], "user a has rank 1 twice"),
        ([["a", "x", "1", "0.1"], ["a", "y", "2", "0.2"]], "user a: the score rises from rank 1 to 2"),
    ):
        tables = {"recommendations": [head, *rows], "items": [["item_id", "genre"], ["x", "p"], ["y", "q"]]}
        given = written(tmp_path, tables)
        assert (
            cli.main(["rerank", *given, "--k=1", "--method=MMR", "--fair_group=genre", f"--out={tmp_path / 'o'}"]) == 2
        )
        assert says in capsys.readouterr().err


def test_what_is_read_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = written(tmp_path, shop())
    before = (tmp_path / "recommendations.tsv").read_text()
    words = ["--k=4", "--method=MMR", "--fair_group=genre", f"--out={tmp_path / 'recommendations.tsv'}"]
    assert cli.main(["rerank", *given, *words]) == 2
    assert "is one of the files that are read" in capsys.readouterr().err
    assert (tmp_path / "recommendations.tsv").read_text() == before


def test_a_group_of_one_item_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = shop()
    tables["items"][1][1] = "pot"
    reranked(tmp_path, tables, "--method=FairRec")
    assert "1 groups have one item (pot)" in capsys.readouterr().out


def test_the_methods_load_neither_torch_nor_recbole() -> None:
    code = "import sys, recbole_fair.rerank.budget; print({'torch', 'recbole'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
