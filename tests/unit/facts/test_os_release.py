from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.os_release import OsRelease, parse_os_release, read_os_release
from provision.facts.package_manager import read_package_manager
from provision.host.machine import Machine

SAMPLES = Path(__file__).parents[2] / "samples" / "os"
CASES = Path(__file__).parents[2] / "cases" / "facts"


@pytest.mark.cases("os_release")
def test_parse(case: dict[str, Any]) -> None:
    assert parse_os_release(case["text"]) == OsRelease(
        case["distribution"], case["version"], tuple(case.get("like", ())), case.get("variant"), case.get("ostree")
    )


@pytest.mark.cases("distributions")
def test_sample_of_a_distribution(case: dict[str, Any], imagine: Callable[..., Machine]) -> None:
    machine = imagine({"/etc/os-release": (SAMPLES / case["sample"]).read_text(encoding="utf-8")})
    release = read_os_release(machine)
    assert release is not None
    assert release == OsRelease(case["distribution"], case["version"], tuple(case["like"]), case["variant"])
    assert read_package_manager(machine, release, None, immutable=False) == case["package_manager"]


def test_every_sample_has_a_case() -> None:
    cases = json.loads((CASES / "distributions.json").read_text(encoding="utf-8"))
    assert {case["sample"] for case in cases} == {path.name for path in SAMPLES.glob("os-release.*")}


@pytest.mark.parametrize("text", ["", "\0\1\2", "no assignment here", "NAME=x\n"])
def test_a_file_that_names_no_distribution_makes_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="neither ID nor VERSION_ID"):
        parse_os_release(text)


def test_the_first_file_wins_and_the_second_is_a_fallback(imagine: Callable[..., Machine]) -> None:
    vendor = {"/usr/lib/os-release": "ID=vendor\n"}
    assert read_os_release(imagine(vendor)) == OsRelease("vendor")
    assert read_os_release(imagine({**vendor, "/etc/os-release": "ID=local\n"})) == OsRelease("local")
    assert read_os_release(imagine()) is None


@given(st.text() | st.text(alphabet="ID_LKEVARNT='\"\\ \n=x"))
def test_any_text_is_a_distribution_or_makes_no_sense(text: str) -> None:
    try:
        release = parse_os_release(text)
    except ValueError:
        return
    assert release.distribution or release.version_id
    assert all(release.like)
