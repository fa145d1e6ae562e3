"""The modules of a sentence-transformers model, of which only those that run no foreign code are loaded."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from recbole_fair.errors import UsageError
from recbole_fair.language.refusals import refusals
from recbole_fair.storage import RECORD_BYTES, read_text

# The modules we load, and whether they hold weights. Others may read pickles, or import whatever class a file names.
_MODULES = {"Transformer": True, "Dense": True, "Pooling": False, "Normalize": False}


def read_modules(folder: Path) -> list[dict[str, str]]:
    """The entries of modules.json, whose classes sentence-transformers goes on to import; [] without the file."""
    path = folder / "modules.json"
    if not path.is_file():
        return []
    with refusals(str(path)):
        modules = [
            {key: str(entry[key]) for key in ("type", "path")} for entry in json.loads(read_text(path, RECORD_BYTES))
        ]
    for module in modules:
        _check(path, module)
    return modules


def module_kind(module: dict[str, str]) -> str:
    """The class name of an entry of modules.json: Pooling, whichever package it has moved to."""
    return module["type"].rpartition(".")[2]


def has_weights(module: dict[str, str]) -> bool:
    """Whether a module of this class is read from weights."""
    return _MODULES[module_kind(module)]


def _check(path: Path, module: dict[str, str]) -> None:
    if not module["type"].startswith("sentence_transformers.") or module_kind(module) not in _MODULES:
        raise UsageError(f"{path}: module {module['type']!r} is not loaded, only {', '.join(_MODULES)} are")
    subfolder = PurePosixPath(module["path"])
    if subfolder.is_absolute() or ".." in subfolder.parts:
        raise UsageError(f"{path}: path {module['path']!r} leads out of the model's folder")
