"""The engines that are on a machine, and what is known against them: what is served, what listens, what is on PATH."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from provision.domain.facts import Facts
from provision.domain.finding import Finding
from provision.domain.found_engine import FoundEngine
from provision.domain.spec import ENGINE_NAMES
from provision.domain.state import State
from provision.engines.registry import ENGINES
from provision.facts.findings.advisories import find_advisories, find_old_advisories
from provision.host.program import Command, run
from provision.knowledge.engine_files import load_engine_file

VERSION_TIMEOUT_S = 10.0


def advisory_findings(facts: Facts, engines: Iterable[FoundEngine], now_s: float) -> tuple[Finding, ...]:
    """Return what is known against ``engines``, and whether that is old: ``now_s`` are seconds since 1970."""
    today = date.fromtimestamp(now_s)
    return (*find_advisories(facts, engines), *find_old_advisories(facts, today))


def listening_engines(facts: Facts, but_port: int | None = None) -> Iterator[FoundEngine]:
    """Yield the servers of engines that are known, whoever runs them, but not that at ``but_port``."""
    for server in facts.servers:
        if server.kind in ENGINE_NAMES and server.port != but_port:
            owner = f" ({server.owner})" if server.owner else ""
            yield FoundEngine(server.kind, server.version, f"on port {server.port}{owner}")


def engines_here(facts: Facts, state: State | None, env: Mapping[str, str]) -> Iterator[FoundEngine]:
    """Yield every engine that is found here; programs on PATH are asked for their version.

    One that takes long to tell, as vLLM's does, is not asked.
    """
    served = state.ours if state else None
    if served is not None:
        yield FoundEngine(served.backend, served.release.version, "as it is served here", ours=True)
    yield from listening_engines(facts, served.port if served else None)
    for name in ENGINE_NAMES:
        program = facts.tools.get(load_engine_file(name).program or "")
        if program is not None and (served is None or served.release.path != program):
            yield FoundEngine(name, _said_version(name, program, env), f"at {program}")


def _said_version(name: str, program: str, env: Mapping[str, str]) -> str | None:
    with TemporaryDirectory(prefix="fabric-") as home:
        launch = ENGINES[name].asked_version(program, Path(home))
        if launch is None:
            return None
        result = run(Command(launch.argv, VERSION_TIMEOUT_S, launch.env), env)
    return ENGINES[name].read_version(result.stdout + result.stderr)
