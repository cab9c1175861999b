"""Writing so that a crash at any moment leaves the old file or the new one, never half of either."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from provision.errors import CannotCreateError, FabricError, RefusedError

PRIVATE_DIR = 0o700
PRIVATE_FILE = 0o600

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FEW_FILES = 64  # a program that ran out of them has removed its own by the time that its failure is told
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)

_LINK = errno.ELOOP  # what O_NOFOLLOW says of one


def explain(error: OSError, doing: str) -> FabricError:
    """Turn a failed write into an error of the contract."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in _NO_SPACE:
        return no_space(f"while {doing}{where}", os.path.dirname(str(error.filename or "")))
    if error.errno in _FORBIDDEN:
        return CannotCreateError(
            f"Cannot write while {doing}: {error.strerror}{where}.",
            "Use a directory that you may write to: --home DIR or FABRIC_HOME.",
        )
    if error.errno == _LINK:
        return RefusedError(f"Refused while {doing}: there is a link{where}.", "See what put it there, and remove it.")
    return FabricError(f"Failed while {doing}: {error.strerror or error}{where}.")


def no_space(when: str, directory: str | os.PathLike[str]) -> CannotCreateError:
    """Return the error for a disk that is full: of bytes, or of files, which looks the same to who writes."""
    with suppress(OSError):
        room = os.statvfs(directory)
        if room.f_files and room.f_favail < _FEW_FILES and room.f_bavail:
            what = f"No inode left {when}: the disk holds as many files as it can"
            return CannotCreateError(f"{what}.", "Remove some files, or use --home on another disk.")
    return CannotCreateError(f"No space left {when}.", "Free some space, or use --home on another disk.")


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn an ``OSError`` of the body into an error that says what was being done."""
    try:
        yield
    except OSError as error:
        raise explain(error, doing) from error


def make_private_dir(path: Path) -> None:
    """Make ``path`` and its parents, for this user only whatever the umask says."""
    make_missing_dirs(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o777 != PRIVATE_DIR:
        path.chmod(PRIVATE_DIR)


def make_missing_dirs(path: Path) -> None:
    """Make ``path`` and its parents where they are missing, those for this user only; what is there stays as it is."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=PRIVATE_DIR, exist_ok=True)
        each.chmod(PRIVATE_DIR)  # the umask may have taken even our own rights


def make_own_dir(path: Path) -> None:
    """Make ``path``, for this user only, where others may have made something of that name before, or remove it again.

    Raises ``RefusedError`` where it is somebody else's, or no directory.
    """
    while True:
        with suppress(FileExistsError):
            path.mkdir(mode=PRIVATE_DIR, parents=True)
        with suppress(FileNotFoundError):  # who had it last has just removed it
            return _make_private(path)


def _make_private(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise RefusedError(
            f"{path} is not a directory of this user's own.", "Somebody else made it. Have it removed, or set TMPDIR."
        )
    if stat.S_IMODE(status.st_mode) != PRIVATE_DIR:
        path.chmod(PRIVATE_DIR)


def sync(path: Path) -> None:
    """Make a file's content, or the names inside a directory, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def commit(path: Path, data: bytes, mode: int = PRIVATE_FILE, staged: Path | None = None) -> None:
    """Replace ``path`` by ``data``: write beside it (to ``staged``), fsync, rename, fsync the directory."""
    staged = staged or path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        write_synced(staged, data, mode)
        os.replace(staged, path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_synced(path: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Write a new file with exactly ``mode`` and fsync it. An existing one of that name is replaced."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def commit_tree(staged: Path, final: Path) -> None:
    """Give a finished tree its final name, every file and directory fsynced before."""
    for directory, _, names in os.walk(staged, topdown=False):
        for name in names:
            path = Path(directory, name)
            if not path.is_symlink():
                sync(path)
        sync(Path(directory))
    os.rename(staged, final)
    sync(final.parent)


def point(link: Path, target: str) -> None:
    """Make ``link`` a symbolic link to ``target`` in one step."""
    staged = link.with_name(f".{link.name}.tmp-{os.getpid()}")
    staged.unlink(missing_ok=True)
    try:
        os.symlink(target, staged)
        os.replace(staged, link)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    sync(link.parent)


def remove_tree(path: Path) -> None:
    """Remove a file, link or tree; what is already gone is fine."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
        return
    if path.is_dir():
        _make_removable(path)
        shutil.rmtree(path)


def _make_removable(path: Path) -> None:
    """A read-only directory keeps its owner from removing what is inside."""
    for directory, _, _ in os.walk(path):
        os.chmod(directory, PRIVATE_DIR)


def append_synced(path: Path, data: bytes) -> None:
    """Append ``data`` to ``path`` and fsync it."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        left = memoryview(data)
        while left:  # a disk that is nearly full takes a part, and says so of the next only
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def unused_name(path: Path) -> Path:
    """Return ``path``, with a number behind it where something of that name is there."""
    names = (path if number == 1 else path.with_name(f"{path.name}-{number}") for number in count(1))
    return next(name for name in names if not os.path.lexists(name))


def open_private(path: str, flags: int) -> int:
    """Open a file of fabric's own for ``open(…, opener=open_private)``: for this user only, never through a link."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)


def link_or_copy(source: Path, target: Path, mode: int = PRIVATE_FILE) -> bool:
    """Give ``source`` a second name, or, where a file system does not allow that, make a copy with ``mode``.

    A copy has the time of its source. ``target`` is replaced in one step and survives a power cut. Return whether it
    is a link. Raises ``OSError``.
    """
    staged = target.with_name(f".{target.name}.tmp-{os.getpid()}")
    staged.unlink(missing_ok=True)
    try:
        linked = _linked(source, staged)
        if not linked:
            status = os.stat(source)
            shutil.copyfile(source, staged)
            os.chmod(staged, mode)
            os.utime(staged, ns=(status.st_atime_ns, status.st_mtime_ns))
            sync(staged)
        os.replace(staged, target)  # does nothing where both names are links to the same file already
    finally:
        staged.unlink(missing_ok=True)
    sync(target.parent)
    return linked


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(os.path.realpath(source), target)  # Linux does not follow a link by itself
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    return True
