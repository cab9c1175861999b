"""Engines that are there already, and see the machine in another way."""

from __future__ import annotations

from collections.abc import Iterator

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.facts.findings.fixes import fix_for
from provision.facts.findings.wording import plain
from provision.facts.gpu.listed_devices import disagreement


def find_engines(facts: Facts) -> Iterator[Finding]:
    """Yield where the ``llama-server`` on PATH lists other GPUs than were found."""
    told = None if facts.listed_devices is None else disagreement(facts.listed_devices, facts)
    if told is not None:
        fix = fix_for(facts, "ENGINE-DISAGREES")
        yield Finding("ENGINE-DISAGREES", Severity.INFO, f"llama-server on PATH: {plain(told)}", fix)
