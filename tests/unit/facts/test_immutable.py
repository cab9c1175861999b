from __future__ import annotations

from collections.abc import Callable

import pytest

from provision.facts.immutable import read_immutable
from provision.facts.mounts import parse_mounts
from provision.facts.os_release import OsRelease
from provision.host.machine import Machine

Imagine = Callable[..., Machine]

WRITABLE = "22 1 254:1 / / rw,relatime - ext4 /dev/root rw\n"
BOOTED = {"/run/ostree-booted": ""}


CASES = {
    "Debian": (OsRelease("debian"), {}, None, WRITABLE, False),
    "Silverblue by its name": (OsRelease("fedora", ostree_version="42.1"), {}, None, WRITABLE, True),
    "Silverblue by its start": (OsRelease("fedora"), BOOTED, None, WRITABLE, True),
    "its image as a container": (OsRelease("fedora", ostree_version="42.1"), BOOTED, "podman", WRITABLE, False),
    "NixOS": (OsRelease("nixos"), {}, None, WRITABLE, True),
    "a read-only root": (OsRelease("steamos"), {}, None, "22 1 0:31 / / ro - btrfs /dev/nvme0n1p4 ro\n", True),
    "a read-only /usr": (OsRelease("flatcar"), {}, None, WRITABLE + "30 22 254:0 / /usr ro - ext4 /dev/x ro\n", True),
    "docker run --read-only": (OsRelease("debian"), {}, "docker", "7 6 0:52 / / ro - overlay overlay rw\n", True),
    "a root that had errors": (OsRelease("debian"), {}, None, "22 1 254:1 / / rw - ext4 /dev/root ro\n", True),
    "another one read-only": (
        OsRelease("debian"),
        {},
        None,
        WRITABLE + "30 22 7:0 / /snap ro - squashfs x ro\n",
        False,
    ),
    "the root out of sight": (OsRelease("debian"), {}, None, "30 23 0:26 / /sys rw - sysfs sysfs rw\n", None),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_immutable(case: tuple[OsRelease, dict[str, str], str | None, str, bool | None], imagine: Imagine) -> None:
    release, files, container, mounts, expected = case
    assert read_immutable(imagine(files), release, container, parse_mounts(mounts)) is expected


def test_no_mounts_tell_nothing(imagine: Imagine) -> None:
    assert read_immutable(imagine(), OsRelease(), None, ()) is None
