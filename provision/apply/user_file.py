"""One file of the user's, outside of the prefix: which it is, whether it may be written, what stands in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.apply.config_copies import NAME_CHARS, sha256
from provision.errors import CannotCreateError, FabricError, InvalidInputError, RefusedError, UsageError
from provision.host.files import PRIVATE_FILE, commit, explained
from provision.host.layout import Layout
from provision.host.reading import read_bytes

MAX_BYTES = 4 << 20


def real_path(path: Path) -> Path:
    """Return the file that ``path`` means: the home directory and links are followed."""
    return Path(os.path.realpath(os.path.expanduser(path)))  # noqa: PTH111 - an unknown ~name stays as it is


def writable(layout: Layout, path: Path) -> Path:
    """Return the file to write.

    Raises ``UsageError`` for what is no file, ``RefusedError`` for one of another user or of fabric's own, and
    ``CannotCreateError`` for one that is read-only.
    """
    real = real_path(path)
    try:
        str(real).encode()
    except UnicodeEncodeError:
        raise UsageError(f"The name {str(real)!a} is not UTF-8.", "Name another file.") from None
    if real.is_relative_to(os.path.realpath(layout.prefix)):
        raise RefusedError(f"{real} is fabric's own.", "Name a file outside of its directory.")
    try:
        status = real.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return real
    except OSError as error:
        raise CannotCreateError(f"Cannot look at {real}: {error.strerror}.", "Name another file.") from error
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{real} is no ordinary file.", "Name a file, or one that does not exist yet.")
    if status.st_uid != os.geteuid():
        raise RefusedError(f"{real} belongs to user {status.st_uid}.", "Run fabric as that user, or name another file.")
    if not status.st_mode & stat.S_IWUSR:
        raise CannotCreateError(f"{real} is read-only.", f"chmod u+w {real}, or name another file.")
    return real


def read(path: Path) -> bytes | None:
    """Return what stands in the file, ``None`` where there is none.

    Raises ``UsageError`` for what is no file, ``InvalidInputError`` for a large one, else as ``explained_outside``.
    """
    with explained_outside(path):
        if path.exists() and not path.is_file():  # to read a pipe is to wait for somebody who writes
            raise UsageError(f"{path} is no ordinary file.", "Move it away.")
        data = read_bytes(path)
    if data is not None and len(data) > MAX_BYTES:
        raise InvalidInputError(f"{path} is too large for a configuration.", "Name another file.")
    return data


def replace_content(layout: Layout, path: Path, data: bytes, expected: bytes | None) -> None:
    """Replace a file, with the mode that it has, unless somebody wrote to it meanwhile.

    Raises ``FabricError`` where somebody did, and ``OSError``.
    """
    if read_bytes(path) != expected:
        raise FabricError(f"{path} was changed by somebody else at this moment.", "Run the command again.")
    mode = stat.S_IMODE(path.stat().st_mode) if expected is not None else PRIVATE_FILE
    commit(path, data, mode, staged=staged(layout, path))


def staged(layout: Layout, path: Path) -> Path:
    """Return where the new content waits; always the same, so that what a killed run left there is found."""
    return path.with_name(f".{path.name[:NAME_CHARS]}.fabric-{sha256(str(layout.prefix).encode())[:8]}")


@contextmanager
def explained_outside(path: Path) -> Iterator[None]:
    """As ``explained``, for a file outside of the prefix."""
    try:
        with explained(f"writing {path}"):
            yield
    except CannotCreateError as error:
        error.hint = "Free some space, or name a file where you may write."
        raise
