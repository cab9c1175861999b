"""Machines with one thing wrong, and machines that only look like them: tests/cases/findings."""

from __future__ import annotations

from typing import Any

import pytest

from provision.domain.finding import Severity
from provision.facts.findings.engines import find_unfit
from provision.facts.findings.find import CODES, LEARNT_CODES, find
from tests.standin.finding_cases import CASES, TOPICS, build_facts, read_json

LISTED = [(topic, case) for topic in TOPICS for case in read_json(topic)]


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{topic}: {case['case']}") for topic, case in LISTED])
def test_a_machine_has_exactly_its_findings(case: dict[str, Any]) -> None:
    found = find(build_facts(case["facts"]))
    expected = case["findings"]
    assert [finding.code for finding in found] == [code for code, _, _, _ in expected], found
    for finding, (_, severity, evidence, fix) in zip(found, expected, strict=True):
        assert finding.severity.value == severity
        assert [words for words in evidence if words not in finding.evidence] == [], finding.evidence
        assert [words for words in fix if words not in finding.fix] == [], finding.fix


def test_every_code_has_a_machine_that_has_it_and_every_topic_one_that_has_none() -> None:
    seen = {code for _, case in LISTED for code, _, _, _ in case["findings"]}
    none = {topic for topic, case in LISTED if not case["findings"]}
    assert seen == set(CODES) - set(LEARNT_CODES)
    assert none == set(TOPICS)


def test_releases_that_did_not_run_here_are_findings_beside_each_other() -> None:
    unfit = {"llamacpp/archive/cpu@b1": "it needs\x1b[31m AVX-512", "llamacpp/existing/existing-cpu@/x": "too old"}
    first, second = find_unfit(build_facts({}), unfit)
    assert {first.code, second.code} == {"ENGINE-UNFIT"}
    assert {first.severity, second.severity} == {Severity.ERROR}
    assert first.evidence.startswith("llamacpp/archive/cpu@b1: it needs")
    assert "\x1b" not in first.evidence
    assert second.evidence == "llamacpp/existing/existing-cpu@/x: too old"
    assert "fabric up --refresh" in first.fix


def test_every_file_of_cases_is_read() -> None:
    assert {path.stem for path in CASES.glob("*.json")} == {*TOPICS, "systems", "gpus"}
