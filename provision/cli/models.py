"""``fabric models``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb
from provision.errors import UsageError


@verb("models")
def command(
    session: Session,
    what: Annotated[str, typer.Argument(metavar="[list]", help="list: the catalogue, and what is here.")] = "list",
) -> Result:
    """List the models of the catalogue and say which are installed."""
    from provision.select.catalog import catalog

    if what != "list":
        raise UsageError(f"There is no `fabric models {what}`.", "This version knows `fabric models list`.")
    state = session.fabric.state()
    installed = {entry.name for entry in state.entries.values() if entry.kind == "model"} if state else set()
    served = state.selection.model.name if state and state.selection else None
    rows = [
        {
            "name": model.name,
            "format": model.format,
            "quantization": model.quantization,
            "size_bytes": model.size_bytes,
            "context_length": model.shape.context_length,
            "license": model.license,
            "installed": model.name in installed,
            "served": model.name == served,
        }
        for model in catalog()
    ]

    def show() -> None:
        shown = [
            (row["name"], row["quantization"], output.size(int(str(row["size_bytes"]))), row["license"], _mark(row))
            for row in rows
        ]
        output.table(("model", "quantization", "size", "license", "here"), shown)

    return Result({"models": rows}, show)


def _mark(row: Mapping[str, object]) -> str:
    if row["served"]:
        return "served"
    return "installed" if row["installed"] else "no"
