"""The faults of ``faults.yaml``: what is broken, how, what is expected of it, and what a machine needs for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

TABLE = Path(__file__).with_name("faults.yaml")
COMMAND, UNIT = "command", "unit"
_PROBES = {
    "mount namespace": ("unshare", "-m", "true"),
    "network namespace": ("unshare", "-n", "true"),
    "pid namespace": ("unshare", "-pf", "true"),
    "time namespace": ("unshare", "-T", "true"),
}


@dataclass(frozen=True)
class Fault:
    """One fault. ``exits`` are the codes with which the command that meets it may end.

    ``level`` is ``command`` where the whole command meets it and the whole oracle judges what is left, ``unit`` where
    functions alone are tested. ``needs`` are programs on PATH, ``root``, or a kind of namespace. ``cannot`` says why no
    such machine as this can inject it; such a fault has no test.
    """

    id: str
    row: int
    name: str
    inject: str = ""
    exits: tuple[int, ...] = ()
    needs: tuple[str, ...] = ()
    cannot: str = ""
    level: str = COMMAND

    def why_not(self) -> str:
        """Return what this machine lacks for it; empty where it can be injected."""
        return ", ".join(need for need in self.needs if not has(need))


@cache
def faults() -> dict[str, Fault]:
    """Return the faults by their ids."""
    table = msgspec.yaml.decode(TABLE.read_bytes(), type=list[Fault])
    found = {fault.id: fault for fault in table}
    assert len(found) == len(table), "an id stands for one fault"
    return found


@cache
def has(need: str) -> bool:
    """Tell whether this machine has what a fault needs."""
    if need == "root":
        return os.geteuid() == 0
    if need in _PROBES:
        return bool(shutil.which("unshare")) and subprocess.run(_PROBES[need], check=False, stderr=-3).returncode == 0
    return shutil.which(need) is not None
