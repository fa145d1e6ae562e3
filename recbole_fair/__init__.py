"""recbole_fair: fair recommendation on RecBole.

Importing the package loads nothing heavy; `run` and `Config` are fetched on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_fair.rundir.result import Result
    from recbole_fair.runner import run
    from recbole_fair.settings.config import Config

__version__ = "0.1.0"
__all__ = ["Config", "Result", "run"]

_HOMES = {
    "Config": "recbole_fair.settings.config",
    "Result": "recbole_fair.rundir.result",
    "run": "recbole_fair.runner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'recbole_fair' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
