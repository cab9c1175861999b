"""What surrounds the programs: architecture, C library, container, virtual machine, Windows beneath, init."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from provision.domain.facts import Libc
from provision.facts.virtual_machine import read_vm
from provision.host.machine import Machine

_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_DECLARED = ("docker", "lxc", "oci", "podman", "systemd-nspawn")
_V1_CONTAINERS = (("kubepods", "kubernetes"), ("docker", "docker"), ("libpod", "podman"), ("lxc", "lxc"))
_INITS = (
    ("systemd", "/run/systemd/system"),
    ("openrc", "/run/openrc"),
    ("runit", "/run/runit"),
    ("s6", "/run/s6"),
    ("s6", "/etc/s6"),
)


class Environment(NamedTuple):
    """``container``, ``vm``, ``wsl`` and ``init`` may hold at once; ``None`` is *no sign of it*."""

    kernel: str | None = None
    container: str | None = None
    wsl: int | None = None
    init: str | None = None
    vm: str | None = None


def normalise_arch(system: str, machine: str) -> str | None:
    """Return one name an architecture: ``x86_64``, ``aarch64``; on macOS Apple's own ``arm64`` stays."""
    name = machine.lower()
    return name if system == "Darwin" else _ARCHITECTURES.get(name, name) or None


def parse_libc(text: str) -> Libc:
    """Split what the C library says of itself, such as ``glibc 2.36``. Raises ``ValueError`` for less."""
    name, version = text.split()
    return Libc(name, version)


def read_libc(machine: Machine) -> Libc | None:
    """Return the C library. musl does not answer, but has its loader in ``/lib``; its version stays unknown."""
    if machine.platform.libc:
        return parse_libc(machine.platform.libc)
    names = machine.list_dir("/lib")
    if any(name.startswith("ld-musl-") and name.endswith(".so.1") for name in names):
        return Libc("musl")
    return None


def read_kernel(machine: Machine) -> str | None:
    """Return the kernel's release, such as ``6.1.0-13-amd64``."""
    text = machine.platform.release or machine.read_text("/proc/sys/kernel/osrelease") or ""
    return text.strip() or None


def read_environment(machine: Machine, isa: Collection[str] = ()) -> Environment:
    """Read the marks that container engines, hypervisors, Windows and init systems leave.

    ``isa`` are the processor's features, of which one tells of a hypervisor.
    """
    kernel = read_kernel(machine)
    wsl = wsl_version(kernel or "", machine)
    return Environment(kernel, read_container(machine), wsl, read_init(machine), _vm(machine, isa, wsl))


def _vm(machine: Machine, isa: Collection[str], wsl: int | None) -> str | None:
    """WSL 2 is a Hyper-V machine by definition. WSL 1 is none, whatever Windows' processor shows."""
    if wsl is None:
        return read_vm(machine, isa)
    return "hyper-v" if wsl == 2 else None


def read_container(machine: Machine) -> str | None:
    """Return ``kubernetes``, ``podman``, ``docker``, ``lxc`` … by the most telling marker.

    A marker is no proof: some virtual machines are made from container images and keep theirs. What anybody may
    set in the environment, such as Distrobox's CONTAINER_ID, counts only where its value is an engine's name.
    What the first process was started with would tell as well, and holds secrets: it is left alone.
    """
    markers = (
        ("kubernetes", "KUBERNETES_SERVICE_HOST" in machine.env),
        ("kubernetes", machine.exists("/var/run/secrets/kubernetes.io")),
        ("podman", machine.exists("/run/.containerenv")),
        ("docker", machine.exists("/.dockerenv")),
        ("toolbox", machine.exists("/run/.toolboxenv")),
        ("flatpak", machine.exists("/.flatpak-info")),
    )
    for name, found in markers:
        if found:
            return name
    declared = machine.read_text("/run/systemd/container") or machine.env.get("container") or ""
    if declared.strip() in _DECLARED:
        return declared.strip()
    return _container_by_cgroup(machine.read_text("/proc/1/cgroup") or "")


def _container_by_cgroup(text: str) -> str | None:
    """Only cgroup v1 without namespaces shows the engine in the path of the first process."""
    return next((name for word, name in _V1_CONTAINERS if f"/{word}" in text), None)


def wsl_version(kernel: str, machine: Machine) -> int | None:
    """Return 1 or 2 under the Windows Subsystem for Linux.

    The first has no Linux kernel and always says ``4.4.0-<build>-Microsoft``. The second has one, which anybody
    may build and name; its helper's entry among the binary formats is there all the same.
    """
    if kernel.startswith("4.4.0-") and kernel.endswith("-Microsoft"):
        return 1
    if "microsoft" in kernel.lower() or machine.exists("/proc/sys/fs/binfmt_misc/WSLInterop"):
        return 2
    return None


def read_init(machine: Machine) -> str | None:
    """Return ``systemd``, ``openrc``, ``runit``, ``s6`` or ``launchd``.

    A ``systemctl`` on the path would prove nothing.
    """
    if machine.platform.system == "Darwin":
        return "launchd"
    return next((name for name, marker in _INITS if machine.exists(marker)), None)
