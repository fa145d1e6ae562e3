"""recbole_fair: fair recommendation on RecBole.

Importing the package loads nothing heavy; its public names are fetched on first use. `audit`, `compare`, `probe` and
`report` are sub-packages that can be called (faces.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_fair.recommending import recommend
    from recbole_fair.rundir.result import Result
    from recbole_fair.runner import run
    from recbole_fair.settings.config import Config
    from recbole_fair.tune.searches import search
    from recbole_fair.verbs import audit, compare, load, probe, report

__version__ = "0.1.0"
__all__ = ["Config", "Result", "audit", "compare", "load", "probe", "recommend", "report", "run", "search"]

_HOMES = {
    "Config": "recbole_fair.settings.config",
    "Result": "recbole_fair.rundir.result",
    "load": "recbole_fair.verbs",
    "recommend": "recbole_fair.recommending",
    "run": "recbole_fair.runner",
    "search": "recbole_fair.tune.searches",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in __all__:
        return import_module(f"recbole_fair.{name}")
    raise AttributeError(f"module 'recbole_fair' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
