"""``fabric models``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.knowledge.models import CatalogModel


@verb("models")
def command(
    session: Session,
    what: Annotated[str, typer.Argument(metavar="[list]", help="list: the catalogue, and what is here.")] = "list",
) -> Result:
    """List the models of the catalogue and say which are installed."""
    from provision.knowledge.models import load_catalog

    if what != "list":
        raise UsageError(f"There is no `fabric models {what}`.", "This version knows `fabric models list`.")
    state = session.fabric.state()
    installed = {entry.name for entry in state.entries.values() if entry.kind == "model"} if state else set()
    served = state.selection.model.name if state and state.selection else None
    rows = [_row(row, row.name in installed, row.name == served) for row in load_catalog().models]

    def show() -> None:
        shown = [
            (row["name"], row["quantization"] or "", output.size(row["size_bytes"]), row["license"], _mark(row))
            for row in rows
        ]
        output.table(("model", "quantization", "size", "license", "here"), shown)

    return Result({"models": rows}, show)


def _row(row: CatalogModel, installed: bool, served: bool) -> dict[str, Any]:
    """Describe a model by its variant for llama.cpp, or by the first where it has none."""
    variant = row.engines.get("llamacpp") or next(iter(row.engines.values()))
    return {
        "name": row.name,
        "format": variant.format,
        "quantization": variant.quantization,
        "size_bytes": variant.bytes,
        "context_length": row.shape.context_length,
        "license": row.license,
        "tier_gb": row.tier_gb,
        "references": {engine: each.reference for engine, each in row.engines.items()},
        "fetchable": any(each.source for each in row.engines.values()),
        "installed": installed,
        "served": served,
    }


def _mark(row: Mapping[str, object]) -> str:
    if row["served"]:
        return "served"
    if row["installed"]:
        return "installed"
    return "no" if row["fetchable"] else "not fetched by this version"
