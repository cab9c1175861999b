"""Waiting for a server, by its progress and not by a fixed clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from provision.domain.frozen import frozen
from provision.domain.server import Observation, ServerState
from provision.errors import FabricError
from provision.host import process
from provision.serve.observation import Server

POLL_S = 0.02
MAX_POLL_S = 0.5
SETTLE_S = 0.1
FIRST_S = 1.0  # in which it is not watched: looking costs the processor that the server starts on
STALL_S = 120.0
LOG_LINES = 12
_OVER = (ServerState.FAILED, ServerState.CRASH_LOOP, ServerState.ABSENT, ServerState.STOPPED)


class ServerFailedError(FabricError):
    """The server did not become ready."""

    code = "server-failed"


class PortLostError(ServerFailedError):
    """Another program took the port between the plan and the start."""

    code = "port-taken"


@frozen
class WaitLimits:
    """``timeout_s`` bounds the whole wait where the user gave one; ``stall_s`` bounds a wait without progress.

    An answer that is not what it should be is no progress, whatever the server does meanwhile.
    """

    timeout_s: float | None = None
    stall_s: float = STALL_S


class Waiting:
    """One wait for one server, as long as there is progress and the limits hold."""

    def __init__(self, server: Server, limits: WaitLimits) -> None:
        self._server, self._limits = server, limits
        self._started = self._moved_at = time.monotonic()
        self._stage: tuple[object, ...] = ()
        self._poll_s = POLL_S

    def go_on(self, seen: Observation, sleep: Callable[[float], object] = time.sleep) -> None:
        """Sleep a little, after the server was ``seen``. Raises ``ServerFailedError`` where waiting is in vain."""
        server, limits = self._server, self._limits
        if seen.state in _OVER:
            ended, holder = seen.runtime.last_exit if seen.runtime else None, server.port_holder()
            if holder is not None:
                raise failed(server, seen, f"its port is in use by {holder}", PortLostError)
            lost = ended is not None and ended.lost_port  # to somebody who has let it go meanwhile
            raise failed(server, seen, kind=PortLostError if lost else ServerFailedError)
        if self._moves(seen, sleep) or self._loads_out_of_sight(seen):
            self._moved_at = time.monotonic()
        now, told = time.monotonic(), f" ({seen.detail})" if seen.detail else ""
        if now - self._moved_at > limits.stall_s:
            raise failed(server, seen, f"it made no progress for {limits.stall_s:g} s{told}")
        if limits.timeout_s is not None and now - self._started > limits.timeout_s:
            raise failed(server, seen, f"it was not ready within {limits.timeout_s:g} s{told}")
        self._poll_s = min(MAX_POLL_S, self._poll_s * 1.05)

    def step_s(self, longest_s: float) -> float:
        """Return how long one question may wait for its answer: ``longest_s``, or what is left of the user's time."""
        if self._limits.timeout_s is None:
            return longest_s
        return max(POLL_S, min(longest_s, self._started + self._limits.timeout_s - time.monotonic()))

    def _loads_out_of_sight(self, seen: Observation) -> bool:
        """Tell whether only the user's time counts: how far a server of others has loaded cannot be seen from here."""
        timed = self._limits.timeout_s is not None
        return timed and self._server.is_remote and seen.state is ServerState.LOADING

    def _moves(self, seen: Observation, sleep: Callable[[float], object]) -> bool:
        """Sleep, and tell whether the server got anywhere.

        It was asked a moment ago: what that costs it, and the line in its log, come before the first look.
        """
        stage = (seen.state, seen.runtime.restarts if seen.runtime else 0)
        is_new, self._stage = stage != self._stage, stage
        just_began = time.monotonic() - self._started < FIRST_S
        if just_began or seen.state is ServerState.DEGRADED:
            sleep(self._poll_s)
            return just_began or is_new
        settle_s = min(SETTLE_S, self._poll_s / 2)
        sleep(settle_s)
        before = _work_of(seen, self._server)
        sleep(self._poll_s - settle_s)
        return is_new or _work_of(seen, self._server) != before


def _work_of(seen: Observation, server: Server) -> tuple[object, ...]:
    """Return what grows while a server of ours gets anywhere: its processor time and its log."""
    pid = seen.pid
    used = [process.cpu_ticks(each) for each in process.tree(pid)] if pid else []
    return (used, 0 if server.is_remote else server.log.size())


def failed(
    server: Server,
    seen: Observation,
    reason: str | None = None,
    kind: type[ServerFailedError] = ServerFailedError,
) -> ServerFailedError:
    """Build the error that says why, with the end of the log where the server is ours."""
    ended = seen.runtime.last_exit if seen.runtime else None
    why = reason or (ended.reason if ended else seen.detail or "its supervisor ended")
    message = with_last_words(f"The server did not become ready: {why}.", server)
    return kind(message, (ended.hint if ended else None) or hint_for(server))


def with_last_words(message: str, server: Server) -> str:
    """Return ``message`` with the last lines that our own server has said since it was started."""
    return "\n  ".join([message, *server.last_words(LOG_LINES)])


def hint_for(server: Server) -> str:
    """Return where to look for more."""
    if server.is_remote:
        return "Somebody else runs it: see what it says there; `fabric up` tries again."
    return "See `fabric logs`; `fabric up` tries again."
