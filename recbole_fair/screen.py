"""Plain tables for the screen."""

from __future__ import annotations

import re
from collections.abc import Sequence

_STEERING = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""One line in which nothing steers a terminal: controls and text direction marks are shown as Python writes them.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _STEERING.sub(lambda sign: sign.group().encode("unicode_escape").decode(), text)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the columns of `rows` one under another.

    >>> aligned([["model", "ndcg"], ["MF", "0.1"]])
    ['model  ndcg', 'MF     0.1']
    """
    cells = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return [line.rstrip() for line in lines]
