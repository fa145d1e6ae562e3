"""What a figure is to the writers; charts/ draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recbole_fair.report.charts.canvas import Drawing


@dataclass(frozen=True)
class Chart:
    """A figure, and the same in words and numbers for who cannot see it."""

    name: str  # its file, without the suffix
    title: str
    alternative: str
    drawing: Drawing
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
