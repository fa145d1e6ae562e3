"""What a figure is to the writers; charts/ draws it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chart:
    """A figure, and the same in words and numbers for who cannot see it."""

    name: str  # its file, without the suffix
    title: str
    alternative: str
    svg: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
