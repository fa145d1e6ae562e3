"""`recbole-fair datasets`: what --dataset takes, and what can be converted."""

from __future__ import annotations

from pathlib import Path

from recbole_fair.commands.arguments import Arguments
from recbole_fair.screen import aligned
from recbole_fair.settings import yamls

_BUNDLED = "ml-100k"


def main(arguments: Arguments) -> int:
    """Print a line a data set: its name, where it is from, and the groups that it is judged by."""
    root = Path(str(arguments.take("data_path", "dataset_atomic")))
    arguments.refuse_rest("datasets")
    from recbole_fair.convert.sources.catalogue import SOURCES

    present = sorted(folder.name for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
    here = {_BUNDLED: "inside the recbole package", **{name: str(root / name) for name in present}}
    rows = [[name, where, _groups(name)] for name, where in here.items()]
    rows += [[name, f"make it: recbole-fair convert {name} --raw DIR", ""] for name in SOURCES if name not in here]
    print("\n".join(aligned([["data set", "where", "groups"], *rows])))
    return 0


def _groups(name: str) -> str:
    """The groupings that its property file names."""
    keys = yamls.packaged(f"dataset/{name}.yaml")
    return ", ".join(map(str, [*(keys.get("item_groups") or ()), *(keys.get("user_groups") or ())]))
