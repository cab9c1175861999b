"""Making sure that the server is there: started by the configured command, once for all who want it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from provision.client.base_url import checked
from provision.client.settings import from_environment
from provision.domain.client_config import ClientConfig
from provision.domain.frozen import frozen
from provision.errors import FabricError, InterruptedByUserError, UnreachableError
from provision.host.endpoint import EndpointClient, Response
from provision.host.lock import passing
from provision.host.runtime_dir import runtime_dir
from provision.host.server_said import server_said
from provision.host.start_command import StartCommand, starting

POLL_S = 0.1
LOOK_S = 10.0
LAST_LINES = 12
_LOADING = 503
_BEHIND_PROXY = (502, 504)  # a proxy has found nobody
_WANTS_KEY = (401, 403)
_TOO_MANY, _FAILED = 429, 500  # and what is above the latter: what answers so is there

T = TypeVar("T")


@frozen
class Availability:
    """How a server was found.

    ``started``: it was this call that started it. ``wants_key``: it runs, and refuses the key that is configured.
    """

    started: bool = False
    wants_key: bool = False


def ensure_available(
    config: ClientConfig | None = None,
    *,
    timeout_s: float = 600.0,
    env: Mapping[str, str] | None = None,
    stopped: threading.Event | None = None,
) -> Availability:
    """Return as soon as the server of ``config`` answers; start it where that is wanted and nobody does.

    Where none is given, it is ``settings.from_environment``, which needs no model here. However many processes and
    threads do this at once, one of them starts the server. A server that takes connections and does not answer is
    waited for as one that loads. ``env`` (else this process's) is the environment of the command, and names proxies
    and certificates. Setting ``stopped`` ends the waiting.

    Raises ``UnreachableError`` where nobody is there and nothing may be started, where the command fails, or where the
    server is not ready within ``timeout_s``; ``InterruptedByUserError`` where it was stopped. What the command had
    started is ended then, unless it was moved into a session of its own.
    """
    env = os.environ if env is None else env
    config = config or from_environment(env, needs_model=False)
    server = _Server(config, env, _Waiting(timeout_s, stopped or threading.Event()))
    found = server.settled()
    if found is not None:
        return found
    if not config.local_llm_ensure_available or not config.local_llm_start_cmd:
        raise server.unreachable()
    with passing(_lock_of(server.base_url, env), server.keep_waiting):
        return server.settled() or server.start()


async def ensure_available_async(
    config: ClientConfig | None = None, *, timeout_s: float = 600.0, env: Mapping[str, str] | None = None
) -> Availability:
    """Do as ``ensure_available`` without blocking the event loop. Cancelling it ends what it has started."""
    stopped = threading.Event()
    work = asyncio.wrap_future(
        _in_thread(lambda: ensure_available(config, timeout_s=timeout_s, env=env, stopped=stopped))
    )
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stopped.set()
        with suppress(FabricError):
            await work
        raise


def _in_thread(work: Callable[[], T]) -> Future[T]:
    """Do ``work`` in a thread of its own, for which the end of this process does not wait."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()  # nobody who has ceased to wait takes the place of the outcome away

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - for who asks for the outcome
            outcome.set_exception(error)

    threading.Thread(target=run, name="fabric-availability", daemon=True).start()
    return outcome


class _Waiting:
    """How long it may last, and whether somebody has ended it."""

    def __init__(self, timeout_s: float, stopped: threading.Event) -> None:
        self.timeout_s, self.stopped = timeout_s, stopped
        self._until = time.monotonic() + timeout_s

    def left_s(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def pause(self) -> None:
        self.stopped.wait(min(POLL_S, self.left_s()))


class _Server:
    """The server of one configuration."""

    def __init__(self, config: ClientConfig, env: Mapping[str, str], waiting: _Waiting) -> None:
        self.config, self._env, self._waiting = config, env, waiting
        self.base_url = checked(config.base_url, "The base URL", key_place="the api_key", has_key=bool(config.api_key))
        self._client = EndpointClient(self.base_url, config.api_key, LOOK_S, env)
        self._error, self._is_silent = "", False

    def settled(self) -> Availability | None:
        """Return how the server is, once it neither loads nor keeps silent any more; ``None`` where nobody is there."""
        while (answer := self._look()).status == _LOADING or answer.absence == "silent":
            self._wait()
        if answer.absence == "away" or answer.status in _BEHIND_PROXY:
            return None
        self._refuse_other(answer)
        return Availability(wants_key=answer.status in _WANTS_KEY)

    def start(self) -> Availability:
        """Run the command and wait until the server answers."""
        with starting(self.config.local_llm_start_cmd, self._env) as command:
            try:
                while (found := self.settled()) is None:
                    self._refuse_failed(command)
                    self._wait()
            except (UnreachableError, InterruptedByUserError) as error:
                raise type(error)(self._with_last_words(error.message, command), error.hint) from None
        return replace(found, started=True)

    def keep_waiting(self) -> None:
        """Raise the error of having waited in vain, where that is so."""
        if self._waiting.stopped.is_set():
            raise InterruptedByUserError(f"Waiting for the server at {self.base_url} was stopped.")
        if not self._waiting.left_s():
            silent = " It takes connections and does not answer." if self._is_silent else ""
            raise UnreachableError(
                f"The server at {self.base_url} was not ready within {self._waiting.timeout_s:g} s.{silent}",
                "Wait longer, or see why it does not start.",
            )

    def unreachable(self) -> UnreachableError:
        """Return the error that says how to start it."""
        line = self.config.local_llm_start_cmd
        allow = "" if self.config.local_llm_ensure_available else "; or allow it: local_llm_ensure_available=true"
        hint = f"Start it: {line}{allow}" if line else "Start it, or say by local_llm_start_cmd how that is done."
        return UnreachableError(f"Nobody answers at {self.base_url}: {self._error}.", hint)

    def _wait(self) -> None:
        self.keep_waiting()
        self._waiting.pause()

    def _look(self) -> Response:
        """Return the answer to being asked for its models.

        It is asked in a thread, so that neither a server without an answer nor a slow name makes anybody late.
        """
        timeout_s = min(LOOK_S, self._waiting.left_s()) or POLL_S
        asking = _in_thread(lambda: self._client.get("/v1/models", timeout_s))
        while True:
            try:
                answer = asking.result(POLL_S)
            except NotYetError:
                self._is_silent = True
                self.keep_waiting()
            else:
                self._error = answer.error or f"a proxy says {answer.status}"
                self._is_silent = answer.absence == "silent"
                return answer

    def _refuse_other(self, answer: Response) -> None:
        """Raise the error of what answers and is no model server."""
        status = answer.status
        if not status:
            raise UnreachableError(f"{self.base_url} cannot be asked: {answer.error}.", "Check the base URL.")
        if status == _TOO_MANY or status >= _FAILED or status in _WANTS_KEY or 200 <= status < 300:
            return
        raise UnreachableError(
            f"{self.base_url}/models answers {status}: {server_said(answer.body)}",
            "Check the base URL: a model server lists its models there.",
        )

    def _refuse_failed(self, command: StartCommand) -> None:
        code = command.exit_code()
        if code:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
            raise UnreachableError(
                f"The command that starts the server at {self.base_url} {how}.",
                f"Try it by hand: {self.config.local_llm_start_cmd}",
            )

    def _with_last_words(self, message: str, command: StartCommand) -> str:
        said = command.last_words(LAST_LINES)
        return "\n  ".join(
            [f"{message}{_end_of(command.exit_code())}{' The last that it said:' if said else ''}", *said]
        )


def _end_of(exit_code: int | None) -> str:
    """Return what becomes of a command that has ended like this, or that runs."""
    if exit_code is None:
        return " What was started is ended."
    daemons = " What it left running is ended, but for what it has moved into a session of its own."
    return "" if exit_code else daemons  # how these are ended the command alone knows


def _lock_of(base_url: str, env: Mapping[str, str]) -> Path:
    return runtime_dir(env) / f"start-{hashlib.sha256(base_url.encode()).hexdigest()[:16]}.lock"
