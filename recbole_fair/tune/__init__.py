"""Searching for settings: plan, trials, choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_fair.tune.searches import SearchOptions, search

__all__ = ["SearchOptions", "search"]


def __getattr__(name: str) -> Any:
    """Fetch the public names on first use: a run that needs one part of the package does not pay for all of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from recbole_fair.tune import searches

    return getattr(searches, name)
