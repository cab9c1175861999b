"""What holds for findings on any machine, also on one that cannot be."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from provision.domain.facts import Cpu, Disk, Facts, Libc, Memory, Network, OperatingSystem, Outcome, Probe
from provision.domain.finding import Severity
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory, GpuState, ListedDevice, Obstacle, Vulkan, VulkanDevice
from provision.facts.findings.find import CODES, find
from provision.facts.findings.wording import MAX_CHARACTERS, plain
from provision.knowledge.versions import numbers
from tests.standin.finding_cases import build_facts

ROOT = Path(__file__).parents[4]


def one_of(*known: str) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from(known) | st.text(max_size=20)


SIZES = st.none() | st.integers(-1, 1 << 62) | st.sampled_from([1 << 35, 1 << 34])
FLAGS = st.none() | st.booleans()
VERSIONS = one_of("470.256.02", "570.133.07", "6.7.0", "2.12", "2.31", "9" * 5000, "1.2.3.4.5.6.7.8", "{0}")
MEMORIES = st.builds(
    GpuMemory, st.sampled_from(["dedicated", "unified", "unknown"]), SIZES, SIZES, one_of("gtt", "vram", "working-set")
)
ENVIRONMENT = st.dictionaries(
    st.sampled_from(["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HSA_OVERRIDE_GFX_VERSION"]) | st.text(max_size=9),
    st.text(max_size=300) | st.just("10.3.0"),
    max_size=3,
)
SYSTEMS = st.builds(
    OperatingSystem,
    system=one_of("Linux", "Darwin"),
    distribution=one_of("ubuntu", "debian", "fedora", "arch", "nixos", "opensuse-leap"),
    arch=one_of("x86_64", "aarch64", "arm64"),
    libc=st.builds(Libc, one_of("glibc", "musl"), VERSIONS),
    kernel=one_of("6.14.0-1018-oem", "6.8.0-45-generic", "6.18.4"),
    container=one_of("docker", "podman", "kubernetes", "lxc"),
    wsl=st.sampled_from([None, 1, 2]),
    init=one_of("systemd"),
    like=st.lists(st.sampled_from(["ubuntu", "debian", "rhel", "suse"]), max_size=2).map(tuple),
    immutable=FLAGS,
    package_manager=one_of("apt-get", "dnf"),
    vm=one_of("kvm"),
    user_services=FLAGS,
    linger=FLAGS,
    translated=FLAGS,
)
GPUS = st.builds(
    Gpu,
    vendor=one_of("nvidia", "amd", "intel", "apple"),
    name=st.none() | st.text(max_size=400),
    pci=one_of("0000:01:00.0"),
    arch=one_of("3.7", "6.1", "8.9", "gfx803", "gfx1036", "gfx1100", "gfx1151"),
    integrated=FLAGS,
    state=st.sampled_from(GpuState),
    apis=st.lists(st.sampled_from(["cuda", "rocm", "vulkan", "level-zero", "metal", "x"]), max_size=3).map(tuple),
    memory=MEMORIES,
    driver=VERSIONS,
    driver_name=one_of("nvidia", "nouveau", "amdgpu", "radeon", "i915", "xe", "vfio-pci"),
    device_id=one_of("10de:2504", "10de:1c03", "1002:744c", "8086:56a0"),
    uuid=st.none() | st.text(max_size=20),
    obstacle=st.none() | st.sampled_from(Obstacle),
    detail=st.none() | st.text(max_size=400),
    masked=FLAGS,
    partitioned=FLAGS,
    instances=st.lists(st.builds(GpuInstance), max_size=1).map(tuple),
    access_group=one_of("render", "root", "992"),
    l4t=one_of("36.4.3"),
    uvm=FLAGS,
)
DEVICES = st.builds(
    VulkanDevice,
    st.integers(0, 9),
    st.none() | st.text(max_size=9),
    one_of("cpu", "discrete"),
    driver=one_of("MESA_RADV"),
    dropped=one_of("software", "duplicate of 0"),
)
PROBES = st.builds(
    Probe,
    st.text(max_size=9),
    st.sampled_from(Outcome),
    st.floats(0, 1e9),
    one_of("timed out: rocminfo: no answer", "timed out: ", "x was ended by signal 11"),
)
LISTED = st.builds(
    ListedDevice, st.text(max_size=9), one_of("cuda", "vulkan"), st.text(max_size=400), st.just(1 << 30), st.just(0)
)
ANY_FACTS = st.builds(
    Facts,
    os=SYSTEMS,
    cpu=st.builds(Cpu, model=st.none() | st.text(max_size=9), isa=st.just(()) | st.just(("avx2",))),
    memory=st.builds(Memory, SIZES, SIZES, SIZES),
    disk=st.builds(Disk, st.text(max_size=200), SIZES, one_of("tmpfs"), FLAGS, FLAGS, FLAGS),
    gpus=st.lists(GPUS, max_size=3).map(tuple),
    libraries=st.just({}) | st.just({"libcuda.so.1": None}),
    probes=st.lists(PROBES, max_size=2).map(tuple),
    network=st.builds(Network, FLAGS, st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=2)),
    vulkan=st.builds(
        Vulkan,
        one_of("/usr/lib/libvulkan.so.1"),
        st.lists(st.sampled_from(["/a/radeon_icd.json", "/a/amd_icd64.json", "/a b/lvp_icd.json"]), max_size=2).map(
            tuple
        ),
        st.none() | st.lists(DEVICES, max_size=2).map(tuple),
    ),
    gpu_env=ENVIRONMENT,
    listed_devices=st.none() | st.lists(LISTED, max_size=2).map(tuple),
)


@settings(max_examples=400)
@given(ANY_FACTS)
def test_any_facts_have_findings_that_can_be_told(facts: Facts) -> None:
    found = find(facts)
    assert found == find(facts)
    order = [Severity.ERROR, Severity.WARNING, Severity.INFO]
    assert [order.index(one.severity) for one in found] == sorted(order.index(one.severity) for one in found)
    for one in found:
        assert one.code in CODES
        assert one.fix
        assert one.evidence
        assert one.evidence.isprintable()
        assert all(line and line.isprintable() for line in one.fix.split("\n"))


@given(st.text(max_size=2000))
def test_what_a_machine_says_stays_one_short_line(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert len(shown) <= MAX_CHARACTERS


@given(st.text(max_size=50))
def test_a_version_is_numbers_or_nothing(text: str) -> None:
    assert all(part >= 0 for part in numbers(text))


def test_nothing_known_is_nothing_found() -> None:
    assert find(Facts()) == ()


def test_a_name_cannot_leave_its_place_in_a_command() -> None:
    facts = build_facts({"gpus": [{"like": "rx7900xtx", "state": "driver", "apis": [], "obstacle": "no-permission"}]})
    evil = replace(facts, gpus=(replace(facts.gpus[0], access_group="render; rm -rf ~"),))
    (finding,) = find(evil)
    assert "sudo usermod -aG 'render; rm -rf ~' \"$USER\"" in finding.fix


def test_the_fixes_are_read_only_when_there_is_something_to_fix() -> None:
    wanted = {"gpus": [{"like": "rtx4090"}, {"like": "rx7900xtx"}, {"like": "arc-a770"}]}
    script = f"""import sys
from provision.facts.findings.find import find
from tests.standin.finding_cases import build_facts
assert find(build_facts({wanted!r})) == ()
print("provision.knowledge.fixes" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_without_a_gpu_no_data_file_and_no_rule_for_gpus_is_loaded() -> None:
    script = (
        "import sys; from provision.domain.facts import Facts, Disk; from provision.facts.findings.find import find;"
        "find(Facts(disk=Disk('/prefix', 1 << 40)));"
        "heavy = ('yaml', 'msgspec', 'json', 'provision.knowledge.load', 'provision.facts.findings.amd');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_healthy_machine_loads_nothing() -> None:
    script = """import sys
from provision.facts.findings.find import find
from tests.standin.finding_cases import build_facts
facts = build_facts({})
before = set(sys.modules)
assert find(facts) == ()
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
