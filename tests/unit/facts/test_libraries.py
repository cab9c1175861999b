from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.facts.libraries import WANTED, expand, parse_search_path, read_libraries
from provision.host.machine import Machine

Imagine = Callable[..., Machine]


@pytest.mark.cases("libraries")
def test_where_the_loader_finds_libgomp(case: dict[str, Any], imagine: Imagine) -> None:
    machine = imagine(case["files"], env=case.get("env"))
    found = read_libraries(machine, case.get("arch", "x86_64"), case.get("libc", "glibc"))
    assert found == {name: case["path"] if name == "libgomp.so.1" else None for name in WANTED}


def test_each_wanted_library_is_answered(imagine: Imagine) -> None:
    machine = imagine({f"/usr/lib64/{name}": "" for name in WANTED})
    assert read_libraries(machine, None, None) == {name: f"/usr/lib64/{name}" for name in WANTED}


def test_search_path_leaves_out_what_depends_on_the_working_directory() -> None:
    assert parse_search_path("/a:/b/;;c:./d:\n/e") == ("/a", "/b", "/e")


def test_wildcards_in_any_part(imagine: Imagine) -> None:
    machine = imagine({"/etc/x1/a.conf": "", "/etc/x2/a.conf": "", "/etc/y/a.conf": ""})
    assert expand(machine, "/etc/x[12]/*.conf") == ["/etc/x1/a.conf", "/etc/x2/a.conf"]
    assert expand(machine, "/etc/plain.conf") == ["/etc/plain.conf"]
