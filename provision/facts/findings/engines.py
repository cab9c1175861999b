"""Engines: one that sees the machine in another way, one that runs already, those that turned out not to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.domain.fingerprint import OLLAMA, RunningServer
from provision.facts.findings.fixes import fix_for
from provision.facts.findings.wording import plain

MAX_REASON_CHARACTERS = 1000


def find_engines(facts: Facts) -> Iterator[Finding]:
    """Yield where the ``llama-server`` on PATH lists other GPUs than were found, and each Ollama of somebody else."""
    if facts.listed_devices is not None:
        yield from _disagrees(facts)
    for server in facts.servers:
        if server.kind == OLLAMA and not server.ours:
            fix = fix_for(facts, "OLLAMA-RUNNING", port=server.port)
            yield Finding("OLLAMA-RUNNING", Severity.INFO, plain(_running(server)), fix)


def find_unfit(facts: Facts, unfit: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what was learnt by trying: each release, by name, that did not run here, with the reason."""
    for release, why in unfit.items():
        evidence = plain(f"{release}: {why}", MAX_REASON_CHARACTERS)
        yield Finding("ENGINE-UNFIT", Severity.ERROR, evidence, fix_for(facts, "ENGINE-UNFIT"))


def _disagrees(facts: Facts) -> Iterator[Finding]:
    from provision.facts.gpu.listed_devices import disagreement

    told = disagreement(facts.listed_devices or (), facts)
    if told is not None:
        fix = fix_for(facts, "ENGINE-DISAGREES")
        yield Finding("ENGINE-DISAGREES", Severity.INFO, f"llama-server on PATH: {plain(told)}", fix)


def _running(server: RunningServer) -> str:
    owner = f", {server.owner}," if server.owner else ""
    models = f"{len(server.models)} models: {', '.join(server.models)}" if server.models else "no models"
    return f"Ollama {server.version or ''}{owner} listens on port {server.port} with {models}"
