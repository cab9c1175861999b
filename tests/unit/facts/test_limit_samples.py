"""Every sample of memory and control groups, against its verdict."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.domain.facts import Facts, Memory
from provision.facts.cgroup import parse_self_cgroup
from provision.facts.detect import detect
from provision.facts.memory import MemInfo, parse_meminfo
from provision.host.machine import Machine

Imagine = Callable[..., Machine]

SAMPLES = Path(__file__).parents[2] / "samples"
CGROUP = SAMPLES / "cgroup"
GIB = 1 << 30
KIB = 1 << 10


def sample(path: str) -> str:
    return (SAMPLES / path).read_text(encoding="utf-8")


def test_every_sample_is_read_by_a_test() -> None:
    assert {path.name for path in (SAMPLES / "mem").iterdir()} == {
        "meminfo_desktop_32g.txt",
        "meminfo_no_memavailable_kernel310.txt",
    }
    assert {path.name for path in CGROUP.iterdir()} == {
        "captured_tools_inside_limits.txt",
        "captured_v1_hybrid_proc_self_cgroup.txt",
        "v1_docker_2g_half_cpu.txt",
        "v1_no_limit.txt",
        "v2_container_4g_2cpu.txt",
        "v2_container_unlimited.txt",
    }


def test_meminfo_with_the_kernel_s_own_estimate() -> None:
    info = parse_meminfo(sample("mem/meminfo_desktop_32g.txt"))
    assert info == MemInfo(32780012 * KIB, 24093116 * KIB)


def test_meminfo_of_a_kernel_that_gives_no_estimate() -> None:
    info = parse_meminfo(sample("mem/meminfo_no_memavailable_kernel310.txt"))
    assert info == MemInfo(8010412 * KIB, (1203344 + 201120 + 3310248) * KIB)


def tree(name: str) -> tuple[dict[str, str], str]:
    """Read a flattened tree: the files, and the verdict behind ``expect=``.

    ``path:name=value`` is one line of a file: of /proc/self/cgroup as it is, of others ``name value``.
    """
    files: dict[str, str] = {}
    for line in sample(f"cgroup/{name}").splitlines():
        place, _, value = line.partition("=")
        path, picked, key = place.partition(":")
        text = f"{key} {value}" if picked and path != "/proc/self/cgroup" else value
        files[path] = f"{files.get(path, '')}{text}\n"
    return files, files.pop("expect").strip()


def facts_of(files: dict[str, str], imagine: Imagine, cpus: int = 16, memory: str | None = None) -> Facts:
    """Return what a process finds on a machine of 16 processors and 31 GiB, of which ``cpus`` are allowed."""
    block = "processor\t: {0}\nphysical id\t: 0\ncore id\t: {0}\nflags\t: avx2\n"
    around = {
        "/proc/cpuinfo": "\n".join(block.format(number) for number in range(16)),
        "/proc/meminfo": memory or sample("mem/meminfo_desktop_32g.txt"),
        "/proc/self/status": f"Cpus_allowed_list:\t0-{cpus - 1}\n",
        "/sys/devices/system/cpu/online": "0-15\n",
    }
    facts = detect(imagine({**around, **files}), "/prefix")
    (probe,) = (probe for probe in facts.probes if probe.name == "cgroup")
    assert probe.outcome.value == "ok", probe.detail
    return facts


def test_version_2_container(imagine: Imagine) -> None:
    files, verdict = tree("v2_container_4g_2cpu.txt")
    assert verdict.startswith("total 4 GiB; available = 4294967296 - (3758096384 - 2684354560) = 3 GiB")
    assert verdict.endswith("cpus 2")
    facts = facts_of(files, imagine)
    assert (facts.memory.limit_bytes, facts.memory.available_bytes) == (4 * GIB, 3 * GIB)
    assert facts.cpu.cores_usable == 2


def test_version_2_without_limits_ignores_a_full_page_cache(imagine: Imagine) -> None:
    files, verdict = tree("v2_container_unlimited.txt")
    assert verdict == "no limit: use MemTotal/MemAvailable, ignore memory.current; cpus = affinity"
    facts = facts_of(files, imagine, cpus=3)
    assert facts.memory == Memory(32780012 * KIB, 24093116 * KIB, None)
    assert facts.cpu.cores_usable == 3


def test_version_1_docker(imagine: Imagine) -> None:
    files, verdict = tree("v1_docker_2g_half_cpu.txt")
    assert verdict == "total 2 GiB; available 1.5 GiB; cpus max(1, ceil(0.5)) = 1"
    files["/proc/self/cgroup"] += "4:cpu,cpuacct:/docker/3f1c9a\n"  # the sample shows the line of one controller
    facts = facts_of(files, imagine)
    assert (facts.memory.limit_bytes, facts.memory.available_bytes) == (2 * GIB, 3 * GIB // 2)
    assert facts.cpu.cores_usable == 1


def test_version_1_has_a_number_for_no_limit(imagine: Imagine) -> None:
    files, verdict = tree("v1_no_limit.txt")
    assert verdict.startswith("no limit")
    files["/proc/self/cgroup"] = "9:memory:/\n4:cpu,cpuacct:/\n"
    facts = facts_of(files, imagine)
    assert facts.memory.limit_bytes is None
    assert facts.cpu.cores_usable == 16


def test_captured_membership_of_a_hybrid_system() -> None:
    groups = parse_self_cgroup(sample("cgroup/captured_v1_hybrid_proc_self_cgroup.txt"))
    limited = {name for name, group in groups.items() if group == "/fabtest"}
    assert limited == {"memory", "cpuset", "cpu"}
    assert groups[""] == groups["cpuacct"] == groups["name=systemd"] == "/"


def test_what_other_tools_missed_inside_limits_is_found(imagine: Imagine) -> None:
    text = sample("cgroup/captured_tools_inside_limits.txt")
    measured = {name.strip(): value.strip() for name, value in re.findall(r"^(\S.*?)\s{2,}(.+)$", text, re.MULTILINE)}
    assert measured["truth"] == "1 CPU (half of one), 2 GiB"
    total = measured["/proc/meminfo MemTotal"]
    files = {
        "/proc/self/cgroup": sample("cgroup/captured_v1_hybrid_proc_self_cgroup.txt"),
        "/sys/fs/cgroup/memory/fabtest/memory.limit_in_bytes": f"{2 * GIB}\n",
        "/sys/fs/cgroup/cpu/fabtest/cpu.cfs_quota_us": "50000\n",
        "/sys/fs/cgroup/cpu/fabtest/cpu.cfs_period_us": "100000\n",
        "/sys/devices/system/cpu/online": f"0-{int(measured['os.cpu_count']) - 1}\n",
    }
    allowed = int(measured["os.sched_getaffinity"])
    facts = facts_of(files, imagine, allowed, f"MemTotal:       {total}\nMemAvailable:   {total}\n")
    assert (facts.cpu.cores_logical, facts.cpu.cores_usable) == (2, 1)
    assert (facts.memory.total_bytes, facts.memory.limit_bytes) == (24684096 * KIB, 2 * GIB)
    assert {"CGROUP-MEM", "CGROUP-CPU"} <= {finding.code for finding in facts.findings}


@pytest.mark.parametrize("quota", ["200000 100000", "1600000 100000", "max 100000"])
def test_the_verdict_hangs_on_the_sample(quota: str, imagine: Imagine) -> None:
    files, _ = tree("v2_container_4g_2cpu.txt")
    files["/sys/fs/cgroup/cpu.max"] = f"{quota}\n"
    assert facts_of(files, imagine).cpu.cores_usable == (2 if quota.startswith("2") else 16)
