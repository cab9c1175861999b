"""Waiting for a server, by its progress and not by a fixed clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Thread

from provision.domain.server import Observation, Runtime, ServerState
from provision.errors import FabricError
from provision.host import process
from provision.host.endpoint import Response
from provision.serve.observation import Server

POLL_S = 0.02
MAX_POLL_S = 0.5
STALL_S = 120.0
FIRST_TOKEN_TIMEOUT_S = 300.0
LOADING_TIMEOUT_S = 3600.0  # the wait ends far sooner where nothing moves
SAID_BYTES = 1000
LOG_LINES = 12
_ASK_ITS_OWNER = "Somebody else runs it: see what it says there; `fabric up` tries again."


class ServerFailedError(FabricError):
    """The server did not become ready."""

    code = "server-failed"


class PortLostError(ServerFailedError):
    """Another program took the port between the plan and the start."""

    code = "port-taken"


class CannotGenerateError(ServerFailedError):
    """The server is up, and of no use. ``reason`` is what to tell of it from now on."""

    def __init__(self, reason: str, message: str, hint: str | None) -> None:
        super().__init__(message, hint)
        self.reason = reason


@dataclass(frozen=True)
class Patience:
    """``timeout_s`` bounds the whole wait where the user gave one; ``stall_s`` bounds a wait without progress."""

    timeout_s: float | None = None
    stall_s: float = STALL_S


def wait_until_ready(
    server: Server, model: str, patience: Patience, proved: Callable[[Observation], bool]
) -> Observation:
    """Return once health is good, ``model`` is listed and, unless that was ``proved`` before, a token is generated.

    Raises ``CannotGenerateError`` where it answers and generates nothing, or not as was chosen, and
    ``ServerFailedError`` where it fails, stops making progress or runs out of time: with the decoded reason and the
    last lines of the log.
    """
    waiting = _Waiting(server, patience)
    while True:
        seen = server.observe()
        if seen.state is ServerState.READY:
            if not proved(seen):
                _first_token(server, model, waiting)
            return seen
        waiting.go_on(seen)


class _Waiting:
    """One wait, as long as there is progress and patience."""

    def __init__(self, server: Server, patience: Patience) -> None:
        self._server, self._patience = server, patience
        self._started = self._moved_at = time.monotonic()
        self._mark: tuple[object, ...] | None = None
        self._poll_s = POLL_S

    def go_on(self, seen: Observation) -> None:
        """Sleep a little. Raises ``ServerFailedError`` where waiting is in vain."""
        server, patience = self._server, self._patience
        if seen.state in (ServerState.FAILED, ServerState.CRASH_LOOP, ServerState.ABSENT, ServerState.STOPPED):
            raise failed(server, seen, kind=PortLostError if server.port_is_taken() else ServerFailedError)
        now = time.monotonic()
        if (fresh := _progress(seen.runtime, server)) != self._mark:
            self._moved_at, self._mark = now, fresh
        if now - self._moved_at > patience.stall_s:
            raise failed(server, seen, f"it made no progress for {patience.stall_s:.0f} s")
        if patience.timeout_s is not None and now - self._started > patience.timeout_s:
            raise failed(server, seen, f"it was not ready within {patience.timeout_s:g} s")
        time.sleep(self._poll_s)
        self._poll_s = min(MAX_POLL_S, self._poll_s * 1.05)


def failed(
    server: Server,
    seen: Observation,
    reason: str | None = None,
    kind: type[ServerFailedError] = ServerFailedError,
) -> ServerFailedError:
    """Build the error that says why, with the end of the log."""
    ended = seen.runtime.last_exit if seen.runtime else None
    why = reason or (ended.reason if ended else seen.detail or "its supervisor ended")
    log = [] if server.is_remote else server.last_log_lines(LOG_LINES)
    said = "\n  ".join(["", *log]) if log else ""
    usual = _ASK_ITS_OWNER if server.is_remote else "See `fabric logs`; `fabric up` tries again."
    hint = (ended.hint if ended else None) or usual
    return kind(f"The server did not become ready: {why}.{said}", hint)


def _progress(runtime: Runtime | None, server: Server) -> tuple[object, ...]:
    """Whatever changes while a server gets anywhere: its state, processor time and log."""
    pid = runtime.server.pid if runtime and runtime.server else None
    used = [process.cpu_ticks(each) for each in process.tree(pid)] if pid else []
    return (runtime.restarts if runtime else None, used, server.log_size())


def _first_token(server: Server, model: str, waiting: _Waiting) -> None:
    """Have the server generate. An engine may load the model only now, and say only now that it cannot."""
    answer = _answered(server, model, waiting)
    where = _ASK_ITS_OWNER if server.is_remote else "See `fabric logs`."
    if answer.status == 0:
        raise ServerFailedError(f"The server is up and does not answer: {answer.error}.", where)
    if answer.status != 200:
        said = answer.body[:SAID_BYTES].decode("utf-8", "replace")
        known = server.known_failure(said)
        reason = f"it cannot generate: {known.reason if known else said}"
        raise _of_no_use(server, reason, known.hint if known else where)
    broken = server.broken_promise()
    if broken:
        raise _of_no_use(server, f"it {broken}", "Choose a smaller --context, or another model.")


def _answered(server: Server, model: str, waiting: _Waiting) -> Response:
    """Return the answer to one request, however long it takes, as long as a server of ours gets anywhere.

    It is not asked how it is meanwhile: each question would be a line in its log, which looks like progress.
    """
    request = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    client, path, answers = server.client(), "/v1/chat/completions", Queue[Response]()
    if server.is_remote or server.runtime() is None:  # what was told of ours, stopped for it, says nothing of theirs
        return client.post(path, request, FIRST_TOKEN_TIMEOUT_S)
    Thread(target=lambda: answers.put(client.post(path, request, LOADING_TIMEOUT_S)), daemon=True).start()
    while True:
        with suppress(Empty):
            return answers.get(timeout=POLL_S)
        if (runtime := server.runtime()) is not None:
            waiting.go_on(Observation(runtime.state, runtime))


def _of_no_use(server: Server, reason: str, hint: str | None) -> CannotGenerateError:
    said = "\n  ".join(["", *server.last_log_lines(LOG_LINES)])
    return CannotGenerateError(reason, f"The server is up, but {reason}.{said}", hint or "See `fabric logs`.")
