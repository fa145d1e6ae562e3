"""`recbole-fair audit`: the fairness of lists that any system made."""

from __future__ import annotations

from pathlib import Path

from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.screen import spoken

_USAGE = """usage: recbole-fair audit --recommendations F --interactions F --run_dir DIR [--users F] [--items F] ...

Judges top-K lists of any recommender, without a model: accuracy, fairness between groups, intervals. Writes
result.json, users.csv and groups.csv into DIR, which report and compare read like any run.

  --recommendations F   user_id, item_id, rank (from 1)
  --interactions F      user_id, item_id, split (train, valid or test); lists are judged by the test rows,
                        popularity comes from the train rows
  --users F             user_id and any fields, for --user_groups
  --items F             item_id and any fields, for --item_groups
  --run_dir DIR         where the results go
  --system NAME         what to call the recommender (the name of the lists' file)
  --dataset NAME        what to call the data (audit)

Files are tab- or comma-separated with a header, RecBole's atomic files, or parquet. Several values of a field are the
words of a token_seq column of an atomic file, or a list in parquet. Keys:
  --topk=10,20  --metrics=Recall,NDCG,CV,MIN  --item_groups=pop,genre  --genre_field=FIELD
  --user_groups=gender,gender*age  --group_bins.age.young='[0,35)'  --min_group_users=5
  --interval=0.95  --bootstrap=1000  --interval_method=widened"""


def main(arguments: Arguments) -> int:
    """Judge and print the table."""
    if arguments.words:
        raise UsageError(f"{arguments.words[0]!r}: audit takes --key=value only")
    found = {name: _file(arguments, name) for name in ("recommendations", "interactions", "users", "items")}
    if missing := next((name for name in ("recommendations", "interactions") if found[name] is None), None):
        raise UsageError(f"audit: give --{missing}=FILE; see audit --help")
    folder = arguments.take("run_dir")
    if not folder:
        raise UsageError("audit: give --run_dir=DIR, where the results go")
    from recbole_fair.audit.judge import Files, audit

    lists, met = found["recommendations"], found["interactions"]
    assert lists is not None and met is not None
    files = Files(lists, met, found["users"], found["items"])
    system, dataset = str(arguments.take("system", lists.stem)), str(arguments.take("dataset", "audit"))
    with spoken("quiet" in arguments.switches):
        judged = audit(files, Path(str(folder)), system, dataset, arguments.options)
    print(judged.table())
    return 0


def usage() -> str:
    """The help text."""
    return _USAGE


def _file(arguments: Arguments, name: str) -> Path | None:
    given = arguments.take(name)
    return None if given is None else Path(str(given))
