"""Getting pinned files: a whole wheel, or one member of a wheel, checked while it streams."""

from __future__ import annotations

import hashlib
import threading
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from provision.domain.artifacts import Wheel, WheelMember
from provision.errors import InterruptedByUserError, RefusedError, UnreachableError
from provision.host.download import NoRangesError, RemoteFile, Transport, redact
from provision.host.files import explained

CHUNK_BYTES = 1 << 20

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Fetcher:
    """Fetches into ``staging``. ``addresses`` maps wheel file names to URLs; ``stop`` ends every transfer."""

    addresses: dict[str, str]
    transport: Transport
    staging: Path
    stop: threading.Event

    def wheel(self, wheel: Wheel, progress: Progress) -> Path:
        """Fetch a whole wheel. Raises ``RefusedError`` where its hash differs from the pinned one."""
        target = self.staging / wheel.filename
        with closing(self._open(wheel, progress)) as source, explained(f"fetching {wheel.filename}"):
            self._copy(source, target, wheel.sha256, wheel.filename)
        return target

    def member(self, member: WheelMember, target: Path, progress: Progress) -> None:
        """Fetch one member of a wheel to ``target``, and nothing else where the server can send ranges.

        Raises ``RefusedError`` where the member is missing, damaged or differs from the pinned hash.
        """
        try:
            with closing(self._open(member.wheel, progress)) as source:
                self._extract(source, member, target)
        except NoRangesError:
            whole = self.wheel(member.wheel, progress)
            with whole.open("rb") as source, explained(f"unpacking {whole.name}"):
                self._extract(source, member, target)
            whole.unlink()

    def _open(self, wheel: Wheel, progress: Progress) -> IO[bytes] | RemoteFile:
        url = self.addresses[wheel.filename]
        parts = urlsplit(url)
        if parts.scheme != "file":
            return RemoteFile(url, wheel.size_bytes, self.transport, progress)
        try:
            return Path(unquote(parts.path)).open("rb")
        except OSError as error:
            raise UnreachableError(f"Cannot read {redact(url)}: {error.strerror}.") from error

    def _extract(self, source: IO[bytes] | RemoteFile, member: WheelMember, target: Path) -> None:
        name = f"{member.path.rpartition('/')[2]} in {member.wheel.filename}"
        try:
            with (
                zipfile.ZipFile(source) as archive,
                archive.open(member.path) as packed,
                explained(f"fetching {name}"),
            ):
                self._copy(packed, target, member.sha256, name)
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
            target.unlink(missing_ok=True)
            raise RefusedError(
                f"{name} is damaged: {error}.", "The file at the index differs from the pinned one; nothing was kept."
            ) from error

    def _copy(self, source: IO[bytes] | RemoteFile, target: Path, sha256: str, name: str) -> None:
        digest = hashlib.sha256()
        with target.open("wb") as file:
            while data := source.read(CHUNK_BYTES):
                if self.stop.is_set():
                    raise InterruptedByUserError("Stopped.")
                digest.update(data)
                file.write(data)
        if digest.hexdigest() != sha256:
            target.unlink()
            raise RefusedError(
                f"{name} is not the file that was expected: its SHA-256 is {digest.hexdigest()}, pinned is {sha256}.",
                "Nothing of it was kept. A mirror that alters files, or a changed release, can cause this.",
            )
