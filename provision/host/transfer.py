"""Bringing a part to its end from one address: resumed after every break, and never past what it may hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING

from provision.domain.frozen import frozen
from provision.errors import FabricError, RefusedError, UnreachableError
from provision.host.address import redact
from provision.host.answer import header_number
from provision.host.files import explained
from provision.host.part import Part, Source
from provision.host.request import request
from provision.host.transport import Transport
from provision.host.watched import Watchdog, body_watchdog
from provision.host.web_errors import RETRY_HINT, StatusError, why
from provision.host.web_page import FIRST_BYTES, looks_like_a_page, page_instead

if TYPE_CHECKING:
    import urllib3

MAX_BREAKS = 5
WORTH_BYTES = 8 << 20  # what a connection has to bring for its break not to count
READ_BYTES = 1 << 18
_STRONG_TAG = re.compile('"[!#-~]*"')  # a weak one does not promise the same bytes


class BrokenTransferError(FabricError):
    """The connection ended before the file did."""


class AwayError(FabricError):
    """Nobody answers; ``reason`` is the error that says why."""

    def __init__(self, reason: UnreachableError) -> None:
        super().__init__(reason.message.rstrip("."))
        self.reason = reason


class OtherFileError(FabricError):
    """What the server has does not go with the bytes that are here."""


@frozen
class Bounds:
    """What is known of a file before it comes: its size, whether its hash is pinned, and the most it may hold."""

    size_bytes: int | None
    is_pinned: bool
    most_bytes: int


@frozen
class _Offer:
    """What a server has begun to send: the source, the size of the whole, and whether it is the rest of the part."""

    source: Source
    total_bytes: int | None
    continues: bool


@frozen
class Transfer:
    """Fetches what is missing of ``part`` from ``url``. ``counted`` is called whenever the part's size has changed."""

    url: str
    part: Part
    bounds: Bounds
    transport: Transport
    headers: Mapping[str, str]
    counted: Callable[[], None]

    def run(self) -> None:
        """Bring the part to its end.

        Raises ``UnreachableError`` where the server does not answer, keeps breaking, or sends a web page;
        ``RefusedError`` where it sends another size than is pinned, or too much.
        """
        breaks, first = 0, self.part.size_bytes
        while True:
            before = self.part.size_bytes
            try:
                self._fetch_rest()
                return
            except OtherFileError:
                self._empty()
                trouble = "the file at the server changes all the time"
            except BrokenTransferError as broken:
                trouble = broken.message
            except AwayError as away:
                if self.part.size_bytes <= first:
                    raise away.reason from away
                trouble = away.message  # the network went while something arrived, so it may come back
            finally:
                self.counted()
            breaks = 0 if self.part.size_bytes - before >= WORTH_BYTES else breaks + 1
            if breaks >= MAX_BREAKS:
                raise UnreachableError(f"The download from {redact(self.url)} keeps breaking: {trouble}.", RETRY_HINT)
            self.transport.wait(self.transport.patience.backoff(breaks) if breaks > 1 else 0.0)

    def _fetch_rest(self) -> None:
        with explained("reading what is there of a download"):
            wanted = self._wanted()
            self.part.catch_up()  # before anybody is asked, who would have to wait for it
        if self.part.size_bytes == self.bounds.size_bytes:
            return
        try:
            response = request(self.transport.pool(self.url), self.url, self.transport, {**self.headers, **wanted})
        except StatusError:
            raise
        except UnreachableError as away:
            raise AwayError(away) from away
        with closing(response):
            offer = self._offer(response)
            self._check_size(response, offer)
            self._stream(response, offer)

    def _wanted(self) -> dict[str, str]:
        """Return the headers that ask for the rest; a part that cannot be continued from here is emptied.

        A pinned file may go on at another mirror: its hash will tell. Any other only where its ETag proves that it
        is still the same file.
        """
        part, bounds = self.part, self.bounds
        etag = part.source.etag if part.source is not None and part.source.url == redact(self.url) else None
        too_large = bounds.size_bytes is not None and part.size_bytes > bounds.size_bytes
        if part.size_bytes and (too_large or not (bounds.is_pinned or etag)):
            self._empty()
        if not part.size_bytes:
            return {}
        return {"Range": f"bytes={part.size_bytes}-", **({"If-Range": etag} if etag else {})}

    def _offer(self, response: urllib3.BaseHTTPResponse) -> _Offer:
        """Return what the server sends. Raises ``OtherFileError`` where a part of it would not fit ours."""
        etag = response.headers.get("ETag", "")
        strong = etag if _STRONG_TAG.fullmatch(etag) else None
        if response.status == 200:
            total = header_number(response.headers.get("Content-Length"))
            return _Offer(Source(redact(self.url), strong, total), total, continues=False)
        if not self.part.size_bytes:  # nothing was asked for but the whole
            raise UnreachableError(f"{redact(self.url)} answers {response.status} to a plain request.", RETRY_HINT)
        span, _, whole = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        start, _, last = span.partition("-")
        total, known = header_number(whole), self.part.source
        changed = known is not None and known.url == redact(self.url) and known.etag not in (None, strong)
        to_the_end = total is None or header_number(last) == total - 1
        if response.status != 206 or changed or header_number(start) != self.part.size_bytes or not to_the_end:
            raise OtherFileError("It is not the rest of this file.")
        return _Offer(Source(redact(self.url), strong, total), total, continues=True)

    def _check_size(self, response: urllib3.BaseHTTPResponse, offer: _Offer) -> None:
        """Refuse another size than the pinned one, before what is here already is touched."""
        total, bounds = offer.total_bytes, self.bounds
        if total is None:
            return
        if bounds.size_bytes not in (None, total):
            if not offer.continues and looks_like_a_page(self._read(response, FIRST_BYTES, None)):
                raise page_instead(self.url)
            raise self._unexpected(f"it has {total} bytes, pinned are {bounds.size_bytes}")
        if bounds.size_bytes is None and total > bounds.most_bytes:
            raise self._unexpected(f"it has {total} bytes, and more than {bounds.most_bytes} are never fetched")

    def _stream(self, response: urllib3.BaseHTTPResponse, offer: _Offer) -> None:
        part = self.part
        expected = offer.total_bytes if offer.total_bytes is not None else self.bounds.size_bytes
        most = self.bounds.most_bytes if expected is None else expected
        dog = body_watchdog(response, self.transport.patience, self.transport.stopped)
        begun = False
        with dog.watching():
            while data := self._read(response, READ_BYTES, dog):
                if not begun:
                    self._begin(offer, data)
                    begun = True
                if part.size_bytes + len(data) > most:
                    self._empty()
                    raise self._unexpected(f"more than the {most} bytes that it may have are sent")
                with explained(f"fetching {redact(self.url)}"):
                    part.write(data)
                dog.arrived(len(data))
                self.counted()
        is_short = not begun if expected is None else part.size_bytes < expected  # a head may have been cut, too
        if is_short:
            if offer.total_bytes is None and looks_like_a_page(part.first_bytes(FIRST_BYTES)):
                self._empty()
                raise page_instead(self.url)
            raise BrokenTransferError("the connection ended too early")

    def _begin(self, offer: _Offer, first: bytes) -> None:
        """Take the server's offer; what is here already is thrown away for a file only, never for a web page."""
        here = self.part.first_bytes(FIRST_BYTES)
        may_be_page = self.bounds.is_pinned and (not here or looks_like_a_page(here))
        if not offer.continues and not may_be_page and looks_like_a_page(first):
            raise page_instead(self.url)
        with explained("starting a download"):
            if self.part.size_bytes and not offer.continues:
                self.part.begin(offer.source)
            self.part.came_from(offer.source)

    def _read(self, response: urllib3.BaseHTTPResponse, most_bytes: int, dog: Watchdog | None) -> bytes:
        from urllib3.exceptions import HTTPError

        try:
            data: bytes = response.read1(most_bytes)
        except (HTTPError, OSError) as error:
            self.transport.go_on()
            raise BrokenTransferError((dog.reason if dog else None) or why(error)) from error
        self.transport.go_on()
        if dog and dog.reason:  # what comes out of a connection that was cut is nothing that anybody sent
            raise BrokenTransferError(dog.reason)
        return data

    def _empty(self) -> None:
        with explained("throwing a download away"):
            self.part.begin(Source(redact(self.url)))

    def _unexpected(self, what: str) -> RefusedError:
        return RefusedError(
            f"{redact(self.url)} is not the file that was expected: {what}.",
            "A mirror that alters files, or a changed release, can cause this. Nothing of it was kept.",
        )
