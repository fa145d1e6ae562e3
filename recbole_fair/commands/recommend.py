"""`recbole-fair recommend RUN_DIR --users=1,2 --k=20`: a saved run's top items, with titles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_fair.cli import Arguments
from recbole_fair.errors import UsageError


def main(arguments: Arguments) -> int:
    """Print rank, item, score and title for each user asked for."""
    if len(arguments.words) != 1:
        raise UsageError("recommend: give one run directory, as in `recbole-fair recommend RUN_DIR --users=1,2 --k=20`")
    users, k = _users(arguments.take("users")), arguments.take("k", 20)
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise UsageError(f"--k={k!r}: a positive whole number")
    arguments.refuse_rest("recommend", words=False)
    from recbole_fair import recommending
    from recbole_fair.runner import open_run

    config, data, trainer = open_run(Path(arguments.words[0]))
    titles = recommending.titles(config, data)
    for user, listed in recommending.top_items(data, trainer, users, k):
        print(f"user {user}")
        for rank, (item, score) in enumerate(listed, start=1):
            print(f"{rank:>4}  {item:<12} {score:>10.4f}  {titles.get(item, '')}".rstrip())
    return 0


def _users(given: Any) -> list[str]:
    """`--users=1,2` (text), `--users=1` (a number) or `--users=[1, 2]`."""
    if given is None:
        raise UsageError("recommend: name the users by their raw ids, as in --users=1,2")
    parts = given if isinstance(given, list) else str(given).split(",")
    return [str(part).strip() for part in parts]
