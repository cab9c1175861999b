"""Showing values to people: tables and colour on a terminal, plain aligned text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from provision.domain import units
from provision.domain.visible import visible

GOOD, WARN, BAD, DIM, BOLD = "green", "yellow", "red", "dim", "bold"

MAX_CELL = 160
Span: TypeAlias = tuple[str, str | None]


class Section(NamedTuple):
    """A title, and rows of a name and what is told of it: pieces of text, each with a style."""

    title: str
    rows: Sequence[tuple[str, Sequence[Span]]]


def on_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def line(text: str = "", style: str | None = None) -> None:
    """Print one line of plain text, or several, in a style where that can be seen."""
    text = visible(text)
    if style and on_terminal():
        from rich.console import Console

        Console(highlight=False).print(text, style=style, markup=False, soft_wrap=True)
    else:
        sys.stdout.write(f"{text}\n")


def pairs(rows: Sequence[tuple[str, object]]) -> None:
    """Print names and values in two columns; values that are not known are left out."""
    known = [(name, printable(str(value))) for name, value in rows if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        line(f"{name:<{width}}  {value}")


def sections(shown: Sequence[Section]) -> None:
    """Print sections with aligned names; those without rows are left out."""
    filled = [section for section in shown if section.rows]
    width = max((len(name) for section in filled for name, _ in section.rows), default=0)
    if on_terminal():
        _rich_sections(filled, width)
        return
    for section in filled:
        sys.stdout.write(f"{printable(section.title)}\n")
        for name, spans in section.rows:
            sys.stdout.write(f"  {name:<{width}}  {printable(''.join(text for text, _ in spans))}".rstrip() + "\n")


def _rich_sections(shown: Sequence[Section], width: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for section in shown:
        console.print(Text(printable(section.title), style="bold"))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=width + 2, no_wrap=True)
        grid.add_column(overflow="fold")
        for name, spans in section.rows:
            told = Text.assemble(*((printable(text), style or "") for text, style in spans))
            grid.add_row(Text(f"  {name}", style="dim"), told)
        console.print(grid)


def printable(text: str) -> str:
    """Return ``text`` in one line, as this terminal can show it; what a device calls itself may hold anything."""
    shown = visible(text, kept="")
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "replace").decode(encoding)


def mark(*, good: bool) -> str:
    """Return a tick or a cross, in letters where stdout has no such characters."""
    tick, words = ("✓", "yes") if good else ("✗", "no")
    return tick if printable(tick) == tick else words


def table(head: Sequence[str], rows: Sequence[Sequence[object]], styles: Sequence[str | None] = ()) -> None:
    """Print rows under a head. ``styles`` colours whole rows on a terminal."""
    texts = [[_cell(cell) for cell in row] for row in rows]
    if on_terminal():
        _rich_table(head, texts, styles)
        return
    widths = [max(len(row[column]) for row in [list(head), *texts]) for column in range(len(head))]
    for row in [list(head), *texts]:
        sys.stdout.write("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def _cell(value: object) -> str:
    """Return one cell: what is in other people's files is neither obeyed nor let run on."""
    text = printable(str(value))
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"


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


def gib(count: int | None) -> str:
    """Return a number of bytes in GiB, in which memory is counted."""
    return "unknown" if count is None else units.gib(count)


def gib_of(part: int | None, whole: int | None) -> str:
    """Return how much of a memory, such as ``23.0 of 24.0 GiB``."""
    if part is None or whole is None:
        return gib(part if whole is None else whole)
    return f"{part / units.GIB:.1f} of {gib(whole)}"


def size(count: int | None) -> str:
    """Return a number of bytes in MB or GB, as a person reads it."""
    if count is None:
        return "unknown"
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB"
