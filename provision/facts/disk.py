"""The file system that holds the prefix: its kind, and the room on it."""

from __future__ import annotations

from collections.abc import Sequence
from posixpath import isabs
from typing import NamedTuple

from provision.facts.links import follow_links
from provision.facts.mounts import Mount, holding
from provision.host.machine import Machine

_SHARES = ("afs", "cifs", "coda", "davfs", "ncpfs", "nfs", "nfs4", "smb3", "smbfs")
_CLUSTERS = ("beegfs", "beegfs_nodev", "ceph", "glusterfs", "gpfs", "lustre", "orangefs", "panfs", "pvfs2", "wekafs")
# Folders of the host that a virtual machine is shown. They count as another machine's: every access leaves for it,
# and mapping or locking files there works in part, or not at all (in WSL 2, /mnt/c is 9p). virtiofs does not count:
# its pages are cached and mapped as those of a disk are.
_HOST_FOLDERS = ("9p", "prl_fs", "vboxsf", "vmhgfs")
_IN_USER_SPACE = (
    *("blobfuse", "blobfuse2", "ceph", "ceph-fuse", "davfs", "gcsfuse", "glusterfs", "gvfsd-fuse", "juicefs"),
    *("moosefs", "mount-s3", "mountpoint-s3", "quobyte", "rclone", "s3fs", "sshfs", "vmhgfs-fuse"),
)
_NETWORK = {*_SHARES, *_CLUSTERS, *_HOST_FOLDERS, *(f"fuse.{name}" for name in _IN_USER_SPACE)}
_IN_RAM = ("devtmpfs", "hugetlbfs", "ramfs", "rootfs", "tmpfs")
_STACKED = ("aufs", "ecryptfs", "overlay", "virtiofs")
# Without a block device of their own, and yet on this machine.
_LOCAL = (*_IN_RAM, *_STACKED, "bcachefs", "btrfs", "ubifs", "zfs")
_RAM_DISKS = ("/dev/ram", "/dev/zram")


class FileSystem(NamedTuple):
    """``None`` means *not known*: ``network`` of a driver never heard of, ``ram_backed`` of what lies on another."""

    filesystem: str | None = None
    noexec: bool | None = None
    network: bool | None = None
    ram_backed: bool | None = None


def read_filesystem(machine: Machine, prefix: str, mounts: Sequence[Mount]) -> FileSystem | None:
    """Return what ``prefix`` lies on, or will lie on; ``None`` where that cannot be told."""
    path = follow_links(machine, prefix) if isabs(prefix) else None
    mount = None if path is None else holding(path, mounts)
    return None if mount is None else describe_mount(mount)


def describe_mount(mount: Mount) -> FileSystem:
    """Say what a mount means for programs and for large files."""
    return FileSystem(
        filesystem=mount.filesystem,
        noexec="noexec" in mount.options,
        network=is_network(mount),
        ram_backed=is_ram_backed(mount),
    )


def is_network(mount: Mount) -> bool | None:
    """Tell whether another machine keeps the files; ``None`` for a driver in user space that may do anything."""
    if mount.filesystem in _NETWORK:
        return True
    return False if mount.on_block_device or mount.filesystem in _LOCAL else None


def is_ram_backed(mount: Mount) -> bool | None:
    """Tell whether files take main memory; ``None`` where they lie on another file system, as a container's do."""
    if mount.filesystem in _IN_RAM or (mount.on_block_device and mount.source.startswith(_RAM_DISKS)):
        return True
    return None if mount.filesystem in _STACKED or is_network(mount) is None else False
