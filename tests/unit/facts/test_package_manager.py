from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.facts.os_release import OsRelease
from provision.facts.package_manager import read_package_manager
from provision.host.machine import Machine


@pytest.mark.cases("package_managers")
def test_package_manager(case: dict[str, Any], imagine: Callable[..., Machine]) -> None:
    machine = imagine(dict.fromkeys(case["programs"], ""))
    release = OsRelease(case["distribution"], None, tuple(case["like"]))
    assert read_package_manager(machine, release, case["container"], case["immutable"]) == case["name"]


@pytest.mark.parametrize("directory", ["/usr/bin", "/usr/sbin", "/sbin", "/bin"])
@pytest.mark.parametrize("name", ["apt-get", "dnf", "yum", "zypper", "pacman", "apk", "emerge", "nix", "brew"])
def test_each_is_found_where_systems_have_it(directory: str, name: str, imagine: Callable[..., Machine]) -> None:
    machine = imagine({f"{directory}/{name}": ""})
    assert read_package_manager(machine, OsRelease("unheard-of"), None, immutable=False) == name
