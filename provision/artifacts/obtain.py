"""One pinned file: from a directory beside, else from one address after the other, and never with another hash."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from provision.domain.artifacts import PinnedFile
from provision.domain.frozen import frozen
from provision.domain.web_address import without_login
from provision.errors import FabricError, RefusedError, UnreachableError
from provision.host.address import redact
from provision.host.files import explained
from provision.host.part import Part, Source
from provision.host.transfer import Bounds, Transfer
from provision.host.transport import Transport
from provision.host.web_page import FIRST_BYTES, looks_like_a_page, page_instead

MOST_BYTES = 256 << 30  # of a file whose size nobody has told
CHUNK_BYTES = 1 << 20
_SHA256 = re.compile("[0-9a-f]{64}")

Bring = Callable[[str, Part, Callable[[], None]], None]
"""Brings a part to its end from an address; the function that it is given is called whenever the size has changed."""


class RejectedError(RefusedError):
    """What came is not what was pinned, or damaged."""


@frozen
class Ways:
    """Where files may come from, and who is told.

    ``copy_of`` returns a copy on this machine by its SHA-256, ``headers`` what to send to an address besides the
    usual. ``mirrored`` returns the address that stands in for one. With ``offline`` only copies are used. ``say`` is
    told why an address was given up.
    """

    transport: Transport
    copy_of: Callable[[str], Path | None]
    offline: bool
    headers: Callable[[str], Mapping[str, str]]
    say: Callable[[str], None]
    most_bytes: int = MOST_BYTES
    mirrored: Callable[[str], str] = str


def key_of(file: PinnedFile) -> str:
    """Return the name of the file's part: its hash, else that of its first address without the login."""
    if file.sha256 is not None:
        if not _SHA256.fullmatch(file.sha256):
            raise RefusedError(f"{file.path} is pinned by {file.sha256[:80]!r}, which is no SHA-256.")
        return file.sha256
    return "url-" + hashlib.sha256(without_login(file.urls[0] if file.urls else file.path).encode()).hexdigest()


def obtain(
    file: PinnedFile, part: Part, ways: Ways, progress: Callable[[int], None], bring: Bring | None = None
) -> str:
    """Bring ``part`` to its end and return its SHA-256, which is the pinned one where one is pinned.

    ``bring`` is what fetches from an address, ``Transfer`` where it is ``None``. ``progress`` is told every change of
    the size, also what was here before and what had to be thrown away. Raises ``RefusedError`` where other bytes came
    (twice: there is one clean retry), ``UnreachableError`` where no address has the file.
    """
    return _Obtaining(file, part, ways, progress, bring).run()


class _Obtaining:
    def __init__(
        self, file: PinnedFile, part: Part, ways: Ways, progress: Callable[[int], None], bring: Bring | None
    ) -> None:
        self._file, self._part, self._ways, self._progress = file, part, ways, progress
        self._bring = bring or self._transfer
        self._told_bytes = 0
        self._failures: list[UnreachableError | RefusedError] = []

    def run(self) -> str:
        self._counted()
        sha256 = self._from_copy()
        if sha256 is None and self._ways.offline:
            raise self._failures[-1] if self._failures else self._missing()
        return sha256 or self._from_addresses()

    def _from_copy(self) -> str | None:
        """Return the hash of a copy on this machine, ``None`` where there is none, or none that is right."""
        copy = self._ways.copy_of(self._file.sha256) if self._file.sha256 else None
        if copy is None:
            return None
        try:
            with explained(f"copying {self._file.path}"), copy.open("rb") as source:
                self._part.begin(Source(""))
                while data := source.read(CHUNK_BYTES):
                    self._ways.transport.go_on()
                    self._part.write(data)
                    self._counted()
            return self._verified(str(copy))
        except RejectedError as rejected:
            self._failures.append(rejected)
            self._ways.say(rejected.message)
            return None

    def _from_addresses(self) -> str:
        addresses = deque(map(self._ways.mirrored, self._file.urls))
        has_retried = False
        while addresses:
            url = addresses.popleft()
            try:
                return self._from_address(url)
            except RejectedError as rejected:
                self._failures.append(rejected)
                if has_retried:
                    break
                has_retried = True
                addresses = addresses or deque([url])
            except (UnreachableError, RefusedError) as failure:
                self._failures.append(failure)
            if addresses:
                self._ways.say(f"{self._failures[-1].message} Asking {redact(addresses[0])}.")
        raise self._failure()

    def _from_address(self, url: str) -> str:
        self._bring(url, self._part, self._counted)
        return self._verified(url)

    def _transfer(self, url: str, part: Part, counted: Callable[[], None]) -> None:
        bounds = Bounds(self._file.size_bytes, self._file.sha256 is not None, self._ways.most_bytes)
        Transfer(url, part, bounds, self._ways.transport, self._ways.headers(url), counted).run()

    def _verified(self, place: str) -> str:
        """Return the hash. What is not the pinned file is set aside; a web page is just thrown away."""
        file, part = self._file, self._part
        with explained(f"checking {file.path}"):
            sha256 = part.sha256()
            if file.sha256 == sha256:
                return sha256
            if looks_like_a_page(part.first_bytes(FIRST_BYTES)):
                part.begin(Source(""))
                self._counted()
                raise page_instead(place)
            if file.sha256 is None:
                return sha256
            aside = part.reject()
        self._counted()
        raise RejectedError(
            f"{file.path} is not the file that was expected: its SHA-256 is {sha256}, pinned is {file.sha256}.",
            f"A mirror that alters files, or a changed release, can cause this. It was set aside: {aside}",
        )

    def _counted(self) -> None:
        if self._part.size_bytes != self._told_bytes:
            self._progress(self._part.size_bytes - self._told_bytes)
            self._told_bytes = self._part.size_bytes

    def _missing(self) -> UnreachableError:
        pinned = f" (SHA-256 {self._file.sha256})" if self._file.sha256 else ""
        return UnreachableError(
            f"{self._file.path}{pinned} is not here, and nothing may be fetched.",
            "Run once without --offline, or use a bundle that holds it.",
        )

    def _failure(self) -> FabricError:
        """Return the only failure, or all of them as one; that other bytes came weighs most."""
        if not self._failures:
            return UnreachableError(f"{self._file.path} has no address to fetch it from.")
        last = next((one for one in reversed(self._failures) if isinstance(one, RejectedError)), self._failures[-1])
        if len(self._failures) == 1 or len({one.message for one in self._failures}) == 1:
            return last
        refused = any(isinstance(one, RefusedError) for one in self._failures)
        words = " ".join(dict.fromkeys(one.message for one in self._failures))
        kind = RefusedError if refused else UnreachableError
        return kind(f"{self._file.path} cannot be had from any of its addresses. {words}", last.hint)
