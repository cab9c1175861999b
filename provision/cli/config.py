"""``fabric config``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb
from provision.errors import UsageError, did_you_mean


@verb("config")
def command(
    session: Session,
    format_: Annotated[str, typer.Argument(metavar="[FORMAT]", help="env, json or yaml.")] = "env",
    write: Annotated[Path | None, typer.Option("--write", help="Write it to a file; `destroy` removes it.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the formats.")] = False,
) -> Result:
    """Print the client configuration.

    [bold]eval "$(fabric config)"[/bold]        for this shell; any OpenAI-compatible client then works

    [bold]fabric config json[/bold]             for a program
    """
    from provision import assets
    from provision.plan.render import render

    formats = assets.templates()
    if list_:
        return Result({"formats": formats}, lambda: output.line("\n".join(formats)))
    if format_ not in formats:
        raise UsageError(
            f"There is no format {format_!r}.{did_you_mean(format_, formats)}", f"Known: {', '.join(formats)}."
        )
    config = session.fabric.client_config()
    text = render(assets.template(format_), config)
    if write:
        session.changes.write_config(write, text)
    shown = f"Written to {write}." if write else text.rstrip("\n")
    document = {"format": format_, "text": text, "written": str(write) if write else None, **vars(config)}
    return Result(document, lambda: _print(shown))


def _print(text: str) -> None:
    """Never styled: this is meant for ``eval``."""
    sys.stdout.write(text + "\n")
