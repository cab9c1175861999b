"""What would change, and why."""

from __future__ import annotations

from dataclasses import field

from provision.domain.choice import Alternative, Recommendation
from provision.domain.drift import Drift
from provision.domain.finding import Finding
from provision.domain.frozen import frozen
from provision.domain.resource import Action, Kind
from provision.domain.selection import Selection

__all__ = ["Action", "Change", "Kind", "Plan"]


@frozen
class Change:
    """One step. ``resource`` is ``kind/name``; ``download_bytes`` and ``disk_bytes`` are what it costs.

    ``memory_bytes`` is what the server will take. ``paths`` are all that it may touch: relative to the prefix, a
    directory with all that is in it. ``diff`` is the unified diff of the rendered files, from what is there now.
    ``unknown`` are the parts that only carrying it out can tell. ``modes_only`` says that all is as it should be but
    permissions: nothing is made anew, and a server goes on. ``unread`` says that what differs is read first: it may
    turn out to be what it was, and then nothing is fetched.
    """

    action: Action
    kind: Kind
    name: str
    reason: str
    download_bytes: int = 0
    disk_bytes: int = 0
    memory_bytes: int = 0
    paths: tuple[str, ...] = ()
    diff: str = ""
    unknown: tuple[str, ...] = ()
    modes_only: bool = False
    unread: bool = False

    @property
    def resource(self) -> str:
        """The name that users see, such as ``model/smollm2-135m``."""
        return f"{self.kind.value}/{self.name}"


@frozen
class Plan:
    """A choice and the changes that bring it about.

    ``lineage`` and ``serial`` name the state that the plan was made against: it fits no other. ``recommended`` is
    what suits the machine best, whether or not it is what the plan brings about; ``alternatives`` are the others.
    ``findings`` are those that will stop it. ``tried`` is what was found out on the way: releases, references and
    places that failed, with the reason. ``drift`` is what was found to differ from what was set up.
    """

    selection: Selection
    changes: tuple[Change, ...]
    lineage: str
    serial: int
    digest: str = ""
    recommended: Recommendation | None = None
    alternatives: tuple[Alternative, ...] = ()
    findings: tuple[Finding, ...] = ()
    tried: dict[str, str] = field(default_factory=dict)
    drift: tuple[Drift, ...] = ()

    @property
    def unused_gpus(self) -> str | None:
        """What is lost where GPUs stay unused: nobody shall take the processor's speed for the machine's."""
        best, chosen = self.recommended, self.selection
        if best is None or not best.devices or best.acceleration == chosen.acceleration:
            return None
        return (
            f"{', '.join(best.devices)} stays unused: {best.backend} on {best.acceleration} would suit it, but "
            f"{best.obstacle}"
        )

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return any(change.action is not Action.NONE for change in self.changes)

    def pending(self, kind: Kind) -> Change | None:
        """Return the change of that kind that is to be done, if any."""
        return next((c for c in self.changes if c.kind is kind and c.action is not Action.NONE), None)
