"""Names, titles and messages as plain text of each format: nothing in them is markup."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "\u2013": "--",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "[": "{[}",  # after the end of a row it would be that row's optional argument, as would a star
    "*": "{*}",
    **{sign: f"\\{sign}" for sign in "&%$#_"},
}
_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"  # a spreadsheet takes the full-width signs for the others
# At the beginning, or after a semicolon, which begins a cell where the comma is the decimal sign.
_CELL_BEGINS = re.compile(rf"(^|;\s*)(?=[{re.escape(_FORMULA)}])")
_HIDDEN = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufffe\uffff")


def plain(value: Any) -> str:
    r"""One line of visible characters: controls, text direction marks and lone surrogates become a replacement sign.

    >>> plain("a\tb\x00")
    'a b�'
    """
    joined = " ".join(str(value).split())
    return "".join("\ufffd" if _hidden(sign) else sign for sign in joined)


def _hidden(sign: str) -> bool:
    return sign in _HIDDEN or unicodedata.category(sign) in ("Cc", "Cs")


def in_html(value: Any) -> str:
    """Text of an element or a quoted attribute.

    >>> in_html('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(plain(value), quote=True)


def in_latex(value: Any) -> str:
    r"""Text of a LaTeX paragraph or cell.

    >>> in_latex("50 % of a_b")
    '50 \\% of a\\_b'
    """
    return "".join(_LATEX.get(sign, sign) for sign in plain(value))


def in_markdown(value: Any) -> str:
    r"""Text of a Markdown paragraph or table cell.

    >>> in_markdown("a|b *c*")
    'a\\|b \\*c\\*'
    """
    return re.sub(r"([\\`*_\[\]|~$#!>])", r"\\\1", plain(value)).replace("&", "&amp;").replace("<", "&lt;")


def in_sheet(value: Any) -> str:
    """Text of a CSV cell; a spreadsheet must not take it for a formula.

    >>> in_sheet("=1+1")
    "'=1+1"
    """
    return _CELL_BEGINS.sub(r"\1'", plain(value))
