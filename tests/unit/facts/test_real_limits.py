"""This machine inside limits and namespaces that are really there, where it lets us make them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from provision.facts import cgroup
from provision.facts.detect import detect
from provision.host.machine import LocalMachine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for limits")

MIB = 1 << 20
CHECKOUT = Path(__file__).parents[3]
CHILD = """
import json, os, sys
from dataclasses import asdict
for procs in sys.argv[2:]:
    open(procs, "w").write("0")
from provision.facts.detect import detect
from provision.host.machine import LocalMachine
facts = asdict(detect(LocalMachine(), sys.argv[1]))
print(json.dumps({**facts, "affinity": len(os.sched_getaffinity(0))}, default=str))
"""


def in_child(*before: str, joining: Sequence[Path] = (), prefix: str = "/") -> dict[str, Any]:
    """Return the facts that another process finds, started by ``before``, after joining control groups."""
    argv = [*before, sys.executable, "-c", CHILD, prefix, *(str(group / "cgroup.procs") for group in joining)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=CHECKOUT, timeout=60)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


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
@pytest.mark.parametrize("resource", ["--nofile=8", "--as=536870912", "--cpu=5", "--stack=262144"])
def test_few_resources_suffice(resource: str) -> None:
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit is not installed")
    facts = in_child("prlimit", resource)
    usual = json.loads(json.dumps(asdict(detect(LocalMachine(), "/")), default=str))
    for room in ("os", "cpu", "libraries", "network", "gpu_env"):
        assert facts[room] == usual[room]
    assert facts["memory"]["total_bytes"] == usual["memory"]["total_bytes"]
    limited = int(resource.partition("=")[2]) if resource.startswith("--as") else None
    assert facts["memory"]["address_space_bytes"] == limited


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


def test_a_real_set_of_processors_is_found() -> None:
    place, version_1 = place_for("cpuset")
    before = detect(LocalMachine(), "/").cpu
    first = min(os.sched_getaffinity(0))
    memory_nodes = (place / ("cpuset.mems" if version_1 else "cpuset.mems.effective")).read_text(encoding="ascii")
    with group_in(place) as group:
        limit(group, cpuset__mems=memory_nodes.strip(), cpuset__cpus=str(first))
        facts = in_child(joining=[group])
    assert (facts["affinity"], facts["cpu"]["cores_usable"]) == (1, 1)
    assert facts["cpu"]["cores_logical"] == before.cores_logical
    assert facts["cpu"]["cores_physical"] in (None, 1)


def unshared(*namespaces: str, script: str = "true") -> list[str]:
    """Return what starts a program in namespaces of its own, after a shell script; skips where that may not be."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    start = ["unshare", *namespaces, "--map-root-user", "sh", "-c", f'{script} && exec "$@"', "sh"]
    tried = subprocess.run([*start, "true"], capture_output=True, text=True, check=False, timeout=20)
    if tried.returncode != 0:
        pytest.skip(f"no namespaces here: {tried.stderr.strip()}")
    return start


def test_without_a_network_this_machine_is_offline() -> None:
    assert in_child(*unshared("--net"))["network"]["offline"] is True


def test_memory_that_nothing_may_be_started_from(tmp_path: Path) -> None:
    start = unshared("--mount", script=f"mount -t tmpfs -o noexec,size=1m none {shlex.quote(str(tmp_path))}")
    disk = in_child(*start, prefix=f"{tmp_path}/not/there")["disk"]
    assert (disk["filesystem"], disk["noexec"], disk["network"], disk["ram_backed"]) == ("tmpfs", True, False, True)
    assert disk["free_bytes"] <= MIB


def test_a_mount_that_covers_another(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    above, under = shlex.quote(str(tmp_path)), shlex.quote(str(below))
    script = f"mount -t tmpfs none {under} && mount -t ramfs none {above} && mkdir -p {under}/x"
    disk = in_child(*unshared("--mount", script=script), prefix=f"{below}/x")["disk"]
    assert (disk["filesystem"], disk["ram_backed"]) == ("ramfs", True)


def test_a_read_only_root_takes_no_packages() -> None:
    facts = in_child(*unshared("--mount", script="mount -o remount,bind,ro /"))
    assert facts["os"]["immutable"] is True
    assert facts["os"]["package_manager"] is None


def test_what_a_link_leads_to_counts(tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    (tmp_path / "link").symlink_to("mounted")
    start = unshared("--mount", script=f"mount -t tmpfs -o noexec none {shlex.quote(str(tmp_path / 'mounted'))}")
    disk = in_child(*start, prefix=str(tmp_path / "link" / "prefix"))["disk"]
    assert (disk["filesystem"], disk["noexec"], disk["ram_backed"]) == ("tmpfs", True, True)
