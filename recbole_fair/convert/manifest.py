"""manifest.json: where the data came from, what happened to every row, and what was written.

No time and no path of this machine stands in it, so the same raw files give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from recbole_fair import __version__, storage
from recbole_fair.convert.atomic import AtomicFile
from recbole_fair.convert.index import Index
from recbole_fair.convert.ledger import Ledger
from recbole_fair.convert.raw import RawFolder
from recbole_fair.convert.sources.catalogue import Source

NAME = "manifest.json"
_PATHS = ("mapping", "interactions", "users", "items")  # a file stands by its name: where it lies is nobody's business
_DUPLICATES = "all kept, in the order of the file; `rm_dup_inter: first` in a data set yaml keeps one of each pair"


def describe(
    source: Source,
    options: Mapping[str, Any],
    raw: RawFolder,
    ledger: Ledger,
    index: Index,
    files: Iterable[AtomicFile],
) -> dict[str, Any]:
    """Everything a third party needs to judge and to repeat a conversion."""
    return {
        "source": source.name,
        "options": {key: PurePath(value).name if key in _PATHS else value for key, value in options.items()},
        "converter": f"recbole_fair {__version__}",
        "publisher": source.publisher,
        "homepage": source.homepage,
        "citation": source.citation,
        "licence": source.licence,
        "published": dict(source.published),
        "files": [file.describe() for file in sorted(raw.used.values(), key=lambda file: file.path.name)],
        "rows": ledger.account(),
        "notes": ledger.notes(),
        "interactions": {
            "users": len(index.users),
            "items": len(index.items),
            "ranges": index.ranges,
            "duplicates": {**index.duplicates(), "done": _DUPLICATES},
        },
        "written": {file.path.name: _written(file) for file in files},
    }


def _written(file: AtomicFile) -> dict[str, Any]:
    missing = {name: rows for name, rows in file.missing.items() if rows}
    size, digest = file.path.stat().st_size, storage.file_digest(file.path)
    return {"rows": file.rows, "size": size, "sha256": digest, "missing": missing}


def same(fresh: Path, folder: Path) -> bool:
    """Whether a folder holds this very conversion, its files unchanged since."""
    if (fresh / NAME).read_bytes() != (folder / NAME).read_bytes():
        return False
    written = storage.read_json(fresh / NAME)["written"]
    return all(
        (folder / name).is_file() and storage.file_digest(folder / name) == facts["sha256"]
        for name, facts in written.items()
    )
