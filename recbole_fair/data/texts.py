"""Titles, attributes and histories as text. Pure: raw values in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_fair.groups.membership import Values


def item_texts(columns: Sequence[Values]) -> list[str]:
    """One text an item: its fields in the given order, the words of a field joined by blanks, empty ones left out.

    >>> item_texts([[("Toy", "Story"), ()], [("1995",), ("1990",)]])
    ['Toy Story, 1995', '1990']
    """
    return [", ".join(" ".join(entry) for entry in row if entry) for row in zip(*columns, strict=True)]


def attribute_text(name: str, value: str, wording: str = "{name}: {value}") -> str:
    """An attribute as a clause; its value never alters the wording's structure.

    >>> attribute_text("gender", "{name}")
    'gender: {name}'
    """
    before, _, rest = wording.partition("{name}")
    middle, _, after = rest.partition("{value}")
    return f"{before}{name}{middle}{value}{after}"
