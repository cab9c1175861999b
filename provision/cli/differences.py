"""Changes and drift as documents and as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from provision.cli import output
from provision.domain.drift import Drift, DriftKind
from provision.domain.resource import Action, Kind

if TYPE_CHECKING:
    from provision.domain.plan import Change


def changes_document(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return the changes with the keys of the contract."""
    return [
        {
            "action": change.action.value,
            "resource": change.resource,
            "reason": change.reason,
            "download_bytes": change.download_bytes,
            "disk_bytes": change.disk_bytes,
            "memory_bytes": change.memory_bytes,
            "paths": list(change.paths),
            "diff": change.diff,
            "known_after_apply": list(change.unknown),
        }
        for change in changes
    ]


def drift_document(drift: Sequence[Drift]) -> list[dict[str, Any]]:
    """Return what differs, each with its kind and what `up` would do about it."""
    return [
        {
            "action": _repair(each).value,
            "resource": each.shown,
            "reason": each.detail,
            "kind": each.kind.value,
            "path": each.path,
            "diff": each.diff,
        }
        for each in drift
    ]


def _repair(drift: Drift) -> Action:
    if not drift.repaired:
        return Action.NONE
    if drift.resource is Kind.SERVER:
        return Action.RESTART
    return (
        Action.UPDATE
        if drift.kind is DriftKind.MODE or drift.resource in (Kind.CONFIG, Kind.SERVICE)
        else Action.REPLACE
    )


def show_drift(drift: Sequence[Drift], *, diffs: bool = True) -> None:
    """Show what differs from what was set up, and with ``diffs`` each edit."""
    for each in drift:
        action = f"`fabric up` would {_repair(each).value} it" if each.repaired else "it stays"
        output.line(f"drift: {each.shown}: {each.detail} ({each.kind.value}; {action})", output.WARN)
        show_diff(each.diff if diffs else "")


def show_diff(diff: str) -> None:
    """Show a unified diff, coloured where that can be seen."""
    for line in diff.splitlines():
        style = {"+": output.GOOD, "-": output.BAD, "@": output.DIM}.get(line[:1])
        output.line(f"    {line}", style)
