"""A lock and all of its files in one archive, for machines without a network.

::

    fabric.lock
    sha256/<hash>      every file that the lock names, by its hash
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from provision.apply.progress import Progress
from provision.artifacts.archive.tar_members import is_tar
from provision.artifacts.fetch import Fetcher
from provision.artifacts.first_bytes import ENOUGH_BYTES
from provision.artifacts.unpack import Limits, unpack
from provision.domain.lock import LOCK_FILE, LockedPlatform, content, members
from provision.domain.plan import Kind, Plan
from provision.errors import CannotCreateError, InvalidInputError, RefusedError
from provision.host.capture_files import cannot_write, check_parent
from provision.host.files import PRIVATE_FILE, explained, make_private_dir, remove_tree, sync
from provision.host.layout import Layout
from provision.host.reading import sha256_of_file
from provision.plan.lock_file import MAX_LOCK_BYTES

if TYPE_CHECKING:
    import tarfile

FILES = "sha256"
TAR_HEADER_BYTES = 512
SLACK_BYTES = 1 << 20  # of a tar archive, which is read ahead by blocks
_KIND = slice(156, 157)  # where a header says what it is of
_AGAIN = "Nothing was changed. Copy it anew, or make it anew with `fabric bundle create FILE`."


def fetch_all(locked: LockedPlatform, fetcher: Fetcher, place: Path, progress: Progress) -> dict[str, Path]:
    """Fetch everything that an entry takes below ``place``; return where each file lies by its hash."""
    release, model = locked.release, locked.model
    fetcher = replace(fetcher, addresses=locked.urls)
    found = {sha256: place / sha256 for sha256 in content(locked)}
    arrived = progress.transfer(f"{release.name} and {model.name}", size_bytes(locked))
    make_private_dir(place)
    whole = [wheel for wheel in (release.wheel, release.sdist, *release.wheels) if wheel]
    wheels = [wheel for wheel in whole if not (place / wheel.sha256).exists()]
    fetcher.wheels(wheels, place / "wheels", arrived)
    for wheel in wheels:
        (place / "wheels" / wheel.filename).replace(place / wheel.sha256)
    files = {file.sha256 or "": file for file in (*release.files, *model.files)}
    missing = {sha256: file for sha256, file in files.items() if not (place / sha256).exists()}
    fetcher.files([replace(file, path=sha256) for sha256, file in missing.items()], place, arrived)
    for member in members(release, model):
        if not (place / str(member.sha256)).exists():
            fetcher.member(member, place / str(member.sha256), arrived)
    return found


def size_bytes(locked: LockedPlatform) -> int:
    """Return how much is fetched for an entry."""
    taken_out = members(locked.release, locked.model)
    packed = sum(member.download_bytes - member.size_bytes for member in taken_out)
    return sum(file.size_bytes or 0 for file in content(locked).values()) + packed


def check_place(path: Path) -> None:
    """Raise ``CannotCreateError`` where a bundle cannot go; an older bundle may be replaced, nothing else."""
    check_parent(path)
    if os.path.lexists(path) and not _is_bundle(path):
        raise CannotCreateError(f"{path} exists already and is no bundle of fabric.", "Name a new file.")


def _is_bundle(path: Path) -> bool:
    try:
        read_lock(path)
    except (InvalidInputError, RefusedError):
        return False
    return True


def write(path: Path, lock: bytes, files: Mapping[str, Path]) -> int:
    """Write a bundle, all of it or nothing, and return its size in bytes: the same bytes for the same lock."""
    import tarfile

    staged = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with staged.open("wb") as target, tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
            staged.chmod(PRIVATE_FILE)
            _add(archive, LOCK_FILE, len(lock), io.BytesIO(lock))
            for sha256 in sorted(files):
                with files[sha256].open("rb") as source:
                    _add(archive, f"{FILES}/{sha256}", files[sha256].stat().st_size, source)
        sync(staged)
        staged.replace(path)
        sync(path.parent)
        return path.stat().st_size
    except OSError as error:
        raise cannot_write(error, path) from error
    finally:
        staged.unlink(missing_ok=True)


def _add(archive: tarfile.TarFile, name: str, size_bytes: int, source: IO[bytes]) -> None:
    import tarfile

    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, 0o644
    archive.addfile(member, source)


def read_lock(path: Path) -> bytes:
    """Return the lock in a bundle. Raises ``InvalidInputError`` for what is none."""
    import tarfile

    with _opened(path) as file:
        _check_first(file, path)
        try:
            with tarfile.open(fileobj=file, mode="r|", errorlevel=2) as archive:
                first = archive.next()
                if first is None or first.name != LOCK_FILE or not first.isreg() or first.size > MAX_LOCK_BYTES:
                    raise InvalidInputError(
                        f"{path} is no bundle of fabric: it does not begin with {LOCK_FILE}.", _AGAIN
                    )
                source = archive.extractfile(first)
                data = source.read() if source is not None else b""
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise InvalidInputError(f"{path} is damaged: {error}.", _AGAIN) from error
    if len(data) != first.size:
        raise InvalidInputError(f"{path} ends in the middle of {LOCK_FILE}.", _AGAIN)
    return data


def _check_first(file: BinaryIO, path: Path) -> None:
    """Refuse what does not begin with a plain file: another kind of header may be as large as the bundle in memory."""
    header = file.read(TAR_HEADER_BYTES)
    file.seek(0)
    if header[_KIND] not in (b"0", b"\0") or len(header) < TAR_HEADER_BYTES:
        raise InvalidInputError(f"{path} is no bundle of fabric: it does not begin with {LOCK_FILE}.", _AGAIN)


def unpacked(bundle: Path | None, layout: Layout, plan: Plan, progress: Progress) -> Path | None:
    """Unpack a bundle into the staging directory and return where; ``None`` where nothing of it is needed.

    Raises ``RefusedError`` where it is damaged or unsafe or a file of it is another one than its name says,
    ``InvalidInputError`` where it lacks one that the plan needs.
    """
    if bundle is None or not (plan.pending(Kind.ENGINE) or plan.pending(Kind.MODEL)):
        return None
    place = layout.staging / "bundle"
    progress.say(f"Unpacking {bundle.name}")
    try:
        with explained("making the staging directory"):
            make_private_dir(layout.staging)
        unpack(bundle, place, limits=Limits(unpacked_bytes=bundle.stat().st_size + SLACK_BYTES))
        _check(place, LockedPlatform(plan.selection.release, plan.selection.model), bundle)
    except BaseException:
        remove_tree(layout.staging)
        raise
    return place


def _check(place: Path, locked: LockedPlatform, bundle: Path) -> None:
    for sha256, file in content(locked).items():
        path = place / FILES / sha256
        if path.is_symlink() or not path.is_file():
            raise InvalidInputError(f"{bundle} lacks {file.path} (SHA-256 {sha256}).", _AGAIN)
        with explained(f"reading {path.name}"):
            found = sha256_of_file(path)
        if found != sha256:
            raise RefusedError(
                f"{bundle} was altered: the SHA-256 of {file.path} is {found}, and the lock says {sha256}.", _AGAIN
            )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open what looks like an uncompressed tar archive."""
    try:
        if not path.is_file():  # opening a pipe could wait for ever
            raise FileNotFoundError(0, "there is no such file")
        with path.open("rb") as file:
            start = file.read(ENOUGH_BYTES)
            file.seek(0)
            if not is_tar(start):
                raise InvalidInputError(f"{path} is no bundle of fabric.", "Make one with `fabric bundle create FILE`.")
            yield file
    except OSError as error:
        raise InvalidInputError(f"Cannot read the bundle {path}: {error.strerror}.", "Check the path.") from error
