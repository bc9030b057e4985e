"""The HTML table that all pages use: escaped text, formatted numbers, header cells with a scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from normviz.formatting import number


class Html(str):
    """Text that is HTML already. Any other text in a table is escaped."""

    __slots__ = ()


Content = str | float | None


@dataclass(frozen=True)
class Cell:
    """A table cell with attributes.

    Attributes:
        content: text, `Html`, a number (formatted by `formatting.number`), or None (an en dash).
        kind: CSS class.
        style: inline CSS.
        columns: number of columns that the cell spans.
        rows: number of rows that the cell spans.
    """

    content: Content
    kind: str = ""
    style: str = ""
    columns: int = 1
    rows: int = 1


@dataclass(frozen=True)
class Row:
    """A table row with a CSS class. Its first cell is a header unless `header` is false."""

    cells: Sequence[Content | Cell]
    kind: str = ""
    header: bool = True


AnyRow = Row | Sequence[Content | Cell]


def table(
    head: Sequence[Content | Cell],
    rows: Sequence[AnyRow],
    kind: str = "",
    caption: str = "",
    foot: Sequence[AnyRow] = (),
) -> Html:
    """Returns an HTML table that scrolls sideways if it is wider than its column.

    The first column is aligned left, all others right. The rules are in assets/style.css (`.nv-data`).

    Args:
        head: the header cells; none for a table without a header.
        rows: the cells of each row. The first cell of a row is its header.
        kind: CSS class of the table, for a different look.
        caption: a line above the table; text or `Html`.
        foot: rows of the footer.
    """
    parts = [f"<caption>{_text(caption)}</caption>"] if caption else []
    if head:
        cells = "".join(_cell(cell, "col" if cell != "" else "") for cell in head)
        parts.append(f"<thead><tr>{cells}</tr></thead>")
    parts.append(f"<tbody>{''.join(map(_row, rows))}</tbody>")
    if foot:
        parts.append(f"<tfoot>{''.join(map(_row, foot))}</tfoot>")
    classes = f"nv-data {kind}".strip()
    return Html(f'<div class="nv-wide"><table class="{classes}">{"".join(parts)}</table></div>')


def _row(row: AnyRow) -> str:
    row = row if isinstance(row, Row) else Row(row)
    cells = []
    for index, cell in enumerate(row.cells):
        spans = isinstance(cell, Cell) and cell.rows > 1
        scope = "rowgroup" if spans else "row"
        cells.append(_cell(cell, scope if index == 0 and row.header else ""))
    kind = f' class="{row.kind}"' if row.kind else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"


def _cell(cell: Content | Cell, scope: str) -> str:
    """Returns a header cell with this scope, or a data cell if the scope is empty."""
    cell = cell if isinstance(cell, Cell) else Cell(cell)
    values = {
        "class": cell.kind,
        "style": cell.style,
        "colspan": str(cell.columns) if cell.columns > 1 else "",
        "rowspan": str(cell.rows) if cell.rows > 1 else "",
        "scope": scope,
    }
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in values.items() if value)
    tag = "th" if scope else "td"
    return f"<{tag}{attributes}>{_text(cell.content)}</{tag}>"


def _text(content: Content) -> str:
    if content is None:
        return "–"
    if isinstance(content, Html):
        return content
    return escape(content) if isinstance(content, str) else number(content)
