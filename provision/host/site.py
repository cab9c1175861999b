"""One answer of a site, read whole: small documents, whose status and headers matter as much as their text."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from provision.domain.frozen import frozen
from provision.errors import RefusedError, UnreachableError
from provision.host.address import redact
from provision.host.answer import header_number
from provision.host.request import request
from provision.host.transport import QUICK, Patience, Transport
from provision.host.watched import body_watchdog
from provision.host.web_errors import RETRY_HINT, StatusError, why

if TYPE_CHECKING:
    import urllib3

PROXY_WANTS_LOGIN = 407
READ_BYTES = 1 << 16


class BrokenOffError(UnreachableError):
    """An answer began, and does not come to its end."""


@frozen
class Answer:
    """``url`` is what was asked; the names in ``headers`` are in lower case."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes


def get(url: str, transport: Transport, headers: Mapping[str, str], max_bytes: int) -> Answer:
    """Return the answer of ``url``, whatever its status; that of an error comes without its body.

    A server that cannot be reached is given up within about ten seconds, unless the transport has a patience of its
    own.

    Raises ``UnreachableError`` where there is none or it does not end, ``RefusedError`` where it is larger than
    ``max_bytes`` or a redirect leads to where nothing may be fetched.
    """
    return _answer(url, transport, headers, max_bytes, whole_is_wanted=True)


def get_range(url: str, transport: Transport, headers: Mapping[str, str], start: int, end: int) -> Answer:
    """Return the answer to a request for the bytes from ``start`` to before ``end``.

    A server without ranges answers 200 and sends all: none of that is read, and the body is empty. Raises what
    ``get`` raises.
    """
    asked = {**headers, "Range": f"bytes={start}-{end - 1}"}
    return _answer(url, transport, asked, end - start, whole_is_wanted=False)


def _answer(
    url: str, transport: Transport, headers: Mapping[str, str], max_bytes: int, *, whole_is_wanted: bool
) -> Answer:
    quick = _hurried(transport)
    try:
        response = request(quick.pool(url), url, quick, headers)
    except StatusError as error:
        if error.status == PROXY_WANTS_LOGIN:
            raise
        return Answer(url, error.status, error.headers, b"")
    with closing(response):
        lower = {name.lower(): value for name, value in response.headers.items()}
        is_read = response.status == 206 or (response.status == 200 and whole_is_wanted)
        return Answer(url, response.status, lower, _body(response, url, quick, max_bytes) if is_read else b"")


def _hurried(transport: Transport) -> Transport:
    return replace(transport, patience=QUICK) if transport.patience == Patience() else transport


def _body(response: urllib3.BaseHTTPResponse, url: str, transport: Transport, max_bytes: int) -> bytes:
    from urllib3.exceptions import HTTPError

    body, trouble = bytearray(), ""
    dog = body_watchdog(response, transport.patience, transport.stopped)
    try:
        with dog.watching():
            while not dog.reason and (data := response.read1(READ_BYTES)):
                body += data
                dog.arrived(len(data))
                if len(body) > max_bytes:
                    raise RefusedError(f"{redact(url)} sends more than the {max_bytes} bytes that it may.")
    except (HTTPError, OSError) as error:
        trouble = why(error)
    transport.go_on()
    promised = header_number(response.headers.get("Content-Length"))
    if promised is not None and len(body) < promised:
        trouble = trouble or "the connection ended too early"
    if dog.reason or trouble:
        raise BrokenOffError(f"{redact(url)} breaks off: {dog.reason or trouble}.", RETRY_HINT)
    return bytes(body)
