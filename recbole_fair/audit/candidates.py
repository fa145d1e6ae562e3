"""From scored lists of any system to the candidates of a re-ranker, and from the new lists to a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
from pyarrow import parquet

from recbole_fair import storage
from recbole_fair.audit.judge import AuditTables
from recbole_fair.audit.lists import hits
from recbole_fair.errors import UsageError
from recbole_fair.groups import named
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.shares import named_shares
from recbole_fair.rerank.candidates import BoolArray, Candidates, FloatArray, IntArray, profiles
from recbole_fair.rerank.methods import Method

COLUMNS = ("user_id", "item_id", "rank", "score")


class ScoredLists:
    """The lists of a file, best first, as [U, C]: by rank where there is one, else by score."""

    def __init__(self, tables: AuditTables, k: int, scored: bool) -> None:
        self.tables, self.where = tables, tables.listed.path
        self.scored = "score" in tables.listed.columns.column_names
        if scored and not self.scored:
            raise UsageError(
                f"{self.where}: no column 'score', which this method weighs; add one, or take FA-IR or FairRec,"
                " which read ranks"
            )
        users, items, scores = self._ordered()
        self.users, first, lengths = np.unique(users, return_index=True, return_counts=True)
        self._check(users, items, lengths, k)
        place = np.arange(len(users)) - np.repeat(first, lengths)
        cells = np.repeat(np.arange(len(self.users)), lengths) * int(lengths.max()) + place
        shape = len(self.users), int(lengths.max())
        self.items, self.scores = np.zeros(shape, dtype=np.int64), np.full(shape, -np.inf)
        self.items.reshape(-1)[cells], self.scores.reshape(-1)[cells] = items, scores

    def _ordered(self) -> tuple[IntArray, IntArray, FloatArray]:
        """The rows of the file, user by user, best first; without scores minus the rank stands for them."""
        listed, pairs = self.tables.listed, self.tables.pairs(self.tables.listed)
        if not len(pairs.users):
            raise UsageError(f"{self.where}: holds no list")
        ranked = "rank" in listed.columns.column_names
        scores = listed.finite_numbers("score") if self.scored else -listed.whole_numbers("rank").astype(float)
        ranks = listed.whole_numbers("rank") if ranked else -scores
        order = np.lexsort((ranks, pairs.users))
        if ranked:
            self._refuse_disorder(pairs.users[order], scores[order], ranks[order])
        return pairs.users[order], pairs.items[order], scores[order]

    def _refuse_disorder(self, users: IntArray, scores: FloatArray, ranks: IntArray) -> None:
        """Refuse a rank that a user has twice, and a score that rises with the rank."""
        same = users[1:] == users[:-1]
        if (twice := same & (ranks[1:] == ranks[:-1])).any():
            row = int(twice.argmax())
            raise UsageError(f"{self.where}: user {self._user(users[row])} has rank {ranks[row]} twice; keep one")
        if (rising := same & (scores[1:] > scores[:-1])).any():
            row = int(rising.argmax())
            raise UsageError(
                f"{self.where}: user {self._user(users[row])}: the score rises from rank {ranks[row]} to"
                f" {ranks[row + 1]}; a larger score must mean better"
            )

    def _check(self, users: IntArray, items: IntArray, lengths: IntArray, k: int) -> None:
        if (short := lengths < k).any():
            user, least = self._user(self.users[int(short.argmax())]), int(lengths[short][0])
            raise UsageError(
                f"{self.where}: {int(short.sum())} users have fewer than --k={k} candidates, user {user} {least};"
                " give longer lists or a smaller k"
            )
        pairs, times = np.unique(users * (1 + int(items.max())) + items, return_counts=True)
        if (times > 1).any():
            person, item = divmod(int(pairs[int((times > 1).argmax())]), 1 + int(items.max()))
            name = self.tables.ids["item"][item - 1]
            raise UsageError(f"{self.where}: user {self._user(person)} has item {name} twice; keep one")

    def _user(self, user: int) -> str:
        return str(self.tables.ids["user"][int(user) - 1])

    def has(self, part: str) -> bool:
        """Whether interactions of this part are given."""
        return part in self.tables.parts and len(self.tables.parts[part].users) > 0

    def of_part(self, part: str) -> tuple[IntArray, IntArray]:
        """Rows of these lists and items of a part's interactions; those of other users are left out."""
        pairs = self.tables.parts[part]
        row = np.full(len(self.tables.ids["user"]) + 1, -1)
        row[self.users] = np.arange(len(self.users))
        rows = row[pairs.users]
        return rows[rows >= 0], pairs.items[rows >= 0]

    def relevant_cells(self) -> BoolArray:
        """[U, C] whether a candidate is a validation item."""
        return hits(self.items, *self._valid_pairs())

    def valid_counts(self) -> IntArray:
        """[U] how many validation items each user has."""
        pairs, item_num = self._valid_pairs()
        return np.bincount(pairs // item_num, minlength=len(self.users))

    def _valid_pairs(self) -> tuple[IntArray, int]:
        """Each validation pair once, as row * I + item in ascending order, and I."""
        rows, items = self.of_part("valid")
        item_num = len(self.tables.ids["item"]) + 1
        return np.unique(rows * item_num + items), item_num


def item_groups(tables: AuditTables, options: Mapping[str, Any], lists: ScoredLists) -> Groups:
    """The grouping `fair_group`; every listed item must be in a group."""
    if not options["fair_group"]:
        raise UsageError("rerank: give --fair_group=FIELD, the item groups between which lists are to be fair")
    groups = named.item_groups(options, tables, options["fair_group"], "fair_group")
    lost = np.unique(lists.items[lists.items > 0])
    lost = lost[~groups.membership[lost].any(axis=1)]
    if len(lost):
        raise UsageError(
            f"fair_group={groups.field}: {len(lost)} listed items are in no group, item"
            f" {tables.ids['item'][int(lost[0]) - 1]} first; give them a value, or leave them out of the lists"
        )
    if len(groups.names) < 2:
        raise UsageError(f"fair_group={groups.field}: {len(groups.names)} group; choose a field that has several")
    return groups


def candidates(
    lists: ScoredLists, method: Method, k: int, groups: Groups | None, users: Groups | None, target: Any
) -> Candidates:
    """What the method reads; what it needs and the files lack is refused."""
    if "user_groups" in method.needs and users is None:
        raise UsageError("rerank: this method is between groups of users; give --users=FILE and --user_group=FIELD")
    for need, part in (("profile", "train"), ("relevant", "valid")):
        if need in method.needs and not lists.has(part):
            raise UsageError(f"rerank: this method reads rows with split={part}; give them by --interactions=FILE")
    member = np.ones((len(lists.tables.ids["item"]) + 1, 1), dtype=bool) if groups is None else groups.membership
    found = Candidates(
        lists.items,
        lists.scores,
        k,
        member,
        None if target is None or groups is None else named_shares(target, groups.names, "target"),
        None if users is None else users.membership[lists.users],
        profiles(*lists.of_part("train"), len(lists.users), member) if "profile" in method.needs else None,
        lists.relevant_cells() if lists.has("valid") else None,
    )
    if "relevant" in method.needs and (found.relevant is None or not found.relevant.any()):
        raise UsageError("rerank: no list holds a validation item, so this method has nothing to move")
    return found


def write_lists(path: Path, lists: ScoredLists, places: IntArray) -> None:
    """user_id, item_id, rank and score: what `audit` reads; parquet, comma- or tab-separated by the name's ending.

    Scores are those that were read, in the new order; without any there is no such column.
    """
    ids, k = lists.tables.ids, places.shape[1]
    items, scores = (np.take_along_axis(values, places, axis=1).ravel() for values in (lists.items, lists.scores))
    columns = {
        "user_id": ids["user"].take(pa.array(np.repeat(lists.users - 1, k))),
        "item_id": ids["item"].take(pa.array(items - 1)),
        "rank": pa.array(np.tile(np.arange(1, k + 1), len(places))),
        **({"score": pa.array(scores)} if lists.scored else {}),
    }
    table, stream = pa.table(columns), pa.BufferOutputStream()
    if path.suffix == ".parquet":
        parquet.write_table(table, stream)
    else:
        delimiter = "," if path.suffix == ".csv" else "\t"
        stream.write(f"{delimiter.join(columns)}\n".encode())
        how = arrow_csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="needed")
        arrow_csv.write_csv(table, stream, how)
    storage.write_bytes(path, stream.getvalue().to_pybytes())
