"""``fabric lock``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provision.cli import output
from provision.cli.lock_upgrade import show_upgrades, upgrades_document
from provision.cli.session import Result, Session, verb
from provision.cli.wish import Wish, with_spec

if TYPE_CHECKING:
    from provision.domain.lock import Lock
    from provision.domain.spec import Spec
    from provision.locks import Resolved


@verb("lock")
@with_spec
def command(
    session: Session,
    wish: Wish,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Only check that it is complete and made for this wish.")
    ] = False,
    upgrade: Annotated[
        bool,
        typer.Option("--upgrade", help="Take the newest that there is; with --check only show what that would change."),
    ] = False,
) -> Result:
    """Resolve a wish for this kind of machine and pin every file of it in `fabric.lock`, beside the spec.

    It takes what `up` is told of the server; how that listens and runs makes no difference to what is pinned.

    [bold]fabric lock --model smollm2-135m[/bold]          pin it; on another kind of machine: add an entry

    [bold]fabric lock --model smollm2-135m --check[/bold]  fail where anything is missing, or another wish was pinned

    [bold]fabric lock --upgrade[/bold]                       newer releases and revisions of what the lock was made for

    [bold]fabric up --model smollm2-135m --locked[/bold]   install exactly that, and look nothing up
    """
    from provision.domain.lock_change import lock_changes
    from provision.locks import Resolved

    path, session.spec_dir = wish.lock_file, wish.directory
    spec = session.locks.to_upgrade(wish.spec, path) if upgrade and wish.file is None else wish.spec
    if check:
        lock = session.locks.check(spec, path)
        if not upgrade:
            unchanged = Resolved(path, lock, lock_changes(lock.platforms, lock.platforms))
            return _result(unchanged, _up(wish, spec), upgrade=False)
    resolved = session.locks.resolve(spec, path, upgrade=upgrade)
    if not check:
        session.locks.write(resolved)
    return _result(resolved, _up(wish, spec), upgrade=upgrade, dry=check)


def _result(resolved: Resolved, up: str, *, upgrade: bool, dry: bool = False) -> Result:
    lock, changes = resolved.lock, resolved.changes
    platforms = {name: _described(name, lock) for name in lock.platforms}
    changed = any(change.action != "none" for change in changes.values())
    upgrades = upgrades_document(changes)
    document = {
        "path": str(resolved.path),
        "wish": list(lock.wish),
        "platforms": platforms,
        "changed": changed,
        "changes": [{"action": change.action, "platform": name} for name, change in changes.items()],
        "upgrades": upgrades,
        "not_upgraded": resolved.failed,
        "written": changed and not dry,
    }

    def show() -> None:
        _show_entries(platforms, {name: change.action for name, change in changes.items()})
        show_upgrades(upgrades, resolved.failed)
        if upgrade:
            output.line(_outcome(up, changed=changed, dry=dry), output.DIM)
        output.pairs([("lock", resolved.path)])

    return Result(document, show)


def _outcome(up: str, *, changed: bool, dry: bool) -> str:
    if not changed:
        return "Nothing to upgrade."
    return "Nothing was written." if dry else f"Only the lock was written: {up} installs what it holds now."


def _up(wish: Wish, spec: Spec) -> str:
    """Return in words the command that uses the lock: it has to wish for the same."""
    if wish.file is None:
        return f"`{shlex.join(['fabric', 'up', *spec.options()])}`"
    return "`fabric up`, with the same file and options,"


def _show_entries(platforms: Mapping[str, Mapping[str, Any]], actions: Mapping[str, str]) -> None:
    nothing = dict.fromkeys(("backend", "engine_version", "model", "size_bytes"), "")
    rows = [
        (
            name,
            action,
            f"{told['backend']} {told['engine_version']}",
            told["model"],
            output.size(told["size_bytes"]) if told is not nothing else "",
        )
        for name, action in actions.items()
        for told in [platforms.get(name, nothing)]
    ]
    output.table(("machine", "change", "engine", "model", "download"), rows)
    for told in platforms.values():
        for name in told["unverified"]:
            output.line(f"  beware   {name} is unverified: its SHA-256 was learnt from what came first", output.WARN)
        for name in told["only_here"]:
            output.line(f"  beware   {name} is from a directory of this machine: others need a bundle", output.WARN)


def _described(name: str, lock: Lock) -> dict[str, Any]:
    from provision.cli.present import advisories_document
    from provision.domain.lock import content

    locked = lock.platforms[name]
    files = content(locked).values()
    return {
        "backend": locked.release.engine,
        "engine_version": locked.release.version,
        "acceleration": locked.release.acceleration,
        "release": locked.release.name,
        "model": locked.model.name,
        "reference": locked.model.reference,
        "python": locked.release.python,
        "revision": locked.model.revision,
        "files": len(files),
        "size_bytes": sum(file.size_bytes or 0 for file in files),
        "unverified": [file.path for file in files if not file.verified],
        "only_here": [name for name, url in locked.urls.items() if url.startswith("file:")],
        "advisories": advisories_document(locked.release.engine, locked.release.version),
    }
