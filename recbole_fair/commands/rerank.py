"""`recbole-fair rerank`: fairer lists out of the scored lists of any system."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recbole_fair.audit.candidates import COLUMNS, ScoredLists, candidates, item_groups, write_lists
from recbole_fair.audit.judge import AuditTables, Files
from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.groups import named
from recbole_fair.groups.membership import Groups
from recbole_fair.registry import nearest
from recbole_fair.rerank.budget import strongest, trials
from recbole_fair.rerank.candidates import Candidates, IntArray
from recbole_fair.rerank.methods import METHODS, Method
from recbole_fair.screen import aligned
from recbole_fair.settings import keys, yamls

_USAGE = """usage: recbole-fair rerank --recommendations F --items F --method=M --fair_group=FIELD --out F [--k=20] ...

Chooses K of each user's candidates anew, so that groups of items (or users) are treated more alike. No model is
needed; give lists longer than K, 50 to 200 candidates a user. docs/rerank.md says what each method does.

  --recommendations F   user_id, item_id, and score or rank (from 1) or both; a larger score is better
  --items F             item_id and any fields, for --fair_group; its items are the catalogue
  --users F             user_id and any fields, for --user_group
  --interactions F      user_id, item_id, split: train rows for popularity (--fair_group=pop) and tastes (Calibrated),
                        valid rows for --budget; test rows are not looked at
  --out F               the new lists: user_id, item_id, rank, score (.tsv, .csv or .parquet), which audit reads
  --user COLUMN --item COLUMN
                        what the files call their columns of ids, where it is not user_id and item_id
  --method M            {methods}
  --strength X          how strongly; without it each method's default
  --budget SHARE        instead: the strongest that keeps this share of NDCG@K on the valid rows
  --target.GROUP=SHARE  the share of list places that a group is due (its share of the catalogue)
Keys: --genre_field=FIELD  --item_group_multi=first  --group_bins.publisher=10  --popular_share=0.2"""


def main(arguments: Arguments) -> int:
    """Re-rank, write the file, print what groups got."""
    if arguments.words:
        raise UsageError(f"{arguments.words[0]!r}: rerank takes --key=value only")
    paths = {name: arguments.take(name) for name in ("recommendations", "items", "users", "interactions", "out")}
    if missing := next((name for name in ("recommendations", "items", "out") if not paths[name]), None):
        raise UsageError(f"rerank: give --{missing}=FILE; see rerank --help")
    name, method = _method(arguments.take("method"))
    wishes = {key: arguments.take(key) for key in ("k", "strength", "budget", "user_group", "target")}
    k, ids = _checked(wishes, method), arguments.take_columns()
    files = {role: Path(str(path)) for role, path in paths.items() if path}
    out = files.pop("out")
    if out.resolve() in {path.resolve() for path in files.values()}:
        raise UsageError(f"--out={out}: is one of the files that are read; choose another")
    options = _options(arguments)
    read = Files(files["recommendations"], files.get("interactions"), files.get("users"), files["items"], ids)
    tables = AuditTables(read, COLUMNS)
    lists = ScoredLists(tables, k, "scores" in method.needs)
    groups = item_groups(tables, options, lists) if method.groups else None
    users = (
        named.user_groups(options, tables, str(wishes["user_group"]), "user_group") if wishes["user_group"] else None
    )
    given = candidates(lists, method, k, groups, users, wishes["target"])
    strength, said = _strength(wishes, method, given, lists)
    places = method.choose(given, strength)
    write_lists(out, lists, places)
    print(f"{name} with strength {strength:g}{said}: {len(places)} lists of {k} in {out}")
    if groups is not None:
        print("\n".join([*aligned(list(_table(given, groups, places))), *_small(groups)]))
    return 0


def usage() -> str:
    """The help text."""
    return _USAGE.format(methods=", ".join(METHODS))


def _method(given: Any) -> tuple[str, Method]:
    name = str(given or "")
    if name not in METHODS:
        raise UsageError(f"--method={name}: no such method.{nearest(name, METHODS)} Methods: {', '.join(METHODS)}")
    return name, METHODS[name]


def _checked(wishes: Mapping[str, Any], method: Method) -> int:
    """K; refuses wishes of the wrong form and two that exclude each other."""
    k, strength, budget = 20 if wishes["k"] is None else wishes["k"], wishes["strength"], wishes["budget"]
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise UsageError(f"--k={k!r}: a positive whole number")
    for key, value in (("strength", strength), ("budget", budget)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise UsageError(f"--{key}={value!r}: a number")
    if strength is not None and budget is not None:
        raise UsageError("--strength and --budget: give one; a budget chooses the strength by itself")
    if strength is not None:
        method.check(strength)
    if budget is not None and not 0 < budget <= 1:
        raise UsageError(f"--budget={budget}: the share of NDCG to keep, above 0 and up to 1")
    return k


def _options(arguments: Arguments) -> dict[str, Any]:
    """The keys about groups over their defaults."""
    own = keys.taken_by("rerank")
    defaults = {key: value for key, value in yamls.packaged("overall.yaml").items() if key in own}
    given = {key: arguments.take(key) for key in own if key in arguments.options}
    if rest := next(iter(arguments.options), None):
        raise UsageError(f"--{rest}: rerank does not take it.{nearest(rest, own)} See rerank --help")
    for key, value in given.items():
        keys.check_value(key, value, defaults[key])
    return {**defaults, **given}


def _strength(wishes: Mapping[str, Any], method: Method, given: Candidates, lists: ScoredLists) -> tuple[float, str]:
    """The strength, and how it was chosen where it was."""
    budget = wishes["budget"]
    if budget is None:
        return float(method.default if wishes["strength"] is None else wishes["strength"]), ""
    if given.relevant is None:
        raise UsageError("--budget: is kept on rows with split=valid; give them by --interactions, or give --strength")
    found = trials(method, given, lists.valid_counts())
    if not found[0].ndcg > 0:
        raise UsageError("--budget: no list holds a validation item, so there is no NDCG to keep; give --strength")
    chosen = strongest(found, budget)
    share = chosen.ndcg / found[0].ndcg
    return chosen.strength, f", the strongest of {len(found)} that keeps {budget:g} of NDCG@{given.k} ({share:.4f})"


def _table(given: Candidates, groups: Groups, places: IntArray) -> Iterator[list[str]]:
    """Each group's share of list places as it is due, was and is now; an item of several groups is divided."""
    yield [groups.field, "items", "due", "before", "after"]
    before = given.exposure(np.tile(np.arange(given.k), (len(places), 1))) / places.size
    after = given.exposure(places) / places.size
    sizes = groups.membership.sum(axis=0)
    for row in zip(groups.names, sizes, given.due, before, after, strict=True):
        yield [row[0], str(row[1]), *(f"{share:.4f}" for share in row[2:])]


def _small(groups: Groups) -> Iterator[str]:
    """A group of one item can be shown once a list at most."""
    single = [name for name, size in zip(groups.names, groups.membership.sum(axis=0), strict=True) if size == 1]
    if single:
        yield (
            f"{groups.field}: {len(single)} groups have one item ({', '.join(single[:5])}), which no choice between"
            f" their items can help; --group_bins.{groups.field}=N joins all but the N largest"
        )
