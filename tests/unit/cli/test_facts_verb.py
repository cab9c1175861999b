from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import msgspec
import pytest

from provision.cli import output
from provision.cli.facts_view import show_facts
from provision.domain.facts import Cpu, Disk, Facts, Memory, Network, OperatingSystem, Outcome, Probe
from provision.domain.fingerprint import RunningServer
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory, GpuState, ListedDevice, Obstacle, Vulkan, VulkanDevice
from provision.facts.replayed import read_replay
from tests.standin.command import Fabric
from tests.standin.command import Outcome as Run
from tests.unit.cli.conftest import HOSTS

GIB = 1 << 30
USAGE, INVALID, CANNOT_CREATE = 64, 65, 73


def refused(run: Run, status: int, *told: str) -> None:
    """Check that a run with ``--json`` ended in an error of the contract that names what is wrong."""
    assert run.returncode == status, run.said
    error = run.json["error"]
    assert error.keys() == {"code", "message", "hint"}
    assert [word for word in told if word not in f"{error['message']} {error['hint']}"] == []
    assert "Traceback" not in run.said
    assert "bug in fabric" not in run.said


def same(document: Any) -> Any:
    """Leave out what differs from one look to the next."""
    left = {key: value for key, value in document.items() if key not in ("schema", "capture")}
    left["probes"] = sorted(({**probe, "duration_ms": 0} for probe in left["probes"]), key=lambda probe: probe["name"])
    return left


def test_a_capture_replays_as_what_was_shown(fabric: Fabric) -> None:
    env = {"USER": "alicex", "HF_TOKEN": "abcdefgh12345678", "http_proxy": "http://alicex:pw@pelican7.acme.example:1"}
    taken = fabric.succeed("facts", "--capture", "cap", env=env)
    assert taken["capture"]["path"] == str(fabric.home / "cap")
    assert "platform.json" in taken["capture"]["files"]
    replayed = fabric.succeed("facts", "--replay", "cap", env=env)
    assert taken["network"]["proxies"] == {"http": "http://pelican7.acme.example:1"}
    assert replayed["network"]["proxies"] == {"http": "http://host:1"}
    redacted = json.dumps(same(taken)).replace("pelican7.acme.example", "host").replace("alicex", "user")
    assert same(replayed) == json.loads(redacted)
    files = [path for path in (fabric.home / "cap").rglob("*") if path.is_file()]
    everything = "".join(f"{path.relative_to(fabric.home)}{path.read_text()}" for path in files)
    assert [word for word in ("alicex", "pelican7", "abcdefgh12345678") if word in everything] == []


def test_people_are_told_where_it_is_and_to_look_at_it(fabric: Fabric) -> None:
    run = fabric("facts", "--capture", "cap")
    assert (run.returncode, run.stderr) == (0, "")
    assert f"Captured into {fabric.home / 'cap'}: " in run.stdout
    assert "Look at it before you give it away." in run.stdout


@pytest.mark.parametrize("host", ["linux-alpine3.22", "darwin-m1-8gb", "linux-no-proc", "linux-ubuntu22.04-wsl2"])
def test_another_machine_is_shown_by_the_same_code(fabric: Fabric, host: str) -> None:
    document = fabric.succeed("facts", "--replay", str(HOSTS / host))
    assert document["schema"] == "fabric.facts/v1"
    assert same(document) == same(json.loads(msgspec.json.encode(read_replay(HOSTS / host))))
    run = fabric("facts", "--replay", str(HOSTS / host))
    assert run.stdout.startswith("System\n")
    assert "\033[" not in run.stdout


def test_what_is_no_capture_is_refused(fabric: Fabric, tmp_path: Path) -> None:
    def attempt(**files: str) -> Run:
        directory = tmp_path / f"capture-{len(list(tmp_path.iterdir()))}"
        directory.mkdir()
        for name, text in files.items():
            (directory / f"{name}.json").write_text(text)
        return fabric("facts", "--json", "--replay", str(directory))

    good = '{"system": "Linux", "machine": "x86_64"}'
    assert attempt(platform=good).returncode == 0
    refused(attempt(), INVALID, "platform.json is missing")
    refused(attempt(platform="<html><body>502 Bad Gateway</body></html>"), INVALID, "platform.json")
    refused(attempt(platform=good, commands='{"nvidia-smi": 1}'), INVALID, "commands.json")
    refused(attempt(platform=good, env="[1]"), INVALID, "env.json")
    refused(attempt(platform='{"version": 99}'), INVALID, "newer fabric", "99")
    refused(fabric("facts", "--json", "--replay", "nowhere"), INVALID, "nowhere")
    refused(
        fabric("facts", "--json", "--replay", str(HOSTS / "linux-no-proc" / "platform.json")), INVALID, "hold facts"
    )
    refused(fabric("facts", "--json", "--replay", str(HOSTS)), INVALID, "several captures")
    refused(fabric("facts", "--json", "--replay", "a", "--capture", "b"), USAGE, "--capture", "--replay")


def limited() -> None:
    """Let this process write no file longer than 100 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


def test_a_place_where_nothing_can_be_written_is_refused(fabric: Fabric) -> None:
    (fabric.home / "full").mkdir()
    (fabric.home / "full" / "mine").write_text("x")
    (fabric.home / "file").write_text("x")
    before = sorted(fabric.home.rglob("*"))
    for place in ("full", "file", "file/below", "no/such", "/sys/fabric-capture"):
        refused(fabric("facts", "--json", "--capture", place), CANNOT_CREATE, Path(place).name)
    run = fabric("facts", "--json", "--capture", "new", preexec_fn=limited)
    refused(run, CANNOT_CREATE, "No space left", str(fabric.home / "new"))
    assert sorted(fabric.home.rglob("*")) == before


BUSY = Facts(
    os=OperatingSystem(
        "Linux", "ubuntu", "24.04", "x86_64", container="docker", wsl=2, vm="hyper-v", init="systemd",
        user_services=False, linger=False, package_manager="apt-get",
    ),
    cpu=Cpu("GenuineIntel", "A  CPU", 12, 20, 16, ("avx2", "fma", "fpu"), 8, 2),
    memory=Memory(64 * GIB, 30 * GIB, 32 * GIB),
    disk=Disk("/data/fabric", 5 * GIB, "nfs4", noexec=True, network=True, ram_backed=False),
    network=Network(offline=True, proxies={"https": "http://proxy:3128"}, no_proxy="localhost"),
    gpus=(
        Gpu(
            "nvidia", "NVIDIA A100", "0000:01:00.0", "8.0", False, GpuState.USABLE, ("cuda", "vulkan"),
            GpuMemory("dedicated", 80 * GIB, 79 * GIB), "570.133.07", "nvidia", cuda="12.8", partitioned=True,
            instances=(
                GpuInstance("MIG-1", "1g.10gb", GpuMemory("dedicated", 10 * GIB, 9 * GIB)), GpuInstance("MIG-2"),
            ),
        ),
        Gpu(
            "nvidia", "Evil\033[2J\nCard", "0000:02:00.0", state=GpuState.DRIVER, driver="550.1", driver_name="nvidia",
            obstacle=Obstacle.LIBRARY_MISMATCH, detail="NVML 560.1", masked=True,
        ),
        Gpu("amd", None, "0000:03:00.0", integrated=True, device_id="1002:1586", obstacle=Obstacle.NO_DRIVER,
            memory=GpuMemory("unified", 62 * GIB, None, "gtt"), masked=None),
        Gpu("nvidia", "NVIDIA T4", state=GpuState.USABLE, apis=("cuda",), masked=None),
    ),
    listed_devices=(
        ListedDevice("CUDA0", "cuda", "NVIDIA A100", 80 * GIB, 79 * GIB), ListedDevice("BLAS", None, "MKL", 0, 0),
    ),
    probes=(Probe("nvml", Outcome.FAILED, 1.0, "nvml: it printed HTML"), Probe("x", Outcome.MISSING, 1.0, "no x")),
    vulkan=Vulkan("/lib/libvulkan.so.1", ("nvidia",), (VulkanDevice(0, "llvmpipe", "cpu", dropped="software"),)),
    gpu_env={"CUDA_VISIBLE_DEVICES": ""},
    servers=(
        RunningServer(11434, "ollama", "0.32.15", ("a", "b", "c", "d", "e", "f", "g"), "ollama (process 812)"),
        RunningServer(8080, "llamacpp", ours=True),
    ),
)  # fmt: skip

SHOWN = """\
System
  system        ubuntu 24.04, x86_64
  inside        container (docker), VM (hyper-v), WSL 2
  init          systemd, no user services, no lingering
  packages      apt-get
Processor
  model         A  CPU
  cores         16 usable of 20, 12 physical, 8 performance, 2 NUMA nodes
  features      fma avx2
Memory
  available     30.0 of 64.0 GiB
  limit         32.0 GiB, by a control group
Disk
  free          5.0 GiB at /data/fabric
  filesystem    nfs4
  beware        programs cannot be started there (noexec), on another machine
Network
  routes        none: offline
  proxies       https: http://proxy:3128
  no proxy      localhost
GPU NVIDIA A100, 0000:01:00.0
  state         present ✓  driver ✓ nvidia 570.133.07, CUDA 12.8  usable ✓ cuda, vulkan
  memory        79.0 of 80.0 GiB free, only by instance
  architecture  8.0
  instance      1g.10gb, 9.0 of 10.0 GiB free, MIG-1
  instance      size unknown, MIG-2
GPU Evil\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}Card, 0000:02:00.0
  state         present ✓  driver ✓ nvidia 550.1  usable ✗ library mismatch: NVML 560.1
  hidden        an environment variable hides it from engines
GPU amd 1002:1586, integrated, 0000:03:00.0
  state         present ✓  driver ✗ no driver
  memory        62.0 GiB, shared with the processor (gtt)
  hidden        may be hidden by an environment variable
GPU NVIDIA T4
  state         present ✓  driver ✓  usable ✓ cuda
  hidden        may be hidden by CUDA_VISIBLE_DEVICES
Vulkan
  loader        /lib/libvulkan.so.1
  drivers       nvidia
  device 0      llvmpipe, cpu, left out: software
Listed by llama-server
  CUDA0         NVIDIA A100, 79.0 of 80.0 GiB free
  BLAS          MKL
Listening
  port 11434    ollama 0.32.15, ollama (process 812), a, b, c, d, e, 2 more
  port 8080     llamacpp, ours
Environment
  CUDA_VISIBLE_DEVICES  (empty)
Could not be read
  nvml          nvml: it printed HTML
"""


def test_everything_that_is_known_is_shown_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    show_facts(BUSY)
    shown = capsys.readouterr().out
    wide = [" ".join(line.split()) for line in shown.splitlines()]
    assert wide == [" ".join(line.split()) for line in SHOWN.splitlines()]
    columns = {line.index(line.split(maxsplit=1)[1]) for line in shown.splitlines() if line.startswith("  init")}
    assert columns == {len("  CUDA_VISIBLE_DEVICES  ")}, "one column for all sections"


def test_a_machine_of_which_nothing_is_known_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_facts(Facts())
    assert capsys.readouterr().out.startswith("Disk\n")


def test_on_a_terminal_it_is_coloured_and_says_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    show_facts(BUSY)
    shown = capsys.readouterr().out
    assert "\033[32m✓" in shown
    assert "\033[31m✗" in shown
    assert "\033[2J" not in shown, "a device's name moves no cursor"
    assert "library mismatch: NVML 560.1" in shown


def test_a_terminal_without_such_characters(fabric: Fabric) -> None:
    run = fabric("facts", "--replay", str(HOSTS / "darwin-m1-8gb"), env={"PYTHONIOENCODING": "ascii"})
    assert run.returncode == 0, run.said
    assert run.stdout.isascii()
