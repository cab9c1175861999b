"""The distribution, from the os-release file (format: os-release(5), a subset of shell assignments)."""

from __future__ import annotations

from typing import NamedTuple

from provision.host.machine import Machine

PATHS = ("/etc/os-release", "/usr/lib/os-release")
_QUOTES = ("'", '"')


class OsRelease(NamedTuple):
    """``version_id`` is ``None`` for rolling releases, which have none.

    ``like`` are the distributions that this one is made from, nearest first. ``ostree_version`` is there where the
    system is one image, deployed as a whole.
    """

    distribution: str | None = None
    version_id: str | None = None
    like: tuple[str, ...] = ()
    variant: str | None = None
    ostree_version: str | None = None


def parse_os_release(text: str) -> OsRelease:
    """Return what the assignments say. Raises ``ValueError`` where there is neither ``ID`` nor ``VERSION_ID``."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, assigned, value = line.strip().partition("=")
        if assigned:
            values[name] = _unquote(value.strip())
    release = OsRelease(
        distribution=values.get("ID") or None,
        version_id=values.get("VERSION_ID") or None,
        like=tuple(dict.fromkeys(values.get("ID_LIKE", "").split())),
        variant=values.get("VARIANT_ID") or None,
        ostree_version=values.get("OSTREE_VERSION") or None,
    )
    if release.distribution is None and release.version_id is None:
        raise ValueError("it has neither ID nor VERSION_ID")
    return release


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] not in _QUOTES or value[-1] != value[0]:
        return value
    inside = value[1:-1]
    if value[0] == '"':
        for escaped in '"$`\\':
            inside = inside.replace("\\" + escaped, escaped)
    return inside


def read_os_release(machine: Machine) -> OsRelease | None:
    """Read the first os-release file that there is."""
    for path in PATHS:
        text = machine.read_text(path)
        if text is not None:
            return parse_os_release(text)
    return None
