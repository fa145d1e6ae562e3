"""Judging lists that any system made: no model, no training, the same figures and files as a run.

    recommendations (user, item, rank), interactions (user, item, split), users and items with their fields
    -> result.json, users.csv, groups.csv

Ids are raw; the tables are plain text with a header, RecBole's atomic files, or parquet.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recbole_fair import storage
from recbole_fair.audit import foreign_tables, lists
from recbole_fair.audit.foreign_tables import IDS, PlainTable
from recbole_fair.audit.lists import Pairs
from recbole_fair.data.identity import PHASES, split_digest
from recbole_fair.errors import StorageError, UsageError
from recbole_fair.groups import named
from recbole_fair.groups.membership import Groups, Values
from recbole_fair.metrics.asked import Asked, JudgedLists, of_table
from recbole_fair.metrics.declared import by_host_name
from recbole_fair.metrics.formulas import IntArray
from recbole_fair.metrics.intervals import Resampling, resampling
from recbole_fair.metrics.judging import judge
from recbole_fair.metrics.list_table import RankingTable
from recbole_fair.metrics.metric import Metric, OfScores
from recbole_fair.registry import nearest
from recbole_fair.rundir import files as reporting
from recbole_fair.rundir import folder as rundir
from recbole_fair.rundir import machine
from recbole_fair.rundir.result import RESULT, Result
from recbole_fair.settings import figures, keys, yamls
from recbole_fair.settings.digest import config_hash

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """What is read; users and items may be left out where no group needs them, interactions where nothing is judged.

    `ids` are what the files call their columns of user and item ids.
    """

    recommendations: Path
    interactions: Path | None
    users: Path | None = None
    items: Path | None = None
    ids: tuple[str, str] = IDS

    @property
    def paths(self) -> dict[str, Path]:
        """The files that are given, by role."""
        roles = ("recommendations", "interactions", "users", "items")
        return {role: path for role in roles if (path := getattr(self, role)) is not None}

    @cached_property
    def by_role(self) -> dict[str, bytes]:
        """The digest of each file's content, and of other names of the ids."""
        return {role: sha256_of(path) for role, path in self.paths.items()} | naming(self.ids)

    @property
    def digest(self) -> str:
        """Of all that is read, and as what."""
        return digest_of(self.by_role)

    @property
    def data(self) -> str:
        """Of all but the lists: systems that are judged on the same data share it."""
        return digest_of({role: digest for role, digest in self.by_role.items() if role != "recommendations"})


def naming(ids: tuple[str, str]) -> dict[str, bytes]:
    """What a digest holds of the columns' names: nothing where they are user_id and item_id."""
    return {} if ids == IDS else {"ids": "\0".join(ids).encode()}


def sha256_of(path: Path) -> bytes:
    """The SHA-256 of a file."""
    with storage.open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def digest_of(by_role: Mapping[str, bytes]) -> str:
    """Digest of every file that is read and the role it has."""
    return hashlib.sha256(b"".join(role.encode() + digest for role, digest in by_role.items())).hexdigest()[:16]


class AuditTables:
    """The four tables with ids numbered from 1, as groups and lists want them."""

    def __init__(self, files: Files, listed: Sequence[str] = ("user_id", "item_id", "rank")) -> None:
        read = partial(foreign_tables.read, ids=files.ids)
        self.listed = read(files.recommendations, listed)
        self.met = None if files.interactions is None else read(files.interactions, (*IDS, "split"))
        sides = {"user": files.users, "item": files.items}
        self.sides = {kind: None if path is None else read(path) for kind, path in sides.items()}
        self.ids = {kind: self._all_ids(kind) for kind in ("user", "item")}
        self._names: dict[str, npt.NDArray[np.str_]] = {}
        self.parts = self._split()

    def _all_ids(self, kind: str) -> pa.Array:
        """Every raw id that any table names, sorted."""
        column = f"{kind}_id"
        tables = [table for table in (self.listed, self.met, self.sides[kind]) if table is not None]
        found = pc.unique(pa.concat_arrays([table.texts(column).dictionary for table in tables]))
        return found.take(pc.sort_indices(found))

    def pairs(self, table: PlainTable) -> Pairs:
        """A table's users and items."""
        users, items = (foreign_tables.places(table.texts(f"{kind}_id"), self.ids[kind]) for kind in ("user", "item"))
        return Pairs(users, items)

    def _split(self) -> dict[str, Pairs]:
        if self.met is None:
            return {}
        everything, column = self.pairs(self.met), self.met.texts("split")
        words = column.dictionary.to_pylist()
        if unknown := sorted(set(words) - set(PHASES)):
            raise UsageError(f"{self.met.path}: split {unknown[0]!r}: expected train, valid or test")
        part = np.array([PHASES.index(word) for word in words], dtype=np.int64)[np.from_dlpack(column.indices)]
        found = {name: part == place for place, name in enumerate(PHASES)}
        return {name: Pairs(everything.users[rows], everything.items[rows]) for name, rows in found.items()}

    # --- what groups are made from (groups.named.GroupSource)

    def names(self, kind: str) -> npt.NDArray[np.str_]:
        """Raw ids; place 0 is nobody."""
        if kind not in self._names:
            self._names[kind] = np.array(["[PAD]", *self.ids[kind].to_pylist()], dtype=str)
        return self._names[kind]

    def trained(self, wish: str) -> tuple[IntArray, IntArray]:
        """Users and items of the training interactions."""
        if not self.parts:
            raise UsageError(f"{wish}: is made from training interactions; give --interactions=FILE")
        return self.parts["train"].users, self.parts["train"].items

    def values(self, field: str, key: str, kind: str) -> Values:
        """A field of the users or items table, by id."""
        side = self.sides[kind]
        if side is None:
            raise UsageError(f"{key}={field!r}: is read from a table of {kind}s; give --{kind}s=FILE")
        present = side.columns.column_names
        if field not in present:
            hint = f"{nearest(field, present)} It has {', '.join(present)}"
            raise UsageError(f"{key}={field!r}: no such field in {side.path}.{hint}")
        own = foreign_tables.places(side.texts(f"{kind}_id"), self.ids[kind])
        if (twice := np.bincount(own) > 1).any():
            raise UsageError(f"{side.path}: {kind} {self.ids[kind][int(twice.argmax()) - 1]} stands in several rows")
        rows: list[tuple[str, ...]] = [()] * (len(self.ids[kind]) + 1)
        for place, value in zip(own.tolist(), side.values(field), strict=True):
            rows[place] = value
        return rows


def audit(files: Files, folder: Path, system: str, dataset: str, given: Mapping[str, Any]) -> Result:
    """Judge the lists and write the result files into `folder`; a killed audit is done again by the same request."""
    options = checked(given)
    result = Result(system, None, dataset, 0, config_hash(options, files.digest), run_dir=str(folder))
    return saved(result, options, lambda: _fill(files, options, result, fitting="topk" not in given))


def saved(result: Result, options: dict[str, Any], fill: Callable[[], None]) -> Result:
    """Make the result's folder this request's, and save the result in it when `fill` has filled it."""
    folder, digest = Path(result.run_dir), result.config_hash
    _refuse_other(folder, digest)
    with rundir.locked(folder):
        fresh = rundir.take(folder, digest, 0, options)
        try:
            fill()
        except StorageError:
            raise
        except UsageError:
            if fresh:  # a request that cannot be met leaves nothing to remove by hand
                rundir.unclaim(folder)
            raise
        storage.write_text(folder / "config.yaml", yamls.dump(options))  # the same audit may be shown at another level
        result.save(folder)
        return result


def _fill(files: Files, options: dict[str, Any], result: Result, fitting: bool) -> None:
    """Judge the lists, `fitting` K to their length where none was asked for, and write the files beside the result."""
    start = perf_counter()
    machine.describe(result, "cpu")
    logger.info("reading %s", ", ".join(map(str, files.paths.values())))
    tables = AuditTables(files)
    _check_bins(options, tables)
    if fitting:
        options["topk"] = _fitting(tables, options["topk"])
    items, users = named.reported(options, tables)
    result.warnings += named.notes([*items, *users])
    asked = Asked(options, [by_host_name()[name.lower()] for name in options["metrics"]], items, users)
    asked.learn(*tables.trained("metrics"), len(tables.ids["item"]) + 1)
    table = asked.table(_beside_test_items(tables, options, items, result))
    result.seconds["data"] = perf_counter() - start
    how = resampling(options)
    samples = f", intervals from {how.samples:,} resamplings" if how else ""
    logger.info("judging %s users%s", f"{len(np.unique(tables.parts['test'].users)):,}", samples)
    fill_figures(result, table, asked.metrics, how, options["min_group_users"], tables.names("user"))
    result.data = _facts(tables, files)
    result.seconds["evaluate"] = perf_counter() - start - result.seconds["data"]


def fill_figures(
    result: Result, table: RankingTable, metrics: Sequence[Metric], how: Resampling | None, least: int,
    names: npt.NDArray[np.str_],
) -> None:  # fmt: skip
    """Figures, intervals, groups of `least` users and notes; users.csv, by raw `names`, and groups.csv are written."""
    result.test = {key: value for metric in metrics for key, value in metric.values(table).items()}
    judgement = judge(table, metrics, how, least)
    result.resampling = asdict(how) if how else {}
    result.interval = {key: judgement.interval.get(key) for key in result.test}
    result.group_rows, result.warnings = judgement.groups, [*result.warnings, *judgement.notes]
    result.environment["peak_memory"] = machine.peak_memory()
    reporting.write_users(Path(result.run_dir), names, table)
    reporting.write_groups(Path(result.run_dir), result.group_rows)


def _fitting(tables: AuditTables, topk: Sequence[int]) -> list[int]:
    """The values of K that the longest list reaches, or its length."""
    longest = int(tables.listed.whole_numbers("rank").max(initial=1))
    return [k for k in topk if k <= longest] or [longest]


def _check_bins(options: Mapping[str, Any], tables: AuditTables) -> None:
    """Refuse bins of a field that neither table has."""
    fields = [name for side in tables.sides.values() if side is not None for name in side.columns.column_names]
    for field in options["group_bins"] or {}:
        if field not in fields:
            raise UsageError(
                f"group_bins.{field}: no table has such a field.{nearest(field, fields)} They have {', '.join(fields)}"
            )


def judgeable(metric: str) -> str:
    """The name of a metric that lists and interactions suffice for."""
    name = figures.known(metric, "full")
    metric_of_name = by_host_name()[name.lower()]
    if any(read.prompt for read in metric_of_name.figures):
        raise UsageError(f"metrics: {metric} compares lists under several prompts; give their files by --variants")
    if isinstance(metric_of_name, OfScores):
        raise UsageError(f"metrics: {metric} reads the scores of all items, and an audit has lists only; leave it out")
    if of_table(name.lower()) is None:
        raise UsageError(f"metrics: {metric} is no mean over users of what lists find; an audit cannot judge it")
    return name


def checked(given: Mapping[str, Any], judged_by: Callable[[str], str] = judgeable) -> dict[str, Any]:
    """Our defaults under what was given; unknown keys are refused, and a metric that `judged_by` does not name."""
    own = keys.taken_by("audit")
    if unknown := next((key for key in given if key not in own), None):
        raise UsageError(f"--{unknown}: audit does not take it.{nearest(unknown, own)} See audit --help")
    defaults = {key: value for key, value in yamls.packaged("overall.yaml").items() if key in own}
    options = {**defaults, **{key: keys.as_declared(key, value, None) for key, value in given.items()}}
    for key, value in options.items():
        keys.check_value(key, value, defaults[key])
    options["metrics"] = [judged_by(name) for name in named.names_of(options, "metrics")]
    if not options["metrics"]:
        raise UsageError("metrics: names none, so there is nothing to judge; `recbole-fair metrics` lists them")
    options["topk"] = figures.ranks(options["topk"])
    return {**options, "metric_decimal_place": 17, "tail_ratio": 0.1, "device": "cpu", "probe": None}


def _refuse_other(folder: Path, digest: str) -> None:
    """A folder that holds the result of another audit is left alone; audits of the first versions have no run.json."""
    if (folder / RESULT).exists() and Result.read(folder).config_hash != digest:
        raise UsageError(f"{folder}: holds the result of other files or settings; choose another run_dir")


def _beside_test_items(
    tables: AuditTables, options: Mapping[str, Any], items: list[Groups], result: Result
) -> JudgedLists:
    """The lists beside the test items."""
    test, met = tables.parts["test"], tables.met
    assert met is not None
    if not len(test.users):
        raise UsageError(f"{met.path}: no row has split=test, so there is nothing to judge lists by")
    listed, k = tables.pairs(tables.listed), max(options["topk"])
    if k > len(tables.ids["item"]):
        raise UsageError(f"topk={options['topk']}: the files name only {len(tables.ids['item'])} items")
    ranks, names = tables.listed.whole_numbers("rank"), tables.names("user").tolist()
    found = lists.top_lists(listed, ranks, np.unique(test.users), k, names, str(tables.listed.path))
    if not found.items.any():
        raise UsageError(f"{tables.listed.path}: no user with a test item has a list; do both files name users alike?")
    _check_items(tables, listed, result)
    _warn(found, k, result)
    masked = {"masked": _masked(tables, found.users, items)} if items else {}
    return lists.beside_test(found, test, items, options["topk"], masked)


def _warn(found: lists.Lists, k: int, result: Result) -> None:
    """Say what of the lists counts as misses or not at all."""
    if found.short:
        result.warnings.append(
            f"{found.short} judged users have fewer than {k} items listed; the rest counts as misses"
        )
    if found.foreign:
        result.warnings.append(f"{found.foreign} users have lists but no test item, and are not judged")


def _check_items(tables: AuditTables, listed: Pairs, result: Result) -> None:
    """Listed items that neither the interactions nor the items table name: no list of such items can be right."""
    known = np.zeros(len(tables.ids["item"]) + 1, dtype=bool)
    for part in tables.parts.values():
        known[part.items] = True
    if (side := tables.sides["item"]) is not None:
        known[foreign_tables.places(side.texts("item_id"), tables.ids["item"])] = True
    strange = int((~known[listed.items]).sum())
    if strange == len(listed.items):
        raise UsageError(f"{tables.listed.path}: no listed item is among the data's; do both files name items alike?")
    if strange:
        result.warnings.append(
            f"{strange} of {len(listed.items)} listed items ({strange / len(listed.items):.1%}) are not among the"
            " data's: they count as misses and as items of the catalogue"
        )


def _masked(tables: AuditTables, users: npt.NDArray[np.int64], items: list[Groups]) -> IntArray:
    """[U, G] of items that a run would not list for a user: met before the test part and not in it, by group."""
    item_num = len(tables.ids["item"]) + 1
    pairs = {name: part.users * item_num + part.items for name, part in tables.parts.items()}
    met = np.setdiff1d(np.concatenate([pairs["train"], pairs["valid"]]), pairs["test"])
    of_judged_users = met[np.isin(met // item_num, users)]
    member = np.concatenate([groups.membership for groups in items], axis=1)
    rows = np.searchsorted(users, of_judged_users // item_num)
    return lists.count_by_group(rows, of_judged_users % item_num, len(users), member)


def _facts(tables: AuditTables, files: Files) -> dict[str, Any]:
    parts = {name: (pairs.users, pairs.items) for name, pairs in tables.parts.items()}
    return {
        "fingerprint": files.data,
        "split": split_digest(tables.names("user"), tables.names("item"), parts),
        "candidates": None,
        "users": len(tables.ids["user"]),
        "items": len(tables.ids["item"]),
        "interactions": sum(len(pairs.users) for pairs in tables.parts.values()),
    }
