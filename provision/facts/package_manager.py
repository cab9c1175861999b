"""The program that adds packages to the system."""

from __future__ import annotations

from collections.abc import Iterator

from provision.facts.os_release import OsRelease
from provision.host.machine import Machine

_DIRECTORIES = ("/usr/bin", "/usr/sbin", "/sbin", "/bin")
_ELSEWHERE = {"nix": "/nix/var/nix/profiles/default/bin/nix", "brew": "/home/linuxbrew/.linuxbrew/bin/brew"}
_ALL = ("apt-get", "dnf", "yum", "zypper", "pacman", "apk", "emerge", "nix", "brew")

# The best first. Others are found through the distributions that they are made from.
_BY_DISTRIBUTION = {
    "debian": ("apt-get",),
    "ubuntu": ("apt-get",),
    "raspbian": ("apt-get",),
    "fedora": ("dnf", "yum"),
    "rhel": ("dnf", "yum"),
    "centos": ("dnf", "yum"),
    "amzn": ("dnf", "yum"),
    "opensuse": ("zypper",),
    "suse": ("zypper",),
    "sles": ("zypper",),
    "arch": ("pacman",),
    "alpine": ("apk",),
    "wolfi": ("apk",),
    "gentoo": ("emerge",),
}


def read_package_manager(
    machine: Machine, release: OsRelease, container: str | None, immutable: bool | None
) -> str | None:
    """Return ``apt-get``, ``dnf``, ``yum``, ``zypper``, ``pacman``, ``apk``, ``emerge``, ``nix`` or ``brew``.

    The distribution's own comes first, then that of the distributions that it is made from, then whichever is
    installed. A container image may lack its distribution's own; elsewhere that is a part of the system, and counts
    also where its program cannot be seen. ``None`` for a system that takes no packages.
    """
    if immutable:
        return None
    own = list(dict.fromkeys(_own(release)))
    installed = next((name for name in dict.fromkeys([*own, *_ALL]) if _is_installed(machine, name)), None)
    return installed if installed in own or container is not None or not own else own[0]


def _own(release: OsRelease) -> Iterator[str]:
    for distribution in (release.distribution, *release.like):
        yield from _BY_DISTRIBUTION.get(distribution or "", ())


def _is_installed(machine: Machine, name: str) -> bool:
    places = [f"{directory}/{name}" for directory in _DIRECTORIES]
    if name in _ELSEWHERE:
        places.append(_ELSEWHERE[name])
    return any(machine.exists(place) for place in places)
