"""The service manager of this user, next to the system's.

Sources: sd_booted(3), loginctl(1) for lingering, pam_systemd(8) for XDG_RUNTIME_DIR.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from provision.host.machine import Machine

LINGER = "/var/lib/systemd/linger"


class Services(NamedTuple):
    """``user_services``: systemd's manager of this user answers. ``linger``: it outlives the last login."""

    user_services: bool | None = None
    linger: bool | None = None


def read_services(machine: Machine, init: str | None) -> Services | None:
    """Return what systemd offers to this user; ``None`` under any other init, and for a user without a name."""
    if init != "systemd":
        return None
    found = Services(_has_manager(machine), lingers(machine))
    return None if found == Services() else found


def _has_manager(machine: Machine) -> bool | None:
    """Look for the manager's own socket: ``su`` and cron leave the variable unset, and maybe the manager running."""
    directory = user_runtime_dir(machine.env, machine.platform.uid)
    return None if directory is None else machine.exists(f"{directory}/systemd/private")


def user_runtime_dir(env: Mapping[str, str], uid: int | None) -> str | None:
    """Return where systemd's manager of this user has its sockets, also where nobody says it."""
    return env.get("XDG_RUNTIME_DIR") or (None if uid is None else f"/run/user/{uid}")


def lingers(machine: Machine) -> bool | None:
    """Tell whether the user's services outlive the last login; ``None`` for a user without a name."""
    name = _user_name(machine)
    return None if name is None else machine.exists(f"{LINGER}/{name}")


def _user_name(machine: Machine) -> str | None:
    """The user with number 0 has one name; ``su`` may leave another's in the environment."""
    if machine.platform.uid == 0:
        return "root"
    name = machine.env.get("USER") or machine.env.get("LOGNAME") or ""
    return None if name in ("", ".", "..") or "/" in name else name
