"""Several models on the same data, split and seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recbole_fair.faces import callable_room

if TYPE_CHECKING:
    from recbole_fair.compare.running import SearchOptions, compare

__all__ = ["SearchOptions", "compare"]


def __getattr__(name: str) -> Any:
    """Fetch the public names on first use: a run that needs one part of the package does not pay for all of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from recbole_fair.compare import running

    return getattr(running, name)


callable_room(__name__)  # recbole_fair.compare(...)
