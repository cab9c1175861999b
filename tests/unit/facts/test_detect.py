from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.domain.facts import Cpu, Disk, Facts, Network, Outcome, Probe
from provision.facts import cgroup
from provision.facts.detect import detect
from provision.facts.probing import Recorder
from provision.host.answer import Response
from provision.host.machine import Access, Command, CommandResult, Listener, LocalMachine, Machine, Platform, Space

Imagine = Callable[..., Machine]

VALID = {
    "/etc/os-release": "ID=debian\nVERSION_ID=12\n",
    "/proc/cpuinfo": "processor\t: 0\nphysical id\t: 0\ncore id\t: 0\nflags\t: avx2 fma f16c bmi2\n\n"
    "processor\t: 1\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n",
    "/proc/self/status": "Cpus_allowed_list:\t0-1\n",
    "/sys/devices/system/cpu/online": "0-1\n",
    "/proc/self/limits": "Limit  Soft Limit  Units\nMax address space    4294967296  bytes\n",
    "/proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 7000000 kB\n",
    "/proc/self/cgroup": "4:memory:/a\n3:cpu:/a\n0::/a/b\n",
    "/proc/self/mountinfo": "22 1 254:1 / / rw - ext4 /dev/root rw\n"
    "30 22 0:26 / /cg rw - cgroup2 cgroup2 rw\n35 31 0:32 / /mem rw - cgroup cgroup rw,memory\n"
    "36 31 0:33 / /cpu rw - cgroup cgroup rw,cpu\n",
    "/cg/a/memory.max": "4000000000\n",
    "/cg/a/memory.current": "100\n",
    "/cg/a/memory.stat": "inactive_file 10\n",
    "/cg/a/b/cpu.max": "150000 100000\n",
    "/mem/a/memory.limit_in_bytes": "3000000000\n",
    "/mem/a/memory.usage_in_bytes": "50\n",
    "/cpu/a/cpu.cfs_quota_us": "100000\n",
    "/cpu/a/cpu.cfs_period_us": "100000\n",
    "/sys/devices/system/node/has_cpu": "0\n",
    "/sys/devices/cpu_core/cpus": "0\n",
    "/proc/net/route": "Iface\tDestination\tGateway\tFlags\neth0\t00000000\t010200C0\t0003\n",
    "/proc/net/ipv6_route": f"{0:032x} 00 {0:032x} 00 {0:032x} 00000400 00000002 00000000 00000003 eth0\n",
    "/sys/bus/pci/devices/0000:00:01.0/class": "0x060400\n",
    "/run/systemd/system/": "",
    "/run/user/1000/systemd/private": "",
    "/etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n",
    "/etc/ld.so.conf.d/x.conf": "/opt/lib\n",
    "/opt/lib/libgomp.so.1": "",
}


ENV = {"XDG_RUNTIME_DIR": "/run/user/1000", "USER": "me"}


def outcomes(facts: Facts) -> dict[str, Outcome]:
    return {probe.name: probe.outcome for probe in facts.probes}


def test_valid_files_are_all_understood(imagine: Imagine) -> None:
    facts = detect(imagine(VALID, env=ENV, free_bytes=1 << 40), "/p")
    assert set(outcomes(facts).values()) == {Outcome.OK}
    assert (facts.cpu.cores_usable, facts.memory.limit_bytes, facts.memory.available_bytes) == (
        1,
        3000000000,
        2999999950,
    )
    assert {name: place for name, place in facts.libraries.items() if place} == {
        "libgomp.so.1": "/opt/lib/libgomp.so.1"
    }
    assert facts.gpus == ()
    assert (facts.os.immutable, facts.os.package_manager, facts.os.vm) == (False, "apt-get", None)
    assert (facts.os.user_services, facts.os.linger) == (True, False)
    assert facts.disk == Disk("/p", 1 << 40, "ext4", noexec=False, network=False, ram_backed=False)
    assert (facts.network.offline, facts.cpu.numa_nodes, facts.cpu.cores_performance) == (False, 1, 1)


@pytest.mark.parametrize(
    ("path", "probe"),
    [
        ("/etc/os-release", "os-release"),
        ("/proc/cpuinfo", "cpuinfo"),
        ("/proc/self/status", "processors"),
        ("/proc/meminfo", "meminfo"),
        ("/proc/self/cgroup", "cgroup"),
        ("/cg/a/memory.max", "cgroup"),
        ("/proc/net/route", "routes"),
        ("/sys/devices/cpu_core/cpus", "core-kinds"),
        ("/sys/devices/system/node/has_cpu", "numa"),
    ],
)
def test_a_file_that_makes_no_sense_fails_its_probe_alone(path: str, probe: str, imagine: Imagine) -> None:
    facts = detect(imagine({**VALID, path: "Cpus_allowed_list:\tnonsense\n"}, free_bytes=1), "/p")
    failed = [name for name, outcome in outcomes(facts).items() if outcome is Outcome.FAILED]
    assert failed == [probe]


def test_mounts_that_make_no_sense_leave_what_hangs_on_them_unknown(imagine: Imagine) -> None:
    mounts = {"/proc/self/mountinfo": "22 1 254:1 / / rw - ext4 /dev/root rw\n30 22 0:"}
    facts = detect(imagine({**VALID, **mounts}, free_bytes=1), "/p")
    assert outcomes(facts)["mounts"] is Outcome.FAILED
    assert outcomes(facts)["filesystem"] is outcomes(facts)["immutable"] is Outcome.MISSING
    assert (facts.disk, facts.os.immutable) == (Disk("/p", 1), None)


def test_proxies_and_gpu_variables_are_read_on_every_system(imagine: Imagine) -> None:
    env = {"https_proxy": "http://me:word@proxy:3128", "NO_PROXY": ".lan", "CUDA_VISIBLE_DEVICES": ""}
    for system in ("Linux", "Darwin", "FreeBSD"):
        facts = detect(imagine(env=env, platform=Platform(system, "x86_64")), "/p")
        assert facts.network == Network(None, {"https": "http://proxy:3128"}, ".lan")
        assert facts.gpu_env == {"CUDA_VISIBLE_DEVICES": ""}


def test_a_machine_that_raises_leaves_null_facts_and_a_record(
    monkeypatch: pytest.MonkeyPatch, imagine: Imagine
) -> None:
    def broken(machine: Machine) -> None:
        raise OSError("the file system is gone")

    monkeypatch.setattr(cgroup, "read_limits", broken)
    facts = detect(imagine(VALID), "/p")
    (record,) = (probe for probe in facts.probes if probe.name == "cgroup")
    assert (record.outcome, record.detail) == (Outcome.FAILED, "/proc/self/cgroup: the file system is gone")
    assert (facts.memory.limit_bytes, facts.cpu.cores_usable) == (None, 2)


def test_recorder_tells_the_three_endings_apart() -> None:
    record = Recorder()

    def slow() -> int:
        raise TimeoutError("/bin/slow: no answer")

    def wrong() -> int:
        raise ValueError

    assert record.run("found", "x", lambda: 1, 0) == 1
    assert record.run("absent", "x", lambda: None, 0) == 0
    assert record.run("slow", "x", slow, 0) == 0
    assert record.run("wrong", "x", wrong, 0) == 0
    assert [(probe.name, probe.outcome, probe.detail) for probe in record.probes] == [
        ("found", Outcome.OK, None),
        ("absent", Outcome.MISSING, "nothing readable: x"),
        ("slow", Outcome.FAILED, "timed out: /bin/slow: no answer"),
        ("wrong", Outcome.FAILED, "x: ValueError"),
    ]
    assert all(probe.duration_ms >= 0 for probe in record.probes)


def test_an_assertion_of_a_test_s_machine_is_not_swallowed() -> None:
    def unknown() -> Probe:
        raise AssertionError("the capture does not hold it")

    with pytest.raises(AssertionError, match="does not hold"):
        Recorder().run("probe", "x", unknown, Probe("", Outcome.OK, 0.0))


def test_no_program_is_run_on_linux(imagine: Imagine) -> None:
    class Quiet(LocalMachine):
        def run(self, command: Command) -> CommandResult:
            raise AssertionError(f"ran {command.argv}")

    if LocalMachine().platform.system != "Linux":
        pytest.skip("not Linux")
    assert detect(Quiet(), "/").os.system == "Linux"


def test_an_unknown_system_is_no_error(imagine: Imagine) -> None:
    facts = detect(imagine(platform=Platform("FreeBSD", "amd64", "14.3")), "/p")
    assert (facts.os.system, facts.os.arch, facts.os.kernel, facts.cpu) == ("FreeBSD", "x86_64", "14.3", Cpu())


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, provision.facts.detect; print(*sys.modules)"
    heavy = {"yaml", "psutil", "msgspec", "rich", "typer", "jinja2", "urllib3", "json", "importlib.metadata"}
    heavy |= {"csv", "ctypes", "concurrent.futures", "ssl", "urllib.request", "xml.etree.ElementTree"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy & set(done.stdout.split()) == set()


class NoisyMachine:
    """Answers every question with the next of some texts, whatever the path."""

    def __init__(self, texts: list[str | None], platform: Platform, env: dict[str, str]) -> None:
        self._texts = texts
        self._asked = 0
        self.platform = platform
        self.env = env

    def _next(self) -> str | None:
        self._asked += 1
        return self._texts[self._asked % len(self._texts)]

    def read_text(self, path: str) -> str | None:
        return self._next()

    def list_dir(self, path: str) -> tuple[str, ...]:
        return tuple((self._next() or "").split())

    def exists(self, path: str) -> bool:
        return self._next() is not None

    def link_target(self, path: str) -> str | None:
        return self._next()

    def access(self, path: str) -> Access | None:
        answer = self._next()
        return None if answer is None else Access(len(answer) % 2 == 0, answer)

    def space(self, path: str) -> Space | None:
        return Space(len(self._next() or ""))

    def listeners(self, ports: Sequence[int]) -> tuple[Listener, ...]:
        return tuple(Listener(port, self._next()) for port in ports if self._next())

    def http_get(self, port: int, path: str) -> Response:
        body = (self._next() or "").encode()
        return Response(200, body, headers={"server": self._next() or ""}) if body else Response(0, error="x")

    def interrupt(self) -> None:
        pass

    def run(self, command: Command) -> CommandResult:
        return CommandResult(len(self._next() or "") % 128, self._next() or "", "")


noise = st.binary(max_size=80).map(lambda data: data.decode("utf-8", errors="replace"))
pieces = st.lists(st.one_of(noise, st.sampled_from([*VALID.values(), "\n", ":", "-", "0::/", "max", "\0"])), max_size=4)
texts = st.one_of(noise, pieces.map("".join))
platforms = st.builds(
    Platform,
    system=st.sampled_from(["Linux", "Linux", "Darwin", ""]),
    machine=st.sampled_from(["x86_64", "aarch64", "arm64", ""]),
    release=st.none() | noise,
    libc=st.sampled_from([None, "glibc 2.36", "glibc", "musl 1.2"]) | noise,
)
variables = ["LD_LIBRARY_PATH", "container", "KUBERNETES_SERVICE_HOST", "XDG_RUNTIME_DIR", "USER", "http_proxy"]
environments = st.dictionaries(st.sampled_from([*variables, "NO_PROXY", "CUDA_VISIBLE_DEVICES"]), noise)


def check(facts: Facts) -> None:
    usable, logical = facts.cpu.cores_usable, facts.cpu.cores_logical
    fast, physical = facts.cpu.cores_performance, facts.cpu.cores_physical
    assert fast is None or 1 <= fast <= (physical or fast)
    assert usable is None or usable >= 1
    assert logical is None or logical >= 1
    memory = facts.memory
    assert all(size is None or size >= 0 for size in (memory.total_bytes, memory.available_bytes, memory.limit_bytes))
    assert list(facts.cpu.isa) == sorted(set(facts.cpu.isa))


@settings(max_examples=300)
@given(st.lists(st.none() | texts, min_size=1, max_size=12), platforms, environments)
def test_noise_never_raises(answers: list[str | None], platform: Platform, env: dict[str, str]) -> None:
    check(detect(NoisyMachine(answers, platform, env), "/p"))


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(VALID)), texts, min_size=1, max_size=3))
def test_noise_in_some_files_of_a_good_machine_never_raises(imagine: Imagine, noisy: dict[str, str]) -> None:
    check(detect(imagine({**VALID, **noisy}), "/p"))
