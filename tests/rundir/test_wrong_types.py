"""A result.json whose entries are of other types is refused by its name, or shown as far as it is sound."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from recbole_fair.errors import UsageError
from recbole_fair.rundir.result import Result

WRONG = (None, 3, "x", [1], {"a": 1}, True, [], {})


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in nested mappings and lists, of a list its first entry."""
    if at:
        yield at
    entries = value.items() if isinstance(value, dict) else enumerate(value[:1] if isinstance(value, list) else ())
    for key, entry in entries:
        yield from places(entry, (*at, key))


def test_no_wrong_type_ends_in_a_traceback(run_toy: Callable[..., Any]) -> None:
    folder = Path(run_toy("Pop", bootstrap=20).run_dir)
    path, outcomes = folder / "result.json", Counter[str]()
    sound = json.loads(path.read_text())
    for at in places(sound):
        for wrong in WRONG:
            damaged = copy.deepcopy(sound)
            parent = damaged
            for key in at[:-1]:
                parent = parent[key]
            parent[at[-1]] = wrong
            path.write_text(json.dumps(damaged))
            try:
                result = Result.read(folder)
                assert result.table() and repr(result) and result.metrics is not None
                outcomes["shown"] += 1
            except UsageError as error:
                assert str(error).startswith(f"{path}: damaged (")
                outcomes["refused"] += 1
    assert outcomes.total() > 800 and outcomes["refused"] > outcomes["shown"]
