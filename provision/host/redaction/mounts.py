"""Mounts of other machines' file systems: where they come from, and as whom."""

from __future__ import annotations

import re

REDACTED = "redacted"
# " - TYPE SOURCE OPTIONS" ends a line of mountinfo; elsewhere a line is "SOURCE POINT TYPE OPTIONS 0 0".
_MOUNTINFO = re.compile(r"^(.* - )(\S+) (\S+)(.*)$")
_MOUNTS = re.compile(r"^()(\S+)( \S+ )(\S+)( .*)$")
# fmt: off
_NETWORK = frozenset((
    "9p", "afs", "beegfs", "beegfs_nodev", "ceph", "cifs", "coda", "davfs", "fuse", "glusterfs", "gpfs", "lustre",
    "ncpfs", "nfs", "nfs3", "nfs4", "orangefs", "panfs", "prl_fs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "sshfs",
    "vboxsf", "vmhgfs", "wekafs",
))
# fmt: on
_OPTION = re.compile(r"(?<=[,;= ])([a-z_]\w*=)([^,;\s]+)", re.IGNORECASE)
_PLAIN_VALUE = re.compile(
    r"[\d.]+|0x[0-9a-f]+|drvfs|sys|krb5[ip]?|tcp6?|udp6?|rdma|fd|virtio|none|all|strict|loose|mmap|fscache|default",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"addr|host|mon", re.IGNORECASE)


def redact_mounts(text: str) -> str:
    """Redact the lines of network file systems, and of those that a user's own program makes."""
    return "\n".join(map(_redact_line, text.split("\n")))


def _redact_line(line: str) -> str:
    described = _MOUNTINFO.match(line)
    if described:
        start, kind, source, options = described.groups()
        return f"{start}{kind} {_source(source)}{_options(options)}" if is_foreign(kind) else line
    listed = _MOUNTS.match(line)
    if listed and is_foreign(listed[4]):
        return f"{_source(listed[2])}{listed[3]}{listed[4]}{_options(listed[5])}"
    return line


def is_foreign(kind: str) -> bool:
    """Tell whether the source of such a file system names somebody: a server, a login, a bucket."""
    return kind.lower() in _NETWORK or kind.startswith("fuse.")


def _source(source: str) -> str:
    """Return a source of the same form, as the form tells a share from a directory."""
    if source.startswith("//"):
        return "//host/share"
    return "host:/share" if ":/" in source else REDACTED


def _options(options: str) -> str:
    return _OPTION.sub(_option, options)


def _option(match: re.Match[str]) -> str:
    plain = _PLAIN_VALUE.fullmatch(match[2]) and not _ADDRESS.search(match[1])
    return match[0] if plain else match[1] + REDACTED
