"""Small answers of the web, such as those of an API: the rules of downloads, and an end within seconds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from provision.errors import RefusedError, UnreachableError
from provision.host.address import redact
from provision.host.request import request
from provision.host.transport import QUICK, Patience, Transport
from provision.host.watched import Watchdog
from provision.host.web_errors import RETRY_HINT, why
from provision.host.web_page import looks_like_a_page, page_instead

if TYPE_CHECKING:
    import urllib3

MOST_BYTES = 16 << 20
READ_BYTES = 1 << 16


def read_small(
    url: str, transport: Transport, headers: Mapping[str, str] | None = None, max_bytes: int = MOST_BYTES
) -> bytes:
    """Return what ``url`` answers; a server that cannot be reached is given up within about ten seconds.

    Raises ``StatusError`` for anything but success, ``UnreachableError`` where no whole answer comes,
    ``RefusedError`` for one of more than ``max_bytes``. A transport whose patience is not the usual keeps it.
    """
    transport = hurried(transport)
    with closing(request(transport.pool(url), url, transport, headers or {})) as response:
        if response.status != 200:
            raise UnreachableError(f"{redact(url)} answers {response.status} to a plain request.", RETRY_HINT)
        return read_body(response, url, transport, max_bytes)


def read_json(
    url: str, transport: Transport, headers: Mapping[str, str] | None = None, max_bytes: int = MOST_BYTES
) -> Any:
    """Return the JSON document at ``url``. Raises as ``read_small``, and ``UnreachableError`` for anything else."""
    import json

    body = read_small(url, transport, {"Accept": "application/json", **(headers or {})}, max_bytes)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        if looks_like_a_page(body):
            raise page_instead(url) from error
        raise UnreachableError(f"{redact(url)} answers with something that is not JSON.", RETRY_HINT) from error


def hurried(transport: Transport) -> Transport:
    """Return a transport that gives up soon, unless its patience is not the usual."""
    return replace(transport, patience=QUICK) if transport.patience == Patience() else transport


def read_body(response: urllib3.BaseHTTPResponse, url: str, transport: Transport, max_bytes: int) -> bytes:
    """Return the body of an answer. Raises ``RefusedError`` for a longer one, ``UnreachableError`` for less of it."""
    from urllib3.exceptions import HTTPError

    patience, body = transport.patience, bytearray()
    least = int(patience.min_bytes_per_s * patience.window_s)
    dog = Watchdog(response.shutdown, patience.window_s, least, transport.stopped)
    try:
        with dog.watching():
            while data := response.read1(READ_BYTES):
                body += data
                dog.arrived(len(data))
                if len(body) > max_bytes:
                    raise RefusedError(f"{redact(url)} sends more than the {max_bytes} bytes that it may.")
    except (HTTPError, OSError) as error:
        transport.go_on()
        raise UnreachableError(f"{redact(url)} breaks off: {dog.reason or why(error)}.", RETRY_HINT) from error
    transport.go_on()
    promised = response.headers.get("Content-Length", "")
    if dog.reason or (promised.isdecimal() and len(body) < int(promised)):
        raise UnreachableError(
            f"{redact(url)} breaks off: {dog.reason or 'the connection ended too early'}.", RETRY_HINT
        )
    return bytes(body)
