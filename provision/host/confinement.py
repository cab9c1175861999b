"""What a process gives up, for itself and all that it starts, before it serves: a server needs none of it."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

from provision.domain.frozen import frozen

PRIVATE_UMASK = 0o077
NO_CORE_BYTES = 1  # 0 keeps a file from being written, and not a program that the kernel pipes cores to; 1 stops both
PR_SET_NO_NEW_PRIVS = 38
NVIDIA_DRIVER, NVIDIA_MEMORY = "/proc/driver/nvidia", "/dev/nvidia-uvm"


def private_umask() -> None:
    """Make what is written from now on this user's only, whatever was inherited."""
    os.umask(PRIVATE_UMASK)


def confine() -> None:
    """Write for this user only, leave no core dump, and gain no privileges through programs that are set-user-id.

    A core dump would hold weights, prompts and the key.
    """
    private_umask()
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = NO_CORE_BYTES if hard == resource.RLIM_INFINITY else min(hard, NO_CORE_BYTES)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    if sys.platform == "linux" and not _needs_device_nodes():
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _needs_device_nodes() -> bool:
    """Tell whether CUDA may have to call nvidia-modprobe, which is set-user-id root, to make its device nodes."""
    return os.path.exists(NVIDIA_DRIVER) and not os.path.exists(NVIDIA_MEMORY)


@frozen
class Confinement:
    """What one process of the server gave up."""

    pid: int
    dumps_core: bool
    no_new_privileges: bool


def confinement_of(pid: int) -> Confinement | None:
    """Return what ``pid`` gave up; ``None`` where it has ended, or that is not told (other systems than Linux)."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_CORE)
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except (OSError, AttributeError):
        return None
    return Confinement(pid, not 0 <= hard <= NO_CORE_BYTES, "NoNewPrivs:\t1\n" in status)
