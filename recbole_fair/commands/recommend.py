"""`recbole-fair recommend RUN_DIR --users=1,2 --k=20`: a saved run's top items, with titles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_fair import storage
from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.screen import visible

_USAGE = """usage: recbole-fair recommend RUN_DIR --users=1,2 [--k=20] [--out=FILE]

Prints the best items of a finished run for these users, with titles. Items that a user has met in training or
validation are left out. Scores order the items of one user; they are no probabilities.

  --users   raw ids, as in 1,2, or all: every user with test items
  --k       how many items (20)
  --out     write them into a file instead: .csv, .tsv or .json by its name"""
_KINDS = (".csv", ".tsv", ".json")


def main(arguments: Arguments) -> int:
    """Print rank, item, score and title for each user asked for, or write them."""
    if len(arguments.words) != 1:
        raise UsageError("recommend: give one run directory, as in `recbole-fair recommend RUN_DIR --users=1,2 --k=20`")
    users, k, out = arguments.take_ids("users"), arguments.take("k", 20), arguments.take("out")
    if users is None:
        arguments.refuse_rest("recommend", words=False)
        raise UsageError("recommend: name the users by their raw ids, as in --users=1,2, or --users=all")
    file = None if out is None else Path(str(out))
    if file is not None and file.suffix not in _KINDS:
        raise UsageError(f"--out={out}: name a file that ends in {', '.join(_KINDS)}")
    arguments.refuse_rest("recommend", words=False)
    from recbole_fair.recommending import recommend

    rows = recommend(arguments.words[0], None if users == ["all"] else users, k)
    if file is None:
        _print(rows)
    else:
        storage.write_text(file, _written(rows, file.suffix))
        print(visible(f"{file}: {len(rows)} items for {rows['user_id'].nunique()} users"))
    return 0


def _print(rows: Any) -> None:
    for user, listed in rows.groupby("user_id", sort=False):
        print(visible(f"user {user}"))
        for row in listed.itertuples():
            print(visible(f"{row.rank:>4}  {row.item_id:<12} {row.score:>10.4f}  {row.title}".rstrip()))


def _written(rows: Any, kind: str) -> str:
    if kind == ".json":
        return str(rows.to_json(orient="records", force_ascii=False, indent=1))
    return str(rows.to_csv(index=False, sep="," if kind == ".csv" else "\t", lineterminator="\n"))


def usage() -> str:
    """The help text."""
    return _USAGE
