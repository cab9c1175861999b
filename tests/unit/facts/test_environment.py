from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.domain.facts import Libc
from provision.facts.environment import (
    Environment,
    normalise_arch,
    parse_libc,
    read_environment,
    read_kernel,
    read_libc,
)
from provision.host.machine import Machine, Platform

Imagine = Callable[..., Machine]


@pytest.mark.cases("environment")
def test_markers(case: dict[str, Any], imagine: Imagine) -> None:
    platform = Platform("Linux", "x86_64", case["release"], "glibc 2.36")
    machine = imagine(case["files"], env=case.get("env"), platform=platform)
    kernel = case["release"] or case["files"]["/proc/sys/kernel/osrelease"].strip()
    expected = Environment(kernel, case["container"], case["wsl"], case["init"], case.get("vm"))
    assert read_environment(machine, case.get("isa", ())) == expected


@pytest.mark.parametrize(
    ("system", "machine", "arch"),
    [
        ("Linux", "x86_64", "x86_64"),
        ("Linux", "amd64", "x86_64"),
        ("Windows", "AMD64", "x86_64"),
        ("Linux", "aarch64", "aarch64"),
        ("Linux", "arm64", "aarch64"),
        ("Darwin", "arm64", "arm64"),
        ("Darwin", "x86_64", "x86_64"),
        ("Linux", "riscv64", "riscv64"),
        ("Linux", "", None),
    ],
)
def test_arch(system: str, machine: str, arch: str | None) -> None:
    assert normalise_arch(system, machine) == arch


def test_libc_is_what_it_says_of_itself() -> None:
    assert parse_libc("glibc 2.36") == Libc("glibc", "2.36")
    with pytest.raises(ValueError, match="unpack"):
        parse_libc("2.36")


@pytest.mark.parametrize(
    ("libc", "files", "expected"),
    [
        (None, {"/lib/ld-musl-x86_64.so.1": ""}, Libc("musl")),
        (None, {"/lib/ld-musl-aarch64.so.1": ""}, Libc("musl")),
        (None, {"/lib/ld-linux-x86-64.so.2": "", "/lib/ld-musl-readme": ""}, None),
        ("glibc 2.36", {"/lib/ld-musl-x86_64.so.1": ""}, Libc("glibc", "2.36")),
    ],
)
def test_musl_by_its_loader(libc: str | None, files: dict[str, str], expected: Libc | None, imagine: Imagine) -> None:
    assert read_libc(imagine(files, platform=Platform("Linux", "x86_64", "6.1", libc))) == expected


def test_kernel_is_what_the_system_call_says_or_the_file(imagine: Imagine) -> None:
    files = {"/proc/sys/kernel/osrelease": "6.2.0\n"}
    assert read_kernel(imagine(files, platform=Platform("Linux", "x86_64", "6.1.0"))) == "6.1.0"
    assert read_kernel(imagine(files, platform=Platform("Linux", "x86_64"))) == "6.2.0"
    assert read_kernel(imagine(platform=Platform("Linux", "x86_64"))) is None
