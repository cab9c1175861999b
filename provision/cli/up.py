"""``fabric up``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from provision.cli import output
from provision.cli.differences import changes_document
from provision.cli.present import plan_result, show_smoke
from provision.cli.session import Result, Session, TakeOver, verb
from provision.cli.wish import Wish, with_wish
from provision.errors import UsageError

NoRollback = Annotated[
    bool, typer.Option("--no-rollback", help="Leave a server that does not serve; do not go back to what served.")
]


@verb("up")
@with_wish
def command(
    session: Session,
    wish: Wish,
    *,
    no_smoke: Annotated[bool, typer.Option("--no-smoke", help="Skip the smoke test.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done, like `fabric plan`.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE", help="Take everything from a bundle; implies --locked and --offline."),
    ] = None,
    no_rollback: NoRollback = False,
    take_over: TakeOver = False,
) -> Result:
    """Install, start and prove a local model server. A second run changes nothing.

    [bold]fabric up[/bold]                              serve the default model

    [bold]fabric up --context 8192 --parallel 2[/bold]  change exactly that

    [bold]fabric up --model ollama:qwen3:4b[/bold]      serve another model, from Ollama's registry

    [bold]fabric up --model file:model.gguf[/bold]      serve a file of your own

    [bold]fabric up --backend llamacpp --program ./llama-server[/bold]   with an engine that is there already

    [bold]fabric up --locked[/bold]                     exactly what `fabric.lock` holds

    [bold]fabric up --bundle fabric.tar[/bold]          the same, without a network
    """
    from provision.bring_up import UpOptions

    session.spec_dir, session.take_over = wish.directory, take_over
    if bundle and wish.refresh:
        raise UsageError("--refresh chooses anew, --bundle chooses nothing.", "Leave one of them away.")
    pins = session.locks.pins_of_bundle(wish.spec, bundle) if bundle else session.pins(wish)
    offline = wish.offline or bundle is not None
    if dry_run:
        return plan_result(session.fabric.plan(wish.spec, offline=offline, refresh=wish.refresh, pins=pins))
    options = UpOptions(not no_smoke, offline, wish.timeout_s, wish.refresh, pins, rollback=not no_rollback)
    return up_result(session.changes.up(wish.spec, options))


def up_result(done: Any) -> Result:
    """Present what ``up`` or ``apply`` did."""
    selection = done.selection
    document = {
        "base_url": selection.base_url,
        "model": selection.model.name,
        "backend": selection.backend,
        "engine": selection.program,
        "acceleration": selection.acceleration,
        "engine_version": selection.release.version or None,
        "pid": done.pid,
        "changed": done.changed,
        "changes": changes_document(done.changes),
        "timings_s": {name: round(seconds, 3) for name, seconds in done.timings_s.items()},
        "smoke": _smoke_document(done.smoke),
    }
    return Result(document, lambda: _show(done), 0 if done.ok else 1)


def _smoke_document(smoke: Any) -> dict[str, Any] | None:
    from provision.observe.report import smoke_to_json

    return smoke_to_json(smoke) if smoke is not None else None


def _show(done: Any) -> None:
    selection = done.selection
    if done.smoke is not None and done.changed:
        show_smoke(done.smoke)
    done_or_not = f"Ready in {done.timings_s['total']:.1f} s." if done.changed else "Nothing to change."
    output.line(done_or_not, output.DIM)
    output.pairs([("base_url", selection.base_url), ("model", selection.model.name)])
