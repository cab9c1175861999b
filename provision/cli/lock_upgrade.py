"""What newer releases and revisions in a lock mean: versions, advisories left behind and brought, bytes to fetch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from provision.cli import output

if TYPE_CHECKING:
    from provision.domain.lock import LockedPlatform
    from provision.domain.lock_change import LockChange

_SHOWN_CHARACTERS = 12


def upgrades_document(changes: Mapping[str, LockChange]) -> dict[str, Any]:
    """Return each entry that took the place of another, by the name of its kind of machine.

    ``fetch_bytes`` is what a machine fetches that has all of the entry before.
    """
    return {
        name: {
            "before": _version(change.before),
            "after": _version(change.after),
            "advisories": _crossed(change.before, change.after),
            "fetch_bytes": change.fetch_bytes,
        }
        for name, change in changes.items()
        if change.action == "update" and change.before and change.after
    }


def show_upgrades(upgrades: Mapping[str, Any], failed: Mapping[str, str]) -> None:
    """Show them, and the entries that could not be upgraded."""
    for name, told in upgrades.items():
        before, after = told["before"], told["after"]
        differing = [_moved(key, before[key], after[key]) for key in before if before[key] != after[key]]
        what = ", ".join(differing) or "the same versions, described anew"
        output.line(f"  {name}: {what}; {output.size(told['fetch_bytes'])} to fetch")
        for advisory in told["advisories"]["fixed"]:
            output.line(f"  fixed    {advisory['id']}: {advisory['summary']}", output.GOOD)
        for advisory in told["advisories"]["new"]:
            output.line(f"  new      {advisory['id']}: {advisory['summary']}", output.WARN)
    for name, reason in failed.items():
        output.line(f"  beware   {name} stays as it was: {reason}", output.WARN)


def _version(locked: LockedPlatform) -> dict[str, Any]:
    release, model = locked.release, locked.model
    return {
        "backend": release.engine,
        "engine_version": release.version,
        "model": model.name,
        "revision": model.revision,
        "sha256": model.sha256,
    }


def _crossed(before: LockedPlatform, after: LockedPlatform) -> dict[str, Any]:
    from provision.cli.present import advisories_document

    old, new = (advisories_document(each.release.engine, each.release.version) for each in (before, after))
    return {
        "fixed": [each for each in old if each not in new],
        "new": [each for each in new if each not in old],
    }


def _moved(key: str, before: str | None, after: str | None) -> str:
    name = {"backend": "engine", "engine_version": "engine", "sha256": "SHA-256 of the model"}.get(key, key)
    return f"{name} {_short(before)} to {_short(after)}"


def _short(value: str | None) -> str:
    return value[:_SHOWN_CHARACTERS] if value else "none"
