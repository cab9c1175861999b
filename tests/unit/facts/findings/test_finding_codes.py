"""The codes: those in the source, those in the list, and those on the page are the same."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from provision.facts.findings.find import CODES, LEARNT_CODES
from tests.standin.finding_cases import TOPICS, read_json

ROOT = Path(__file__).parents[4]
PACKAGE = ROOT / "provision" / "facts" / "findings"
PAGE = ROOT / "docs" / "findings.md"
CODE = re.compile(
    r'"((?:NV|AMD|INTEL|VK|GPU|ENGINE|OLLAMA|APPLE|WSL|CGROUP|CPU|LIBC|DISK|INIT|NET|PROBE)-[A-Z0-9-]+|WSL1)"'
)
ROW = re.compile(r"^\| `([A-Z0-9-]+)` \| ([a-z, ]+) \|(.+)\|(.+)\|(.+)\|$", re.MULTILINE)


def test_the_source_has_exactly_the_codes_of_the_list() -> None:
    texts = [path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py") if path.name != "find.py"]
    assert {code for text in texts for code in CODE.findall(text)} == set(CODES)
    assert len(CODES) == len(set(CODES))


def test_the_page_has_exactly_the_codes_of_the_list_in_its_order() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert tuple(code for code, *_ in rows) == CODES
    assert [code for code, _, *columns in rows if not all(column.strip() for column in columns)] == []


def test_the_page_gives_the_severities_that_the_cases_have() -> None:
    seen = defaultdict(set)
    for case in (case for topic in TOPICS for case in read_json(topic)):
        for code, severity, _, _ in case["findings"]:
            seen[code].add(severity)
    seen.update(dict(zip(LEARNT_CODES, ({"error"}, {"info", "warning"}, {"warning"}), strict=True)))
    said = {code: set(words.split(", ")) for code, words, *_ in ROW.findall(PAGE.read_text(encoding="utf-8"))}
    assert said == seen
