"""What is there, as far as a plan needs to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from provision.domain.drift import Drift
from provision.domain.frozen import frozen
from provision.domain.resource import Kind
from provision.domain.server import ServerState
from provision.domain.state import State
from provision.plan.service_change import SeenUnit

NOT_INSTALLED = "not installed"


@frozen
class Observed:
    """``lacking`` says of engine and model why they have to be made, where they are not there at all.

    ``drift`` is what differs from the record of what is there, ``running`` the generation that the server process was
    started from. ``files`` are the texts of the current generation, ``desired_files`` what they should be. ``places``
    are the paths that making a resource may touch, relative to the prefix, ``unit`` what keeps the server running.
    """

    state: State | None
    server: ServerState
    lacking: Mapping[Kind, str] = field(default_factory=dict)
    drift: tuple[Drift, ...] = ()
    files: Mapping[str, str | None] = field(default_factory=dict)
    desired_files: Mapping[str, str] = field(default_factory=dict)
    running: int | None = None
    server_detail: str | None = None
    places: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)
    unit: SeenUnit = field(default_factory=SeenUnit)

    def drifted(self, kind: Kind) -> tuple[Drift, ...]:
        """Return what is to be repaired of one resource."""
        return tuple(drift for drift in self.drift if drift.resource is kind and drift.repaired)


def nothing_there() -> Observed:
    """Return what there is on a machine where nothing was ever set up."""
    return Observed(None, ServerState.ABSENT, dict.fromkeys((Kind.ENGINE, Kind.MODEL), NOT_INSTALLED))
