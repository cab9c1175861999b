"""``fabric gc``."""

from __future__ import annotations

from typing import Annotated

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb

KEEP = 3


@verb("gc")
def command(
    session: Session,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=1, help="How many generations can be brought back at once.")
    ] = KEEP,
    models: Annotated[bool, typer.Option("--models", help="Also models that you have pulled.")] = False,
) -> Result:
    """Remove engines, models, builds and half downloads that nobody needs. What runs and what you pulled stays.

    [bold]fabric gc --dry-run[/bold]    what would go, and how many bytes that is

    [bold]fabric gc --keep 1[/bold]     all but what is served now
    """
    from provision.collecting import Collector

    collector = Collector(session.fabric, keep, models)
    found = collector.look() if dry_run else collector.collect()
    garbage = found.marked.garbage if found else ()
    sizes = found.sizes if found else ()
    freed_bytes = found.freed_bytes if found else 0
    document = {
        "dry_run": dry_run,
        "removed": [
            {"kind": each.kind, "name": each.name, "path": str(each.path), "reason": each.reason, "size_bytes": size}
            for each, size in zip(garbage, sizes, strict=True)
        ],
        "freed_bytes": freed_bytes,
        "kept_generations": list(found.marked.kept) if found else [],
        "kept_models": list(found.marked.models) if found else [],
        "strangers": [str(path) for path in found.marked.strangers] if found else [],
    }

    def show() -> None:
        if garbage:
            rows = [
                (each.kind, each.name, output.size(size), each.reason)
                for each, size in zip(garbage, sizes, strict=True)
            ]
            output.table(("would go" if dry_run else "removed", "name", "size", "because"), rows)
        for path in found.marked.strangers if found else ():
            output.line(f"{path} was not made by fabric, and stays.")
        if found and found.marked.models:
            output.line(f"Pulled, so kept: {', '.join(found.marked.models)} (`--models` removes them as well).")
        nothing = "Nothing to remove." if not garbage else None
        output.line(nothing or f"{'Would free' if dry_run else 'Freed'} {output.size(freed_bytes)}.", output.DIM)

    return Result(document, show)
