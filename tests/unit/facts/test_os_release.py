from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.facts.os_release import OsRelease, parse_os_release, read_os_release
from provision.host.machine import Machine


@pytest.mark.cases("os_release")
def test_parse(case: dict[str, Any]) -> None:
    assert parse_os_release(case["text"]) == OsRelease(case["distribution"], case["version"])


@pytest.mark.parametrize("text", ["", "\0\1\2", "no assignment here", "NAME=x\n"])
def test_a_file_that_names_no_distribution_makes_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="neither ID nor VERSION_ID"):
        parse_os_release(text)


def test_the_first_file_wins_and_the_second_is_a_fallback(imagine: Callable[..., Machine]) -> None:
    vendor = {"/usr/lib/os-release": "ID=vendor\n"}
    assert read_os_release(imagine(vendor)) == OsRelease("vendor")
    assert read_os_release(imagine({**vendor, "/etc/os-release": "ID=local\n"})) == OsRelease("local")
    assert read_os_release(imagine()) is None
