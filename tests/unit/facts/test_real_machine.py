"""This machine, against what the kernel, the C library and the loader say of it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from provision.facts import cgroup
from provision.facts.detect import detect
from provision.host.machine import LocalMachine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own answers")

MIB = 1 << 20
CHECKOUT = Path(__file__).parents[3]
CHILD = """
import json, os, sys
from dataclasses import asdict
for procs in sys.argv[1:]:
    open(procs, "w").write("0")
from provision.facts.detect import detect
from provision.host.machine import LocalMachine
facts = asdict(detect(LocalMachine(), "/"))
print(json.dumps({**facts, "affinity": len(os.sched_getaffinity(0))}, default=str))
"""
LOADED = """
import ctypes, sys
ctypes.CDLL(sys.argv[1])
print(next(line.split()[-1] for line in open("/proc/self/maps") if "/" + sys.argv[1] in line))
"""


def in_child(*before: str, joining: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the facts that another process finds, started by ``before``, after joining control groups."""
    argv = [*before, sys.executable, "-c", CHILD, *(str(group / "cgroup.procs") for group in joining)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=CHECKOUT, timeout=60)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def test_processors() -> None:
    cpu = detect(LocalMachine(), "/").cpu
    assert cpu.cores_logical == os.sysconf("SC_NPROCESSORS_ONLN")
    affinity = len(os.sched_getaffinity(0))
    limits = cgroup.read_limits(LocalMachine())
    assert cpu.cores_usable is not None
    assert cpu.cores_usable <= affinity
    if limits is None or limits.cpus is None:
        assert cpu.cores_usable == affinity
    assert cpu.cores_physical is None or 1 <= cpu.cores_physical <= affinity


def test_instruction_set() -> None:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    flags = next(line.split(":")[1].split() for line in lines if line.startswith(("flags", "Features")))
    assert detect(LocalMachine(), "/").cpu.isa == tuple(sorted(set(flags)))


def test_memory() -> None:
    memory = detect(LocalMachine(), "/").memory
    assert memory.total_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory.available_bytes is not None
    assert 0 < memory.available_bytes <= min(memory.total_bytes, memory.limit_bytes or memory.total_bytes)


def test_system(tmp_path: Path) -> None:
    facts = detect(LocalMachine(), str(tmp_path / "not" / "there"))
    release = platform.freedesktop_os_release()
    assert (facts.os.distribution, facts.os.version) == (release.get("ID"), release.get("VERSION_ID"))
    assert (facts.os.system, facts.os.kernel) == ("Linux", platform.release())
    name, version = platform.libc_ver()
    if name:
        assert (facts.os.libc.name, facts.os.libc.version) == (name, version)
    free = shutil.disk_usage(tmp_path).free
    assert facts.disk.free_bytes == pytest.approx(free, abs=256 * MIB)


@pytest.mark.parametrize("name", ["libgomp.so.1", "libstdc++.so.6"])
def test_the_loader_finds_the_library_where_we_do(name: str) -> None:
    found = detect(LocalMachine(), "/").libraries[name]
    loaded = subprocess.run([sys.executable, "-c", LOADED, name], capture_output=True, text=True, check=False)
    if found is None:
        assert loaded.returncode != 0, f"the loader has {loaded.stdout}"
    else:
        assert (loaded.returncode, loaded.stderr) == (0, "")
        assert Path(found).samefile(loaded.stdout.strip())


@pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset is not installed")
def test_affinity_limits_what_can_be_used() -> None:
    first = min(os.sched_getaffinity(0))
    facts = in_child("taskset", "--cpu-list", str(first))
    assert (facts["affinity"], facts["cpu"]["cores_usable"]) == (1, 1)
    assert facts["cpu"]["cores_physical"] in (None, 1)
    assert facts["cpu"]["cores_logical"] == os.sysconf("SC_NPROCESSORS_ONLN")
    codes = [finding["code"] for finding in facts["findings"]]
    assert ("CGROUP-CPU" in codes) == (facts["cpu"]["cores_logical"] > 1)


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_few_file_descriptors_suffice() -> None:
    facts = in_child("prlimit", "--nofile=8")
    usual = detect(LocalMachine(), "/")
    found = [(probe["name"], probe["outcome"]) for probe in facts["probes"]]
    assert found == [(probe.name, probe.outcome.value) for probe in usual.probes]
    assert facts["cpu"]["isa"] == list(usual.cpu.isa)


def own_directories(controller: str) -> tuple[tuple[str, ...], bool]:
    """Return this process's group and its ancestors for ``controller``, and whether that is version 1."""
    groups = cgroup.parse_self_cgroup(Path("/proc/self/cgroup").read_text(encoding="utf-8"))
    mounts = cgroup.parse_mountinfo(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    version_1 = [mount for mount in mounts if controller in mount.controllers]
    if version_1 and controller in groups:
        return cgroup.directories(groups[controller], version_1), True
    version_2 = [mount for mount in mounts if not mount.controllers]
    return cgroup.directories(groups.get(cgroup.UNIFIED, "/"), version_2), False


def place_for(controller: str) -> tuple[Path, bool]:
    """Return the nearest group in which a limited one can be made; skips where there is none."""
    if not Path("/proc/self/cgroup").exists():
        pytest.skip("no control groups here")
    directories, version_1 = own_directories(controller)
    for directory in map(Path, directories):
        shared = directory / "cgroup.subtree_control"
        if version_1 or (shared.exists() and controller in shared.read_text(encoding="utf-8").split()):
            if not os.access(directory, os.W_OK) or not os.access(directory / "cgroup.procs", os.W_OK):
                pytest.skip(f"may not make a control group in {directory}")
            return directory, version_1
    pytest.skip(f"the {controller} controller is not to be had here")


@contextmanager
def group_in(parent: Path) -> Iterator[Path]:
    """Make a control group, and remove it when its last process is gone."""
    group = parent / f"fabric-test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"cannot make a control group in {parent}: {error.strerror}")
    try:
        yield group
    finally:
        deadline = time.monotonic() + 10
        while group.exists():
            try:
                group.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def limit(group: Path, **files: str) -> None:
    for name, text in files.items():
        try:
            (group / name.replace("__", ".")).write_text(text, encoding="ascii")
        except OSError as error:
            pytest.skip(f"a group above does not allow {name} {text}: {error.strerror}")


def test_a_real_memory_limit_of_a_parent_is_found() -> None:
    place, version_1 = place_for("memory")
    before = detect(LocalMachine(), "/").memory
    expected = min(512 * MIB, before.limit_bytes or 512 * MIB)
    with group_in(place) as parent:
        limit(parent, **{"memory__limit_in_bytes" if version_1 else "memory__max": str(512 * MIB)})
        with group_in(parent) as leaf:
            memory = in_child(joining=[leaf])["memory"]
    assert memory["limit_bytes"] == expected
    assert before.available_bytes is not None
    assert min(expected, before.available_bytes) - 128 * MIB < memory["available_bytes"] <= expected
    assert memory["total_bytes"] == before.total_bytes


@pytest.mark.parametrize(("quota_us", "usable"), [(50_000, 1), (150_000, 2), (6_400_000, None)])
def test_a_real_quota_of_a_parent_is_found(quota_us: int, usable: int | None) -> None:
    place, version_1 = place_for("cpu")
    before = detect(LocalMachine(), "/").cpu.cores_usable
    assert before is not None
    with group_in(place) as parent:
        if version_1:
            limit(parent, cpu__cfs_period_us="100000", cpu__cfs_quota_us=str(quota_us))
        else:
            limit(parent, cpu__max=f"{quota_us} 100000")
        with group_in(parent) as leaf:
            cores_usable = in_child(joining=[leaf])["cpu"]["cores_usable"]
    assert cores_usable == min(before, usable or before)
