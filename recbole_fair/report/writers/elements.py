"""Pieces of HTML: elements with escaped attributes, and tables that can be read, sorted and scrolled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recbole_fair.report.writers.escape import in_html


def element(tag: str, content: str = "", /, **attributes: str | bool | None) -> str:
    """An element around ready HTML; `_` in a name is `-`, `class_` is class, True an attribute without a value.

    >>> element("td", "1", class_="best", data_value='"', hidden=True, title=None)
    '<td class="best" data-value="&quot;" hidden>1</td>'
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{in_html(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return f"<{tag}{written}>{content}</{tag}>"


def text(tag: str, content: object, /, **attributes: str | bool | None) -> str:
    """An element around text, which is escaped."""
    return element(tag, in_html(content), **attributes)


def items(entries: Iterable[object]) -> str:
    """A list; nothing for no entries."""
    listed = "".join(text("li", entry) for entry in entries)
    return element("ul", listed) if listed else ""


def table(name: str, caption: str, head: Iterable[str], rows: Iterable[str], sortable: bool = False) -> str:
    """A table in a region of its own that scrolls, also by keyboard; head cells and rows are ready HTML."""
    told = element("caption", text("span", caption), id=f"{name}-caption")
    parts = told + element("thead", element("tr", "".join(head))) + element("tbody", "".join(rows))
    kind = "sortable" if sortable else None
    return element(
        "div", element("table", parts, class_=kind), id=name, class_="scroll", role="region", tabindex="0",
        aria_labelledby=f"{name}-caption",
    )  # fmt: skip


def plain_table(name: str, caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of text whose first column heads its rows."""
    head = [text("th", label, scope="col") for label in header]
    body = (
        element("tr", text("th", row[0], scope="row") + "".join(text("td", cell) for cell in row[1:])) for row in rows
    )
    return table(name, caption, head, body)
