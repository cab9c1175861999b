"""Reading files: those that may not be there, those of fabric's own, and those that somebody gave us."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from provision.errors import InvalidInputError, RefusedError
from provision.host.files import explain

READ_BYTES = 1 << 20


def read_bytes(path: Path) -> bytes | None:
    """Return a file's content, ``None`` where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Return the content of a file that somebody gave us, which may be a pipe.

    Raises ``InvalidInputError`` where it has more than ``most_bytes``, ``OSError`` where it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise InvalidInputError(f"{path} has more than {most_bytes} bytes: it is not what it should be.")
    return data


def read_private(path: Path) -> bytes | None:
    """Return the content of a file of fabric's own, ``None`` where there is none.

    Raises ``RefusedError`` where it may not be read, or something else has its name: a link, a pipe, a device, a
    file of somebody else's.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise explain(error, f"reading {path.name}") from error
        if isinstance(error, PermissionError):
            raise RefusedError(f"{path} cannot be read: {error.strerror}.", "See whose it is, and its mode.") from error
        raise
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (os.geteuid(), 0):
            raise RefusedError(f"{path} is not a file of fabric's.", "See what put it there, and remove it.")
        return file.read()


def sha256_of_file(path: Path, arrived: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits. Raises ``OSError``.

    ``arrived`` is called with every number of bytes that was read.
    """
    import hashlib

    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            digest.update(data)
            if arrived is not None:
                arrived(len(data))
    return digest.hexdigest()
