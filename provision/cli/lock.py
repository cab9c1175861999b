"""``fabric lock``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb
from provision.cli.wish import Wish, with_spec

if TYPE_CHECKING:
    from pathlib import Path

    from provision.domain.lock import Lock


@verb("lock")
@with_spec
def command(
    session: Session,
    wish: Wish,
    check: Annotated[
        bool, typer.Option("--check", help="Only check that it is complete and made for this wish.")
    ] = False,
) -> Result:
    """Resolve a wish for this kind of machine and pin every file of it in `fabric.lock`, beside the spec.

    It takes what `up` is told of the server; how that listens and runs makes no difference to what is pinned.

    [bold]fabric lock --model smollm2-135m[/bold]          pin it; on another kind of machine: add an entry

    [bold]fabric lock --model smollm2-135m --check[/bold]  fail where anything is missing, or another wish was pinned

    [bold]fabric up --model smollm2-135m --locked[/bold]   install exactly that, and look nothing up
    """
    from provision.locks import place_of

    path, session.spec_dir = place_of(wish.file), wish.directory
    if check:
        lock = session.locks.check(wish.spec, path)
        return _result(path, lock, dict.fromkeys(lock.platforms, "none"))
    written = session.locks.write(wish.spec, path)
    return _result(written.path, written.lock, written.changes)


def _result(path: Path, lock: Lock, changes: Mapping[str, str]) -> Result:
    platforms = {name: _described(name, lock) for name in lock.platforms}
    document = {
        "path": str(path),
        "wish": list(lock.wish),
        "platforms": platforms,
        "changed": any(action != "none" for action in changes.values()),
        "changes": [{"action": action, "platform": name} for name, action in changes.items()],
    }

    def show() -> None:
        rows = [
            (
                name,
                action,
                f"{told['backend']} {told['engine_version']}",
                told["model"],
                output.size(told["size_bytes"]),
            )
            for name, action in changes.items()
            if (told := platforms.get(name) or dict.fromkeys(("backend", "engine_version", "model", "size_bytes"), ""))
        ]
        output.table(("machine", "change", "engine", "model", "download"), rows)
        for told in platforms.values():
            for name in told["unverified"]:
                output.line(
                    f"  beware   {name} is unverified: its SHA-256 was learnt from what came first", output.WARN
                )
            for name in told["only_here"]:
                output.line(f"  beware   {name} is from a directory of this machine: others need a bundle", output.WARN)
        output.pairs([("lock", path)])

    return Result(document, show)


def _described(name: str, lock: Lock) -> dict[str, Any]:
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
    }
