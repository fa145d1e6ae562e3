"""From a matplotlib figure to an SVG that is readable on dark and light pages, a PDF and a PNG: the same every time."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recbole_fair.report.writers.escape import in_html, plain

# Relative luminance .17-.23: at least 3:1 against white and against the page's dark background.
COLOURS = ("#3b7dd8", "#c8641e", "#2e9155", "#9a5fc9", "#d14b5a", "#22898f", "#94703c", "#767d86")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
_INK = "#010203"  # stands for the text colour of the page
_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "axes.unicode_minus": True,
    "font.size": 10,
    "font.family": ["DejaVu Sans"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "axes.axisbelow": True,
    "savefig.transparent": True,
    **dict.fromkeys(_INKED, _INK),
}
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
# As journals take them: letters as TrueType outlines, white paper under the pixels. No date, so bytes do not change.
_AS_FILE: dict[str, dict[str, Any]] = {
    "pdf": {"metadata": {"CreationDate": None}},
    "png": {"metadata": {"Software": None}, "dpi": 200, "transparent": False, "facecolor": "white"},
}


@dataclass(frozen=True)
class Drawing:
    """A figure as it stands in the page, and the same to be saved in another format."""

    svg: str
    figure: Figure

    def file(self, suffix: str) -> bytes:
        """The content of a PDF or a PNG file of it."""
        stream = io.BytesIO()
        with mpl.rc_context({**_STYLE, "pdf.fonttype": 42}):
            self.figure.savefig(stream, format=suffix, **_AS_FILE[suffix])
        return stream.getvalue()


def drawn(name: str, title: str, size: tuple[float, float], draw: Callable[[Figure], Any]) -> Drawing:
    """A figure of `size` inches that `draw` fills; ids of its SVG begin with its name, so several share a page."""
    stream = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(stream, format="svg", metadata=_NO_METADATA)
    return Drawing(_tidied(stream.getvalue(), name, title), figure)


def _tidied(svg: str, name: str, title: str) -> str:
    """Without declaration and style sheet (it would reach the whole page), with a title and the page's own ink."""
    body = re.sub(r"<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.S)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = body.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-').replace(_INK, "currentColor")
    head = f'<svg role="img" aria-labelledby="{name}-title" stroke-linejoin="round"'
    return body.replace("<svg", head, 1).replace(">", f'><title id="{name}-title">{in_html(title)}</title>', 1).strip()


def label(text: str) -> str:
    """A name as matplotlib shows it whole: a leading underscore would hide it from a legend."""
    return f"\u200b{plain(text)}" if text.startswith("_") else plain(text)


def short(text: str, limit: int) -> str:
    """A name that fits; of a long one the end stays too, where rows of one model differ. The table has all of it.

    >>> short("SASRec (MAX_ITEM_LIST_LENGTH=20)", 20)
    'SASRec …T_LENGTH=20)'
    """
    cleaned, start = label(text), limit // 2 - 3
    return cleaned if len(cleaned) <= limit else f"{cleaned[:start]}…{cleaned[len(cleaned) - limit + start + 1 :]}"


def legend_above(axes: Axes, names: Sequence[str], handles: Sequence[Any]) -> None:
    """A legend over the axes, two names a line, or one where names are long."""
    axes.legend(
        handles, [short(name, 60) for name in names], loc="lower left", bbox_to_anchor=(0, 1.01), frameon=False,
        ncols=_columns(names), borderaxespad=0, handletextpad=0.4, columnspacing=1.0, fontsize=9,
    )  # fmt: skip


def legend_height(names: Sequence[str]) -> float:
    """Inches that `legend_above` takes."""
    return 0.19 * -(-len(names) // _columns(names))


def _columns(names: Sequence[str]) -> int:
    return 2 if max(map(len, names)) <= 28 else 1
