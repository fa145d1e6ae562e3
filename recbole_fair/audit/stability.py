"""How stable lists are under what prompts say of users: files of any language model, a file a variant of the prompt.

none (without an attribute), gender:F, gender:M (everyone given this value), again (none, asked a second time)
-> result.json, users.csv, groups.csv
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_fair.audit import foreign_tables, judge
from recbole_fair.audit.foreign_tables import IDS, PlainTable
from recbole_fair.audit.lists import Pairs, top_lists
from recbole_fair.errors import UsageError
from recbole_fair.groups import named
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.variants import NONE, Variant
from recbole_fair.metrics.formulas import IntArray
from recbole_fair.metrics.intervals import resampling
from recbole_fair.metrics.list_metrics import OF_PROMPTED_LISTS
from recbole_fair.metrics.list_table import RankingTable
from recbole_fair.metrics.metric import AGAIN, Metric
from recbole_fair.metrics.stability import PromptedLists
from recbole_fair.registry import nearest
from recbole_fair.rundir import machine
from recbole_fair.rundir.result import Result
from recbole_fair.settings import keys
from recbole_fair.settings.digest import config_hash

logger = logging.getLogger(__name__)

_NONE, _AGAIN = "none", "again"
_PROMPT = rf"{_NONE}|{_AGAIN}|[^:=]+:.+"
_FORM = "none=FILE,ATTRIBUTE:VALUE=FILE,ATTRIBUTE:VALUE=FILE, and again=FILE for none asked a second time"
_KEYS = ("topk", "metrics", "interval", "bootstrap", "interval_method", "group_bins", "unknown_values")
_LISTED = (*IDS, "rank")

FileOf = Mapping[str, Path]  # by none, again or ATTRIBUTE:VALUE


def parsed(texts: Sequence[str]) -> dict[str, Path]:
    """The file of each variant, from NAME=FILE with commas between them; a value ends at the last equals sign.

    >>> parsed(["none=a.tsv,gender:F=b.tsv,age:<=18=c.tsv"])
    {'none': PosixPath('a.tsv'), 'gender:F': PosixPath('b.tsv'), 'age:<=18': PosixPath('c.tsv')}
    """
    files: dict[str, Path] = {}
    for part in (part for text in texts for part in re.split(r",(?=[^,=]+=)", text)):
        if not (form := re.fullmatch(rf"({_PROMPT})=(.+)", part)):
            raise UsageError(f"--variants {part}: expected {_FORM}")
        name, path = form.groups()
        if name in files:
            raise UsageError(f"--variants {name}: given twice; keep one file")
        files[name] = Path(path)
    return files


def audit_variants(
    files: FileOf,
    folder: Path,
    system: str,
    dataset: str,
    given: Mapping[str, Any],
    users: Path | None = None,
    ids: tuple[str, str] = IDS,
) -> Result:
    """Compare the lists of the variants and write the result files into `folder`.

    With a table of `users` attributes must be its fields, and values their groups.
    """
    _refuse_incomplete(files)
    options = _checked(given, _AGAIN in files)
    read = [*sorted(files.items()), *([("users", users)] if users else [])]
    digest = judge.digest_of({f"{name}\0": judge.sha256_of(path) for name, path in read} | judge.naming(ids))
    result = Result(system, None, dataset, 0, config_hash(options, digest), run_dir=str(folder))
    return judge.saved(result, options, lambda: _fill(files, users, ids, options, result))


def _refuse_incomplete(files: FileOf) -> None:
    if strange := next((name for name in files if not re.fullmatch(_PROMPT, name)), None):
        raise UsageError(f"--variants {strange}: is no prompt; expected {_FORM}")
    if _NONE not in files:
        raise UsageError("--variants: lists are compared with those without an attribute; give none=FILE")
    if not files.keys() - {_NONE, _AGAIN}:
        raise UsageError(f"--variants: no value of an attribute is among them; give {_FORM}")


def _checked(given: Mapping[str, Any], again: bool) -> dict[str, Any]:
    """Our defaults under what was given; what lists alone do not suffice for is refused."""
    if other := next((key for key in given if key in keys.taken_by("audit") and key not in _KEYS), None):
        raise UsageError(
            f"--{other}: variants are compared with each other, not with interactions; judge their files as systems,"
            " --recommendations none=F --recommendations F=F --interactions F"
        )
    every = [metric.name for metric in OF_PROMPTED_LISTS if again or not _asks_again(metric)]
    options = judge.checked({"metrics": every, **given}, lambda name: _metric(name, again))
    return {**options, "item_groups": [], "user_groups": []}


def _metric(name: str, again: bool) -> str:
    """The name of a metric that lists under several prompts suffice for."""
    metrics = {metric.name.lower(): metric for metric in OF_PROMPTED_LISTS}
    if name.lower() not in metrics:
        raise UsageError(
            f"metrics: {name} does not compare variants.{nearest(name.lower(), metrics)} Those that do are"
            f" {', '.join(metric.name for metric in OF_PROMPTED_LISTS)}"
        )
    metric = metrics[name.lower()]
    if _asks_again(metric) and not again:
        raise UsageError(f"metrics: {metric.name} reads the lists of none asked a second time; give again=FILE")
    return metric.name


def _asks_again(metric: Metric) -> bool:
    return any(read.prompt == AGAIN for read in metric.figures)


def _fill(files: FileOf, users: Path | None, ids: tuple[str, str], options: dict[str, Any], result: Result) -> None:
    """Compare the lists: all that result.json says of them, and the files beside it."""
    start = perf_counter()
    machine.describe(result, "cpu")
    logger.info("reading %s", ", ".join(map(str, files.values())))
    if users is not None:
        _refuse_unknown(judge.Files(files[_NONE], None, users, ids=ids), _values(files), options)
    lists = VariantLists(files, max(options["topk"]), ids)
    metrics = [metric for metric in OF_PROMPTED_LISTS if metric.name in options["metrics"]]
    table = _kept_for_reports(_table(lists, _values(files), options["topk"]), metrics)
    result.seconds["data"], result.warnings = perf_counter() - start, lists.notes
    judge.fill_figures(result, table, metrics, resampling(options), 1, np.array(["[PAD]", *lists.users], dtype=str))
    # two systems that were asked about the same users can be compared
    result.data = {"fingerprint": _of_names(lists.users), "split": None, "users": len(lists.users)}
    result.seconds["evaluate"] = perf_counter() - start - result.seconds["data"]


def _values(files: FileOf) -> dict[str, list[str]]:
    """The values of each attribute, sorted."""
    values: dict[str, list[str]] = {}
    for name in sorted(files.keys() - {_NONE, _AGAIN}):
        attribute, _, value = name.partition(":")
        values.setdefault(attribute, []).append(value)
    return values


def _refuse_unknown(files: judge.Files, values: Mapping[str, Sequence[str]], options: Mapping[str, Any]) -> None:
    """Refuse an attribute that is no field of the users' table, and a value that is none of its groups."""
    tables = judge.AuditTables(files, _LISTED)
    for attribute, wanted in values.items():
        names = named.user_groups(options, tables, attribute, "variants").names
        if strange := next((value for value in wanted if value not in names), None):
            hint = f"{nearest(strange, names)} It has {', '.join(names)}"
            raise UsageError(f"--variants {attribute}:{strange}: no such group of {attribute} in {files.users}.{hint}")


def _table(lists: VariantLists, values: Mapping[str, Sequence[str]], topk: Sequence[int]) -> RankingTable:
    """Every user is given every value, and so speaks for each group."""
    everyone = np.arange(len(lists.users) + 1) > 0
    plain = lists.of(_NONE)
    by_value = {Variant(field, name): lists.of(f"{field}:{name}") for field, names in values.items() for name in names}
    again = lists.of(_AGAIN) if _AGAIN in lists.tables else None
    return RankingTable(
        users=np.arange(1, len(everyone)), lists=plain, scores=np.zeros(plain.shape), topk=topk, per_user={},
        groups={field: Groups("user", field, tuple(names), np.repeat(everyone[:, None], len(names), axis=1))
                for field, names in values.items()},
        prompted=PromptedLists(plain, {NONE: plain, **by_value}, again),
    )  # fmt: skip


def _kept_for_reports(table: RankingTable, metrics: Sequence[Metric]) -> RankingTable:
    """The same, with what users.csv must hold of each user so that figures can be evaluated from it."""
    measures = (measure for metric in metrics for measure in metric.measures(table))
    return replace(table, stored=tuple(dict.fromkeys(figure for measure in measures for figure in measure.blocks)))


class VariantLists:
    """The lists of each variant over the same users, [U, K] of item ids from 1."""

    def __init__(self, files: FileOf, k: int, ids: tuple[str, str] = IDS) -> None:
        self.tables = {name: foreign_tables.read(path, _LISTED, ids) for name, path in files.items()}
        self.k, self.notes = k, list[str]()
        self.user_ids, self.item_ids = (self._ids(column) for column in ("user_id", "item_id"))
        self._refuse_other_users()
        longest = max(int(table.whole_numbers("rank").max(initial=0)) for table in self.tables.values())
        if longest < k:
            raise UsageError(f"topk: the longest list has {longest} items; give --topk={longest} or less")

    @property
    def users(self) -> list[str]:
        """Raw ids, sorted."""
        return list(self.user_ids.to_pylist())

    def _ids(self, column: str) -> pa.Array:
        ids = pc.unique(pa.concat_arrays([table.texts(column).dictionary for table in self.tables.values()]))
        return ids.take(pc.sort_indices(ids))

    def _refuse_other_users(self) -> None:
        for table in self.tables.values():
            if not len(table.columns):
                raise UsageError(f"{table.path}: holds no list")
            if (user := next(self._lacking(table), None)) is not None:
                raise UsageError(
                    f"{table.path}: no list of user {user}, of whom another variant has one; ask for all variants of"
                    " the same users, or leave a user out of all files"
                )

    def _lacking(self, table: PlainTable) -> Iterator[str]:
        has = np.zeros(len(self.user_ids) + 1, dtype=bool)
        has[foreign_tables.places(table.texts("user_id"), self.user_ids)] = True
        yield from (str(self.user_ids[place]) for place in np.flatnonzero(~has[1:]).tolist())

    def of(self, name: str) -> IntArray:
        """[U, K] of a variant; adds a note where lists are shorter than K."""
        table = self.tables[name]
        pairs = Pairs(*(foreign_tables.places(table.texts(column), ids)
                        for column, ids in (("user_id", self.user_ids), ("item_id", self.item_ids))))  # fmt: skip
        everyone = np.arange(1, len(self.user_ids) + 1)
        names = ["", *self.users]
        lists = top_lists(pairs, table.whole_numbers("rank"), everyone, self.k, names, str(table.path))
        if lists.short:
            self.notes.append(f"{name}: {lists.short} users have fewer than {self.k} items listed")
        return lists.items


def _of_names(names: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]
