"""Looking at the server: what the supervisor says, checked against the process table and the port."""

from __future__ import annotations

import re
from dataclasses import replace

from provision.domain.engine import Failure
from provision.domain.selection import Selection
from provision.domain.server import Observation, Runtime, ServerState
from provision.domain.web_address import DEFAULT_PORTS, is_loopback
from provision.engines.registry import ENGINES
from provision.host import ports, process
from provision.host.endpoint import EndpointClient, Response
from provision.host.layout import Layout
from provision.host.listening_sockets import listens
from provision.host.server_said import server_said
from provision.serve.proof import Proof
from provision.serve.runtime import read_runtime
from provision.serve.server_log import ServerLog

HEALTH_TIMEOUT_S = 5.0
MODELS = "/v1/models"
SHOWN_MODELS = 12


class Server:
    """The server of one prefix, as it is seen from outside."""

    def __init__(self, layout: Layout, selection: Selection | None) -> None:
        self._layout = layout
        self._selection = selection

    def client(self, timeout_s: float = HEALTH_TIMEOUT_S) -> EndpointClient:
        """Return a client with the key, where one is set."""
        key = None
        if self._selection and self._selection.spec.api_key_env:
            from provision.host.secret import stored_key

            key = stored_key(self._layout)
        base_url = self._selection.base_url if self._selection else "http://127.0.0.1:0/v1"
        return EndpointClient(base_url, key, timeout_s)

    @property
    def is_remote(self) -> bool:
        """Whether somebody else runs what is served."""
        return self._selection is not None and self._selection.is_remote

    def runtime(self) -> Runtime | None:
        """Return what the supervisor told last; ``None`` where it never ran or its word makes no sense."""
        return read_runtime(self._layout)

    def is_ours_running(self) -> bool:
        """Tell whether a server that fabric started, or who watches it, is there, whatever is served now."""
        runtime = self.runtime()
        return runtime is not None and any(map(process.is_running, filter(None, (runtime.supervisor, runtime.server))))

    def working_pid(self) -> int | None:
        """Return the process whose descendants do the work: the supervisor, or who listens where others serve here."""
        if self._selection is not None and self._selection.is_remote:
            from urllib.parse import urlsplit

            address = urlsplit(self._selection.base_url)
            here = is_loopback(address.hostname or "")
            return ports.owner_pid(address.port or DEFAULT_PORTS[address.scheme]) if here else None
        runtime = self.runtime()
        return runtime.supervisor.pid if runtime else None

    def observe(self) -> Observation:
        """Return the state of the server now. Costs at most two requests, to loopback where it is ours."""
        if self.is_remote:
            return self._ask(None)
        runtime = self.runtime()
        if runtime and not process.is_running(runtime.server):
            runtime = replace(runtime, server=None)  # what was told last is not true any more
        if self._selection is None:
            return Observation(ServerState.ABSENT, runtime)
        if runtime is None or runtime.state is ServerState.STOPPED:
            return Observation(ServerState.STOPPED, runtime)
        if runtime.state in (ServerState.FAILED, ServerState.CRASH_LOOP):
            return Observation(runtime.state, runtime, runtime.last_exit.reason if runtime.last_exit else None)
        return self._supervised(runtime, self._selection.port)

    def _supervised(self, runtime: Runtime, port: int) -> Observation:
        if runtime.supervisor.boot_id != process.boot_id():
            return Observation(ServerState.STOPPED, runtime, "the machine was restarted")
        if not process.is_running(runtime.supervisor):
            return Observation(ServerState.FAILED, runtime, "its supervisor was killed")
        if runtime.server is None:
            reason = f"{runtime.last_exit.reason}; it is being restarted" if runtime.last_exit else None
            return Observation(ServerState.STARTING, runtime, reason)
        if not _is_ours(runtime.server.pid, port):
            return Observation(ServerState.STARTING, runtime)  # who answers there is somebody else
        return self._ask(runtime)

    def _ask(self, runtime: Runtime | None) -> Observation:
        """Ask the server itself; ``runtime`` is ``None`` for one that somebody else runs."""
        if self._selection is None:
            return Observation(ServerState.ABSENT, runtime)
        engine = ENGINES[self._selection.backend]
        health = self.client().get(engine.health.path)
        if health.status == 0 and runtime is None:
            return Observation(
                ServerState.FAILED, None, f"nobody answers at {self._selection.base_url}: {health.error}"
            )
        if health.status == 0 and "refused" in (health.error or "").lower():
            return Observation(ServerState.STARTING, runtime)
        if health.status in engine.health.loading:
            return Observation(ServerState.LOADING, runtime)
        if health.status != 200:
            return Observation(ServerState.DEGRADED, runtime, health.error or _refusal(engine.health.path, health))
        listed = _names(health if engine.health.path == MODELS else self.client().get(MODELS))
        if not engine.serves(listed, self._selection.model.name):
            shown = ", ".join(listed[:SHOWN_MODELS]) or "nothing"
            return Observation(ServerState.DEGRADED, runtime, f"it serves {shown}, not {self._selection.model.name}")
        if runtime and not process.is_running(runtime.server):  # it ended meanwhile, so a stranger may have answered
            return Observation(ServerState.STARTING, replace(runtime, server=None))
        useless = Proof(self._layout).failure(runtime)
        return Observation(ServerState.DEGRADED if useless else ServerState.READY, runtime, useless)

    def known_failure(self, said: str) -> Failure | None:
        """Return the failure of the engine that ``said`` tells of; ``None`` for one that nobody knows."""
        failures = ENGINES[self._selection.backend].failures() if self._selection else ()
        return next((each for each in failures if re.search(each.pattern, said, re.IGNORECASE)), None)

    def broken_promise(self) -> str:
        """Return what a server that has generated gives less of than was chosen; empty where all is as chosen."""
        selection = self._selection
        if selection is None:
            return ""
        return ENGINES[selection.backend].broken_promise(selection, lambda path: self.client().get(path).body)

    def port_holder(self) -> str | None:
        """Return who has our port, ``None`` where it is free; asked when our own server has ended."""
        selection = self._selection
        if selection is None or selection.is_remote or ports.is_free(selection.host, selection.port):
            return None
        return ports.owner(selection.port) or "a program that cannot be seen from here"

    @property
    def log(self) -> ServerLog:
        """What our own server has said, in this run and before."""
        return ServerLog(self._layout.server_log)

    def last_words(self, count: int) -> list[str]:
        """Return the end of what our own server has said since it was started; nothing of one that others run."""
        runtime = None if self.is_remote else self.runtime()
        return self.log.last_lines(count, runtime.log_start) if runtime else []


def _refusal(path: str, answer: Response) -> str:
    said = f": {server_said(answer.body)}" if answer.body else ""
    return f"{path} answers {answer.status}{said}"


def _names(answer: Response) -> list[str]:
    """Return the models that a server lists; whatever else it answers counts as none."""
    document = answer.json() if answer.status == 200 else None
    rows = document.get("data") if isinstance(document, dict) else None
    found = [row.get("id") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [name for name in found if isinstance(name, str)]


def _is_ours(pid: int, port: int) -> bool:
    """Tell whether our server, or a process that it has started, listens on ``port``; also where that is not known."""
    if listens(pid, port) is not False:
        return True
    return any(listens(child, port) for child in process.tree(pid)[1:])
