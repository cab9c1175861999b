"""A bug report in one file, and such a file opened again: by somebody who does not trust it."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from provision.errors import CannotCreateError, InvalidInputError, RefusedError
from provision.host.capture_files import cannot_write, check_parent
from provision.host.capture_format import PLATFORM_FILE
from provision.host.files import PRIVATE_DIR, PRIVATE_FILE
from provision.host.named_output import write_output

if TYPE_CHECKING:
    import tarfile

GZIP_MAGIC = b"\x1f\x8b"
MAX_UNPACKED_BYTES = 1 << 26
MAX_FILES = 20_000
_IMPOSSIBLE_NAMES = (
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ELOOP,
)  # fmt: skip
_HINT = "A capture is a directory with platform.json, or a file that `fabric doctor --bundle FILE` made."


def check_place(path: Path) -> None:
    """Raise ``CannotCreateError`` where a bundle cannot go, before anything is asked of the machine."""
    path = Path(os.path.abspath(path))
    if os.path.lexists(path):
        raise CannotCreateError(f"{path} exists already.", "Name a new file.")
    check_parent(path)


def write(files: Mapping[str, bytes], path: Path) -> int:
    """Write ``files`` as a .tar.gz for this user only, all of it or nothing; return its size in bytes.

    Raises ``CannotCreateError`` where there is something already, and where it cannot be written.
    """
    check_place(path)
    data = pack(files)
    try:
        write_output(path, data)
    except OSError as error:
        raise cannot_write(error, path) from error
    return len(data)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a .tar.gz that holds regular files only, and neither a time nor an owner."""
    import gzip
    import io
    import tarfile

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), PRIVATE_FILE
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Give the directory of a capture: ``path`` itself, one inside of it, or of the archive that it is.

    Raises ``InvalidInputError`` for what is neither, ``RefusedError`` for an archive that is unsafe.
    """
    if not _is_archive(path):
        yield _capture_in(path)
        return
    with tempfile.TemporaryDirectory(prefix="fabric-capture-") as directory:
        unpack(path, Path(directory))
        yield _capture_in(Path(directory))


def _is_archive(path: Path) -> bool:
    """Tell an archive from a directory. Raises ``InvalidInputError`` for neither."""
    try:
        if path.is_dir():
            return False
        is_file = stat.S_ISREG(path.stat().st_mode)  # reading from a pipe could wait for ever
        if is_file and _start(path) == GZIP_MAGIC:
            return True
    except OSError as error:
        raise InvalidInputError(f"Cannot read {path}: {error.strerror}.", _HINT) from error
    raise InvalidInputError(f"{path} is neither a directory nor a .tar.gz.", _HINT)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(GZIP_MAGIC))


def _capture_in(directory: Path) -> Path:
    """Return the only capture in or below ``directory``, else ``directory``: what it lacks is told there."""
    for pattern in ("", "*/", "*/*/"):
        found = sorted(directory.glob(f"{pattern}{PLATFORM_FILE}"))
        if len(found) > 1:
            names = ", ".join(str(place.parent.relative_to(directory)) for place in found[:5])
            raise InvalidInputError(f"{directory} holds several captures: {names} …", "Name one of them.")
        if found:
            return found[0].parent
    return directory


def unpack(path: Path, directory: Path) -> None:
    """Unpack a .tar.gz: regular files and directories below ``directory``, bounded in number and size.

    Raises ``InvalidInputError`` for a damaged archive, ``RefusedError`` for one that holds anything else or too much.
    """
    import io
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(_decompressed(path)), mode="r:") as archive:
            for number, member in enumerate(archive):
                if number >= MAX_FILES:
                    raise RefusedError(f"{path} holds more than {MAX_FILES} files.", _HINT)
                _unpack_member(archive, member, directory, path)
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise InvalidInputError(f"{path} is damaged: {error}.", _HINT) from error
    except OSError as error:
        if error.errno in _IMPOSSIBLE_NAMES:
            raise InvalidInputError(f"{path} is damaged: {error.strerror}.", _HINT) from error
        raise cannot_write(error, directory) from error


def _decompressed(path: Path) -> bytes:
    import gzip
    import zlib

    try:
        with gzip.open(path) as file:
            data = file.read(MAX_UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInputError(f"{path} is damaged: {error}.", _HINT) from error
    if len(data) > MAX_UNPACKED_BYTES:
        raise RefusedError(f"{path} unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB.", _HINT)
    return data


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, directory: Path, path: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\0" in member.name:
        raise RefusedError(f"{path} would write outside its directory: {member.name!r}.", _HINT)
    if member.isdir():
        (directory / name).mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        return
    is_plain = member.isreg() and not member.issparse()  # the holes of a sparse file count for nothing in an archive
    content = archive.extractfile(member) if is_plain else None
    if content is None:
        raise RefusedError(f"{path} holds something other than files: {member.name!r}.", _HINT)
    (directory / name).parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    (directory / name).write_bytes(content.read())
