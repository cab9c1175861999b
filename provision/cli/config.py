"""``fabric config``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb
from provision.cli.taken_back import told
from provision.errors import FabricError, UsageError

DEFAULT = "env"


@verb("config")
def command(
    session: Session,
    what: Annotated[
        str | None,
        typer.Argument(metavar="[FORMAT]", show_default=False, help="One of --list, else env; with --undo a file."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="PATH", help="Put it into a file, beside what is there.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what was put into a file, or into all.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the formats, and the tools they are for.")] = False,
) -> Result:
    """Print the client configuration, or put it into a file of a tool.

    [bold]eval "$(fabric config)"[/bold]        for this shell; any OpenAI-compatible client then works

    [bold]fabric config json[/bold]             for a program

    [bold]fabric config opencode --write ~/.config/opencode/opencode.json[/bold]

    [bold]fabric config --undo[/bold]           every file as it was
    """
    if undo + list_ + (write is not None) > 1:
        raise UsageError("--write, --undo and --list exclude each other.", "Give one of them.")
    if list_:
        return _list(session)
    if undo:
        return _undo(session, Path(what) if what else None)
    if write is not None:
        return _write(session, what or DEFAULT, write)
    text, config = session.configs.rendered(what or DEFAULT)
    shown = text.rstrip("\n")
    return Result({"format": what or DEFAULT, "text": text, "written": None, **vars(config)}, lambda: _print(shown))


def _list(session: Session) -> Result:
    formats = session.configs.formats
    rows = [(name, each.title, each.path or each.use or "", each.needs or "") for name, each in formats.items()]
    tools = [{"name": name, **_told(each)} for name, each in formats.items()]
    return Result(
        {"formats": list(formats), "tools": tools},
        lambda: output.table(("format", "for", "file or use", "needs"), rows),
    )


def _told(each: object) -> dict[str, object]:
    return {name: getattr(each, name) for name in ("title", "docs", "syntax", "path", "use", "needs")}


def _write(session: Session, name: str, path: Path) -> Result:
    written, text, config = session.configs.write(name, path)
    lines = [f"Written to {written.path}." if written.changed else f"{written.path} holds it already."]
    if written.replaced:
        lines.append(f"What fabric had put there for {written.replaced} is out of it.")
    if written.backup:
        lines.append(f"What stood there before is in {written.backup}; `fabric config --undo` brings it back.")
    use = session.configs.formats[name].use
    if use:
        lines.append(f"To use it: {use}")
    document = {
        "format": name,
        "text": text,
        "written": str(written.path),
        "changed": written.changed,
        "backup": str(written.backup) if written.backup else None,
        "replaced": written.replaced,
        **vars(config),
    }
    return Result(document, lambda: output.line("\n".join(lines)))


def _undo(session: Session, path: Path | None) -> Result:
    done = session.configs.undo(path)
    lines = [told(each) for each in done] or ["Nothing was written into any file."]
    left = any(each.outcome == "left" for each in done)
    if left:
        lines.append(
            "What stays is remembered: see to what is in the way, or take fabric's values out, and say it again."
        )
    document = {"undone": [asdict(each) for each in done]}
    return Result(document, lambda: output.line("\n".join(lines)), FabricError.exit_code if left else 0)


def _print(shown: str) -> None:
    """Never styled: this is meant for ``eval``."""
    sys.stdout.write(shown + "\n")
