"""This machine, against what the kernel, the C library and the loader say of it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.facts import cgroup
from provision.facts.detect import detect
from provision.host.machine import LocalMachine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own answers")

MIB = 1 << 20
LOADED = """
import ctypes, sys
ctypes.CDLL(sys.argv[1])
print(next(line.split()[-1] for line in open("/proc/self/maps") if "/" + sys.argv[1] in line))
"""


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


def ask(*argv: str) -> str:
    """Return what a program prints, in English; skips where it is not installed."""
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    env = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env, timeout=20)
    return done.stdout


def test_processors_as_nproc_and_lscpu_count_them() -> None:
    cpu = detect(LocalMachine(), "/").cpu
    assert cpu.cores_usable is not None
    assert cpu.cores_usable <= int(ask("nproc"))
    assert cpu.cores_logical == int(ask("nproc", "--all"))
    rows = [line.split(",") for line in ask("lscpu", "-p=CPU,CORE,SOCKET").splitlines() if not line.startswith("#")]
    cores = {(core, socket) for number, core, socket in rows if int(number) in os.sched_getaffinity(0)}
    assert cpu.cores_physical in (None, len(cores))


def test_processor_as_lscpu_names_it() -> None:
    cpu = detect(LocalMachine(), "/").cpu
    fields = {entry["field"].rstrip(":"): entry["data"] for entry in flat(json.loads(ask("lscpu", "-J"))["lscpu"])}
    if "Model name" in fields and cpu.vendor != "ARM":
        assert (cpu.vendor, cpu.model) == (fields["Vendor ID"], fields["Model name"])
    assert set(cpu.isa) == set(fields.get("Flags", " ".join(cpu.isa)).split())
    with_processors = [
        data for name, data in fields.items() if name.startswith("NUMA node") and name.endswith("CPU(s)")
    ]
    assert cpu.numa_nodes in (None, len([data for data in with_processors if data]))


def flat(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Newer versions of lscpu nest what belongs together."""
    return [found for entry in entries for found in (entry, *flat(entry.get("children", [])))]


def test_file_system_as_findmnt_finds_it(tmp_path: Path) -> None:
    for place in (tmp_path.resolve(), Path("/sys/fs/cgroup"), Path("/proc"), Path("/")):
        found = json.loads(ask("findmnt", "--json", "--target", str(place)) or "{}").get("filesystems", [])
        disk = detect(LocalMachine(), str(place)).disk
        if found and not place.is_symlink():
            assert disk.filesystem == found[-1]["fstype"]
            assert disk.noexec is ("noexec" in found[-1]["options"].split(","))


def test_routes_as_ip_lists_them() -> None:
    offline = detect(LocalMachine(), "/").network.offline
    listed = [json.loads(ask("ip", "-json", family, "route", "show", "default") or "[]") for family in ("-4", "-6")]
    if any(route.get("dev") != "lo" for routes in listed for route in routes):
        assert offline is False
    if offline:
        assert not json.loads(ask("ip", "-json", "-4", "route", "get", "192.0.2.1") or "[]")


# What systemd calls them, and what they are called here. It names a cloud only where the firmware says so in time.
HYPERVISORS = {"none": None, "microsoft": "hyper-v", "oracle": "virtualbox", "vm-other": "vm"}


def test_surroundings_as_systemd_detects_them() -> None:
    system = detect(LocalMachine(), "/").os
    name = ask("systemd-detect-virt", "--vm").strip()
    assert system.vm == HYPERVISORS.get(name, name) or (name == "kvm" and system.vm in ("amazon", "google"))
    container = ask("systemd-detect-virt", "--container").strip()
    if container in ("docker", "podman", "lxc", "systemd-nspawn"):
        assert system.container in (container, "kubernetes", "toolbox")
    elif container == "none":
        assert system.container is None


def test_system_as_its_own_files_and_programs_show_it() -> None:
    system = detect(LocalMachine(), "/").os
    first = Path("/proc/1/comm").read_text(encoding="utf-8").strip()
    if system.container is None:
        assert (system.init == "systemd") is (first == "systemd")
    if system.init == "systemd" and system.user_services and "XDG_RUNTIME_DIR" in os.environ:
        assert Path(os.environ["XDG_RUNTIME_DIR"], "systemd", "private").is_socket()
    if system.package_manager is not None:
        assert shutil.which(system.package_manager, path="/usr/bin:/usr/sbin:/sbin:/bin") is not None
    read_only = any(os.statvfs(place).f_flag & os.ST_RDONLY for place in ("/", "/usr"))
    if read_only:
        assert system.immutable is True
