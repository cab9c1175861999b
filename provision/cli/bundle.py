"""``fabric bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb
from provision.cli.wish import Mirror, read_wish
from provision.errors import UsageError


@verb("bundle")
def command(
    session: Session,
    what: Annotated[str, typer.Argument(metavar="create", help="create: fetch all that the lock names.")],
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write; an older one is replaced.")],
    *,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="The spec, beside which `fabric.lock` lies.")
    ] = None,
    mirror: Mirror = None,
) -> Result:
    """Put all that `fabric.lock` names into one file, for machines without a network.

    [bold]fabric lock --model smollm2-135m && fabric bundle create fabric.tar[/bold]

    [bold]fabric up --model smollm2-135m --bundle fabric.tar[/bold]   there: nothing is fetched, everything is checked
    """
    if what != "create":
        raise UsageError(f"There is no `fabric bundle {what}`.", "This version knows `fabric bundle create FILE`.")
    wish = read_wish({}, file, {"mirror": mirror})
    made = session.locks.bundle(wish.lock_file, target, wish.spec.install.mirrors)
    document = {
        "path": str(made.path),
        "size_bytes": made.size_bytes,
        "platforms": list(made.platforms),
        "files": list(made.sha256),
    }

    def show() -> None:
        output.pairs([("bundle", made.path), ("size", output.size(made.size_bytes)), ("files", len(made.sha256))])

    return Result(document, show)
