"""Choosing the port: the one that was asked for, the one that we have, or a free one."""

from __future__ import annotations

from provision.domain.selection import Selection
from provision.domain.spec import Spec
from provision.errors import FabricError, UsageError
from provision.host import ports

MAX_PORT = 65535


class PortTakenError(FabricError):
    """Another program listens on the port that was asked for."""

    code = "port-taken"


def choose_port(spec: Spec, previous: Selection | None, *, ours_is_up: bool, preferred: int) -> int:
    """Return the port to serve on. ``preferred`` is tried where the user left it open.

    Raises ``PortTakenError``, naming the owner, where a port was asked for and somebody else has it.
    """
    kept = previous.port if previous and previous.host == spec.host else None

    def usable(port: int) -> bool:
        return (ours_is_up and port == kept) or ports.is_free(spec.host, port)

    if spec.port:
        if not 0 < spec.port <= MAX_PORT:
            raise UsageError(f"There is no port {spec.port}.", f"Use 1 to {MAX_PORT}, or 0 for any free one.")
        if not usable(spec.port):
            who = ports.owner(spec.port) or "a program that cannot be seen from here"
            raise PortTakenError(
                f"Port {spec.port} is in use by {who}.", "Stop that program, or use --port 0 for any free port."
            )
        return spec.port
    if kept is not None and usable(kept):
        return kept
    if spec.port is None and usable(preferred):
        return preferred
    return ports.pick_free(spec.host)
