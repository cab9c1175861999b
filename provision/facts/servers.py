"""Model servers that run on this machine already, whoever started them.

Sources: the default ports in each engine's documentation.
"""

from __future__ import annotations

import time

from provision.domain.fingerprint import UNREACHABLE, RunningServer
from provision.host.machine import Listener, Machine

# Ollama; llama.cpp now and as announced; vLLM; LM Studio; Jan; text-generation-webui and KoboldCpp; SGLang.
PORTS = (11434, 8080, 9931, 8000, 1234, 1337, 5000, 5001, 30000)
MAX_MODELS = 100
BUDGET_S = 3.0


def read_servers(machine: Machine) -> tuple[RunningServer, ...]:
    """Return who listens on the usual ports and what it serves; only GETs, and none where nobody listens."""
    listening = machine.listeners(PORTS)
    if len(listening) < 2:
        found = [_look(machine, each) for each in listening]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=len(listening)) as pool:  # one that is silent keeps no other waiting
            found = list(pool.map(lambda each: _look(machine, each), listening))
    return tuple(each for each in found if each is not None)


def _look(machine: Machine, listener: Listener) -> RunningServer | None:
    """Return what one of them serves; ``None`` where it has just ended."""
    from provision.facts.fingerprint import identify
    from provision.host.answer import Response

    deadline = time.monotonic() + BUDGET_S

    def ask(path: str) -> Response:
        if time.monotonic() > deadline:
            return Response(0, error=f"no answers within {BUDGET_S:g} s")
        return machine.http_get(listener.port, path)

    found = identify(ask)
    if found.kind == UNREACHABLE and "refused" in found.detail:
        return None
    return RunningServer(
        listener.port, found.kind, found.version, found.models[:MAX_MODELS], listener.owner, listener.ours
    )
