"""Showing values to people: tables and colour on a terminal, plain aligned text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

GOOD, BAD, DIM, BOLD = "green", "red", "dim", "bold"


def on_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def line(text: str = "", style: str | None = None) -> None:
    """Print one line of plain text, in a style where that can be seen."""
    if style and on_terminal():
        from rich.console import Console

        Console(highlight=False).print(text, style=style, markup=False, soft_wrap=True)
    else:
        sys.stdout.write(f"{text}\n")


def pairs(rows: Sequence[tuple[str, object]]) -> None:
    """Print names and values in two columns; values that are not known are left out."""
    known = [(name, str(value)) for name, value in rows if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        line(f"{name:<{width}}  {value}")


def table(head: Sequence[str], rows: Sequence[Sequence[object]], styles: Sequence[str | None] = ()) -> None:
    """Print rows under a head. ``styles`` colours whole rows on a terminal."""
    texts = [[str(cell) for cell in row] for row in rows]
    if on_terminal():
        _rich_table(head, texts, styles)
        return
    widths = [max(len(row[column]) for row in [list(head), *texts]) for column in range(len(head))]
    for row in [list(head), *texts]:
        sys.stdout.write("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def _rich_table(head: Sequence[str], texts: Sequence[Sequence[str]], styles: Sequence[str | None]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, header_style="bold", pad_edge=False)
    for title in head:
        shown.add_column(title, overflow="fold")
    for number, row in enumerate(texts):
        style = styles[number] if number < len(styles) else None
        shown.add_row(*(escape(cell) for cell in row), style=style)
    Console().print(shown)


def size(count: int | None) -> str:
    """Return a number of bytes in MB or GB, as a person reads it."""
    if count is None:
        return "unknown"
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB"
