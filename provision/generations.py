"""Looking back: which generations are known, and what it takes to bring one of them back."""

from __future__ import annotations

from dataclasses import replace

from provision.app import Fabric
from provision.domain.frozen import frozen
from provision.domain.plan import Action, Change, Kind, Plan
from provision.domain.state import Generation, State
from provision.errors import UnreachableError, UsageError
from provision.host.secret import check_key
from provision.plan.diff import differences

_FETCHED_AGAIN = "fetched again by the hashes that were recorded"


@frozen
class KnownGeneration:
    """One generation; ``changes`` say in words what it served otherwise than the one before it.

    ``collected`` are the keys of store entries that it needs and that would have to be fetched again.
    """

    generation: Generation
    is_current: bool
    changes: tuple[str, ...]
    collected: tuple[str, ...]


def check_set_up(fabric: Fabric) -> None:
    """Raise ``UsageError`` where nothing was ever made."""
    if not fabric.layout.marker.exists():
        raise UsageError("Nothing is set up here, so there is nothing to go back to.", "Run `fabric up` first.")


def known_generations(fabric: Fabric) -> tuple[KnownGeneration, ...]:
    """Return all that are known, oldest first."""
    state = fabric.state()
    if state is None:
        return ()
    history = state.history
    return tuple(
        KnownGeneration(
            each,
            each.number == state.generation,
            tuple(differences(before.selection if before else None, each.selection)),
            tuple(key for key in each.needs if key not in state.entries),
        )
        for before, each in zip((None, *history), history, strict=False)
    )


def plan_rollback(fabric: Fabric, state: State, target: Generation, *, offline: bool) -> Plan:
    """Return what makes ``target`` the one that is served.

    Raises ``UsageError`` where it needs an API key that is not there, ``UnreachableError`` where ``offline`` and not
    all of it is in the store any more.
    """
    selection = target.selection
    check_key(selection.spec.api_key_env, fabric.env, fabric.layout, stored_counts=not state.is_remote)
    plan = fabric.planner.prefix.plan_back(selection, state)
    changes = tuple(_told(change, target) for change in plan.changes)
    fetched = [change.name for change in changes if change.download_bytes]
    if offline and fetched:
        raise UnreachableError(
            f"Generation {target.number} needs what is not in the store any more ({', '.join(fetched)}), and --offline "
            "was given.",
            "Leave --offline away: it is fetched by the hashes that were recorded.",
        )
    return replace(plan, changes=changes)


def _told(change: Change, target: Generation) -> Change:
    if change.kind is Kind.CONFIG and change.action is not Action.NONE:
        return replace(change, reason=f"back to generation {target.number}: {change.reason}")
    if change.download_bytes:
        return replace(change, reason=f"{change.reason}, {_FETCHED_AGAIN}")
    return change
