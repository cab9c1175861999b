"""``fabric models``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb
from provision.cli.wish import SpecFile, read_wish
from provision.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from provision.knowledge.models import CatalogModel
    from provision.model_store import ModelStore, StoredModel

ACTIONS = ("list", "pull", "rm")


@verb("models")
def command(
    session: Session,
    what: Annotated[
        str,
        typer.Argument(
            metavar="[list|pull|rm]", help="list: the catalogue, and what is here; pull: fetch; rm: remove."
        ),
    ] = "list",
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME|REF]...", help="What to pull or to remove.")
    ] = None,
    file: SpecFile = None,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing.")] = False,
) -> Result:
    """List the models of the catalogue and of the store; fetch some without serving them; remove some.

    [bold]fabric models[/bold]                                        what there is, and what is here

    [bold]fabric models pull smollm2-135m[/bold]                      by a name of the catalogue

    [bold]fabric models pull hf:Qwen/Qwen3-4B-GGUF:Q4_K_M[/bold]      a quantization of a repository

    [bold]fabric models pull ollama:qwen3:4b[/bold]                   from Ollama's registry

    [bold]fabric models rm qwen3-4b[/bold]                            by name, reference or hash
    """
    from provision.model_store import ModelStore

    if what not in ACTIONS:
        raise UsageError(
            f"There is no `fabric models {what}`.{did_you_mean(what, [*ACTIONS])}", f"Known: {', '.join(ACTIONS)}."
        )
    wish = read_wish({}, file)
    session.spec_dir = wish.directory
    store = ModelStore(session.fabric, wish.spec.install.mirrors if wish.file else None)
    if what == "list":
        if names:
            raise UsageError("`fabric models list` takes no names.", "Leave them away.")
        return _list(store)
    if not names:
        raise UsageError(f"`fabric models {what}` needs the names of models.", "See `fabric models list`.")
    return _pull(store, names, offline=offline) if what == "pull" else _remove(store, names)


def _list(store: ModelStore) -> Result:
    stored = store.listed()
    state = store.fabric.state()
    served = state.selection.model if state and state.selection else None
    here = {name for model in stored for name in (model.name, *model.known_as)}
    rows = [_row(row, row.name in here, served is not None and row.name == served.name) for row in store.catalog.models]

    def show() -> None:
        shown = [
            (row["name"], row["quantization"] or "", output.size(row["size_bytes"]), row["license"], _mark(row))
            for row in rows
        ]
        output.table(("model", "quantization", "size", "license", "here"), shown)
        if stored:
            output.line()
            _show_stored(stored)
        if served is not None and served.path:
            output.line(f"Served from a file of yours: {served.path}")

    return Result({"models": rows, "store": [_document(model) for model in stored]}, show)


def _pull(store: ModelStore, names: Sequence[str], *, offline: bool) -> Result:
    pulled = store.pull(names, offline=offline)

    def show() -> None:
        _show_stored([each.model for each in pulled])
        output.line(_outcome(sum(each.changed for each in pulled)), output.DIM)

    rows = [{**_document(each.model), "changed": each.changed} for each in pulled]
    return Result({"pulled": rows, "changed": any(each.changed for each in pulled)}, show)


def _outcome(fetched: int) -> str:
    return f"{fetched} fetched." if fetched else "Nothing to fetch: everything is there."


def _remove(store: ModelStore, names: Sequence[str]) -> Result:
    removed = store.remove(names)

    def show() -> None:
        for model in removed:
            output.line(f"Removed {model.name} ({output.size(model.size_bytes)})")

    return Result({"removed": [_document(model) for model in removed]}, show)


def _document(model: StoredModel) -> dict[str, Any]:
    return asdict(model)


def _show_stored(models: Sequence[StoredModel]) -> None:
    rows = [
        (model.name, model.quantization or "", output.size(model.size_bytes), model.format, _state(model), reference)
        for model in models
        for reference in [next((known for known in model.known_as if known != model.name), "")]
    ]
    output.table(("in the store", "quantization", "size", "format", "state", "from"), rows)


def _state(model: StoredModel) -> str:
    told = [model.damage, "in use" if model.in_use else "", "unverified" if model.unverified else ""]
    return ", ".join(each for each in told if each)


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
        "installed": installed,
        "served": served,
    }


def _mark(row: Mapping[str, object]) -> str:
    return "served" if row["served"] else "installed" if row["installed"] else "no"
