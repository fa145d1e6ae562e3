"""Plain tables for the screen."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the columns of `rows` one under another.

    >>> aligned([["model", "ndcg"], ["MF", "0.1"]])
    ['model  ndcg', 'MF     0.1']
    """
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]
