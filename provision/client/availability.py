"""Making sure that the server is there: started by the configured command, once for all who want it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from provision.client.base_url import checked
from provision.client.settings import from_environment
from provision.domain.client_config import ClientConfig
from provision.errors import FabricError, InterruptedByUserError, UnreachableError
from provision.host.endpoint import EndpointClient
from provision.host.lock import passing
from provision.host.runtime_dir import runtime_dir
from provision.host.server_said import server_said
from provision.host.start_command import StartCommand, starting

POLL_S = 0.1
LOOK_S = 10.0
LAST_LINES = 12
_LOADING = 503
_AWAY = (0, 502, 504)  # nobody, or a proxy that found nobody
_WANTS_KEY = (401, 403)


@dataclass(frozen=True)
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

    Where none is given, it is ``settings.from_environment``. However many processes and threads do this at once, one of
    them starts the server. ``env`` (else this process's) is the environment of the command, and names proxies and
    certificates. Setting ``stopped`` ends the waiting.

    Raises ``UnreachableError`` where nobody answers and nothing may be started, where the command fails, or where the
    server is not ready within ``timeout_s``; ``InterruptedByUserError`` where it was stopped. What the command had
    started is ended then.
    """
    env = os.environ if env is None else env
    config = config or from_environment(env)
    server = _Server(config, env, _Patience(timeout_s, stopped or threading.Event()))
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
    work = asyncio.ensure_future(
        asyncio.to_thread(ensure_available, config, timeout_s=timeout_s, env=env, stopped=stopped)
    )
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stopped.set()
        with suppress(FabricError):
            await work
        raise


class _Patience:
    """How long to wait."""

    def __init__(self, timeout_s: float, stopped: threading.Event) -> None:
        self.timeout_s, self.stopped = timeout_s, stopped
        self._until = time.monotonic() + timeout_s

    def is_over(self) -> bool:
        return time.monotonic() >= self._until


class _Server:
    """The server of one configuration."""

    def __init__(self, config: ClientConfig, env: Mapping[str, str], patience: _Patience) -> None:
        self.config, self._env, self._patience = config, env, patience
        self.base_url = checked(config.base_url, "The base URL", key_place="the api_key", has_key=bool(config.api_key))
        self._client = EndpointClient(self.base_url, config.api_key, LOOK_S, env)
        self._error = ""

    def settled(self) -> Availability | None:
        """Return how the server is, once it does not load any more; ``None`` where nobody answers."""
        while (status := self._status()) == _LOADING:
            self.keep_waiting()
            self._patience.stopped.wait(POLL_S)
        return None if status in _AWAY else Availability(wants_key=status in _WANTS_KEY)

    def start(self) -> Availability:
        """Run the command and wait until the server answers."""
        with starting(self.config.local_llm_start_cmd, self._env) as command:
            try:
                while (found := self.settled()) is None:
                    self._refuse_failed(command)
                    self.keep_waiting()
                    self._patience.stopped.wait(POLL_S)
            except (UnreachableError, InterruptedByUserError) as error:
                raise type(error)(self._with_last_words(error.message, command), error.hint) from None
        return replace(found, started=True)

    def keep_waiting(self) -> None:
        """Raise the error of having waited in vain, where that is so."""
        if self._patience.stopped.is_set():
            raise InterruptedByUserError(f"Waiting for the server at {self.base_url} was stopped.")
        if self._patience.is_over():
            raise UnreachableError(
                f"The server at {self.base_url} was not ready within {self._patience.timeout_s:g} s.",
                "Wait longer, or see why it does not start.",
            )

    def unreachable(self) -> UnreachableError:
        """Return the error that says how to start it."""
        line = self.config.local_llm_start_cmd
        allow = "" if self.config.local_llm_ensure_available else "; or allow it: local_llm_ensure_available=true"
        hint = f"Start it: {line}{allow}" if line else "Start it, or say by local_llm_start_cmd how that is done."
        return UnreachableError(f"Nobody answers at {self.base_url}: {self._error}.", hint)

    def _status(self) -> int:
        """Return what the server answers when it is asked for its models; 0 where it does not."""
        answer = self._client.get("/v1/models")
        self._error = answer.error or f"a proxy says {answer.status}"
        known = (_LOADING, *_AWAY, *_WANTS_KEY)
        if answer.status in known or 200 <= answer.status < 300:
            return answer.status
        raise UnreachableError(
            f"{self.base_url}/models answers {answer.status}: {server_said(answer.body)}",
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
        ended = "" if command.exit_code() else " What was started is ended."
        return "\n  ".join([f"{message}{ended}{' The last that it said:' if said else ''}", *said])


def _lock_of(base_url: str, env: Mapping[str, str]) -> Path:
    return runtime_dir(env) / f"start-{hashlib.sha256(base_url.encode()).hexdigest()[:16]}.lock"
