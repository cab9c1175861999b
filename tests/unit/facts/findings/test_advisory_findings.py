"""What is known against the engines of a machine: served here, listening, and on PATH."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from provision.domain.facts import Facts
from provision.domain.finding import Severity
from provision.domain.fingerprint import RunningServer
from provision.domain.found_engine import FoundEngine
from provision.facts.findings.advisories import find_advisories, find_old_advisories
from provision.found_engines import advisory_findings, engines_here, listening_engines
from provision.knowledge.advisories import load_advisories

OLD = FoundEngine("ollama", "0.16.0", "on port 11434 (ollama (process 7))")


def test_an_engine_of_others_is_told_with_all_that_is_known_and_how_to_mend_it() -> None:
    (found,) = find_advisories(Facts(), [OLD, OLD])
    assert (found.code, found.severity) == ("ENGINE-ADVISORY", Severity.WARNING)
    assert found.evidence.startswith("ollama 0.16.0 on port 11434 (ollama (process 7)): CVE-2026-102697 (high, ")
    assert "CVE-2026-7482 (critical, fixed in 0.17.1): " in found.evidence
    assert "CVE-2025-63389 (critical, no version is known to be without it; only with an address" in found.evidence
    assert "way in which it was installed" in found.fix


def test_what_counts_only_with_something_else_is_good_to_know_and_not_told_of_our_own() -> None:
    (found,) = find_advisories(Facts(), [FoundEngine("ollama", "0.36.0", "at /usr/bin/ollama")])
    assert found.severity is Severity.INFO
    assert not list(find_advisories(Facts(), [FoundEngine("ollama", "0.36.0", "as it is served here", ours=True)]))
    (ours,) = find_advisories(Facts(), [FoundEngine("llamacpp", "b11000", "as it is served here", ours=True)])
    assert ours.severity is Severity.WARNING
    assert "CVE-2026-43631" not in ours.evidence
    assert "fabric lock --upgrade" in ours.fix


@pytest.mark.parametrize("version", [None, "b1", "\x1b[31m9"])
def test_a_version_that_says_nothing_leads_to_nothing(version: str | None) -> None:
    assert not list(find_advisories(Facts(), [FoundEngine("llamacpp", version, "on port 8080")]))


def test_the_day_decides_whether_what_is_known_is_old() -> None:
    known = load_advisories()
    last = date.fromisoformat(known.checked) + timedelta(days=known.stale_after_days)
    assert not list(find_old_advisories(Facts(), last))
    assert not list(find_old_advisories(Facts(), date(2000, 1, 1))), "a clock that is wrong"
    (found,) = find_old_advisories(Facts(), last + timedelta(days=1))
    assert (found.code, found.severity) == ("ENGINE-ADVISORIES-OLD", Severity.WARNING)
    assert f"{known.checked}, {known.stale_after_days + 1} days ago" in found.evidence
    later = datetime.fromisoformat("2099-01-01T00:00:00+00:00").timestamp()
    assert [each.code for each in advisory_findings(Facts(), (), later)] == ["ENGINE-ADVISORIES-OLD"]


def test_programs_on_path_are_asked_and_servers_that_listen_are_known(tmp_path: Path) -> None:
    said = {"ollama": "ollama version is 0.16.0", "llama-server": "version: 11000 (0c1e570)"}
    for name, text in said.items():
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\ntest "$1" = --version && echo "{text}" >&2\n', encoding="utf-8")
        program.chmod(0o755)
    servers = (
        RunningServer(11434, "ollama", "0.17.0", owner="ollama (process 7)"),
        RunningServer(8000, "vllm", "0.21.0"),
        RunningServer(1234, "lmstudio", "0.4"),
    )
    facts = Facts(tools={name: str(tmp_path / name) for name in said}, servers=servers)
    found = {(each.engine, each.version, each.where) for each in engines_here(facts, None, {"PATH": "/bin:/usr/bin"})}
    listening = {("ollama", "0.17.0", "on port 11434 (ollama (process 7))"), ("vllm", "0.21.0", "on port 8000")}
    assert {(each.engine, each.version, each.where) for each in listening_engines(facts)} == listening
    assert found == listening | {
        ("ollama", "0.16.0", f"at {tmp_path}/ollama"),
        ("llamacpp", "b11000", f"at {tmp_path}/llama-server"),
    }
