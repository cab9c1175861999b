"""Security advisories: which versions have them; nothing that fabric installs has one that counts by itself."""

from __future__ import annotations

from datetime import date

import pytest

from provision.domain.engine import EngineRelease
from provision.domain.spec import ENGINE_NAMES
from provision.errors import InvalidInputError
from provision.knowledge.advisories import Advisories, advisories_of, load_advisories, why_refused
from provision.knowledge.engine_files import load_engine_file
from provision.knowledge.load import check

RELEASES = [release for name in ENGINE_NAMES for release in load_engine_file(name).releases]
ROW = {"id": "CVE-2026-0001", "engine": "ollama", "summary": "s", "source": "https://x.example", "fixed_in": "1.0"}
FILE = {
    "version": 1,
    "checked": "2026-11-22",
    "stale_after_days": 60,
    "versions": {"ollama": ["([0-9.]+)"]},
    "advisories": [ROW],
}


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: f"{release.name} on {release.system} {release.arch}")
def test_what_fabric_installs_has_no_advisory_that_counts_by_itself(release: EngineRelease) -> None:
    assert why_refused(release.engine, release.version) == ""


@pytest.mark.parametrize(
    ("engine", "version", "advisory", "has"),
    [
        ("llamacpp", "b11392", "CVE-2026-107183", True),
        ("llamacpp", "b11393", "CVE-2026-107183", False),
        ("llamacpp", "b11392-0c1e570", "CVE-2026-107183", True),
        ("llamacpp", "2026.10.11392", "CVE-2026-107183", True),
        ("llamacpp", "2026.10.11549", "CVE-2026-107183", False),
        ("llamacpp", "b1", "CVE-2026-107183", False),
        ("llamacpp", "0.6.0", "CVE-2026-107183", False),
        ("llamacpp", "b7491", "CVE-2026-43631", False),
        ("llamacpp", "b99999", "CVE-2026-43631", True),
        ("ollama", "0.34.1", "CVE-2026-103663", False),
        ("ollama", "0.34.2", "CVE-2026-103663", True),
        ("ollama", "0.34.9-rc1", "CVE-2026-103663", True),
        ("ollama", "0.35.0", "CVE-2026-103663", False),
        ("ollama", "0.35.0-rc1", "CVE-2026-103663", True),
        ("ollama", "0.35.0-2-gabc0123", "CVE-2026-103663", False),
        ("ollama", "0.34.2-rc1", "CVE-2026-103663", True),
        ("vllm", "0.18.0rc1", "CVE-2026-27893", True),
        ("vllm", "0.18.0.dev3+g0c1e570", "CVE-2026-27893", True),
        ("vllm", "0.18.0.post1", "CVE-2026-27893", False),
        ("vllm", "0.18", "CVE-2026-27893", False),
        ("vllm", "0.17.9.post1+cu130", "CVE-2026-27893", True),
        ("vllm", "newest", "CVE-2026-27893", False),
        ("vllm", None, "CVE-2026-27893", False),
    ],
)
def test_a_version_has_what_came_before_it_and_is_mended_after_it(
    engine: str, version: str | None, advisory: str, has: bool
) -> None:
    assert (advisory in {each.id for each in advisories_of(engine, version)}) is has


def test_it_is_told_from_which_version_on_nothing_is_known() -> None:
    assert why_refused("llamacpp", "b11000").endswith("(CVE-2026-107183), b11393 and later have not")
    assert "0.31.0 and later" in why_refused("vllm", "0.18.0"), "the last that is mended, and not the first"
    assert why_refused("ollama", "0.36.0") == "", "what needs something else in use is no reason"


def test_what_is_old_is_told_by_the_day_that_stands_in_the_file() -> None:
    known = check(FILE, Advisories, "test")
    assert known.age_days(date(2026, 11, 22)) == 0
    assert known.age_days(date(2027, 1, 22)) == 61


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("checked", "yesterday", "checked"),
        ("checked", "2026-02-30", "day is out of range"),
        ("advisories", [ROW, ROW], "is there twice"),
        ("advisories", [{**ROW, "fixed_in": "soon"}], "soon is no version of ollama"),
        ("advisories", [{**ROW, "engine": "vllm"}], "1.0 is no version of vllm"),
        ("advisories", [{**ROW, "source": "http://x.example"}], "source"),
        ("advisories", [{**ROW, "id": "CVE-1"}], "id"),
        ("advisories", [{**ROW, "fixd_in": "1"}], "fixd_in"),
        ("stale_after_days", 0, "stale_after_days"),
    ],
)
def test_a_file_that_says_nonsense_is_refused(key: str, value: object, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        check({**FILE, key: value}, Advisories, "test")


def test_every_advisory_says_who_told_it() -> None:
    for each in load_advisories().advisories:
        assert each.id in each.source or "GHSA-" in each.source
