"""Titles as text. Pure: raw values in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_fair.groups.membership import Values


def item_texts(columns: Sequence[Values]) -> list[str]:
    """One text an item: its fields in the given order, the words of a field joined by blanks, empty ones left out.

    >>> item_texts([[("Toy", "Story"), ()], [("1995",), ("1990",)]])
    ['Toy Story, 1995', '1990']
    """
    return [", ".join(" ".join(entry) for entry in row if entry) for row in zip(*columns, strict=True)]
