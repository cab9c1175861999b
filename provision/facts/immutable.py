"""Whether packages can be added to the running system."""

from __future__ import annotations

from collections.abc import Sequence

from provision.facts.mounts import Mount, holding
from provision.facts.os_release import OsRelease
from provision.host.machine import Machine

OSTREE_PATH = "/run/ostree-booted"
_DECLARATIVE = ("nixos",)


def read_immutable(machine: Machine, release: OsRelease, container: str | None, mounts: Sequence[Mount]) -> bool | None:
    """Return whether package managers cannot add to this system; ``None`` where nothing tells.

    That holds for NixOS, which is made anew from its configuration, for systems that OSTree deploys as one image,
    and wherever ``/`` or ``/usr`` is mounted read-only, also in a container. The marks of OSTree do not count in a
    container: there they are the image's, and its files can be written.
    """
    if release.distribution in _DECLARATIVE:
        return True
    if container is None and (release.ostree_version is not None or machine.exists(OSTREE_PATH)):
        return True
    holders = [holding(place, mounts) for place in ("/", "/usr")]
    if any(mount is not None and "ro" in mount.options for mount in holders):
        return True
    return None if None in holders else False
