"""Rooms that can be called, by the function of their name: `recbole_fair.audit(...)` beside its modules.

A package has one attribute for both its sub-package `audit` and a function `audit`, and whoever imports the sub-package
first would take the function away. So the sub-package itself is what is called. The function is named, not imported:
nothing heavy is loaded before the call.
"""

from __future__ import annotations

import sys
from inspect import Signature, signature
from types import ModuleType
from typing import Any

from recbole_fair.registry import load


class Face(ModuleType):
    """A package that is also the function `recbole_fair.verbs.<its name>`."""

    @property
    def _verb(self) -> Any:
        return load(f"recbole_fair.verbs:{self.__name__.rpartition('.')[2]}")

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Do what the function of this name does."""
        return self._verb(*args, **options)

    @property
    def __signature__(self) -> Signature:
        return signature(self._verb)


def callable_room(name: str) -> None:
    """Make the package `name` callable; it asks for this itself, in its __init__."""
    sys.modules[name].__class__ = Face
