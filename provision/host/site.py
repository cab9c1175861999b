"""One answer of a site, read whole: small documents, whose status matters as much as their text.

Bounded in bytes and time. Redirects are followed where the next address may be trusted as well; credentials stay
with the site that they were meant for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from provision.domain.reference import LOOPBACK
from provision.errors import RefusedError, UnreachableError
from provision.host.download import Transport, redact

if TYPE_CHECKING:
    import urllib3

CONNECT_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 15.0
TOTAL_TIMEOUT_S = 90.0
CHUNK_BYTES = 1 << 16
MAX_ERROR_BYTES = 1 << 16
MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
CREDENTIALS = ("authorization", "cookie")
_HINT = "Check the network and the proxy, then run the same command again."


@dataclass(frozen=True)
class Answer:
    """``url`` is where it came from in the end; the names in ``headers`` are in lower case."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes


def get(url: str, transport: Transport, headers: Mapping[str, str], max_bytes: int) -> Answer:
    """Return the answer of ``url``, whatever its status.

    Raises ``UnreachableError`` where there is none or it does not end, ``RefusedError`` where it is larger than
    ``max_bytes`` or a redirect leads to where nothing may be fetched.
    """
    return _answer(url, transport, headers, max_bytes)


def get_range(url: str, transport: Transport, headers: Mapping[str, str], start: int, end: int) -> Answer:
    """Return the answer to a request for the bytes from ``start`` to before ``end``.

    A server without ranges answers 200 and sends all: none of that is read, and the body is empty. Raises what
    ``get`` raises.
    """
    asked = {**headers, "Range": f"bytes={start}-{end - 1}"}
    return _answer(url, transport, asked, max(end - start, MAX_ERROR_BYTES), is_partial=True)


def _answer(
    url: str, transport: Transport, headers: Mapping[str, str], max_bytes: int, *, is_partial: bool = False
) -> Answer:
    import urllib3

    until = time.monotonic() + TOTAL_TIMEOUT_S
    sent = {"Accept-Encoding": "identity", **headers}
    for _ in range(MAX_REDIRECTS + 1):
        transport.check(url)
        try:
            response = _ask(url, transport, sent)
            location = response.headers.get("Location") if response.status in REDIRECTS else None
            if location is None:
                return _read(response, url, 0 if is_partial and response.status == 200 else max_bytes, until)
            response.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise UnreachableError(f"Cannot reach {redact(url)}: {reason}.", _HINT) from error
        target = _joined(url, location)
        if origin_of(target) != origin_of(url):
            _refuse_inward(url, target)
            sent = {name: value for name, value in sent.items() if name.lower() not in CREDENTIALS}
        url = target
    raise UnreachableError(f"{redact(url)} redirects for ever.", _HINT)


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port. Raises ``RefusedError`` for an address that has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError as error:
        raise RefusedError("A site redirects to what is no address.", _HINT) from error
    return parts.scheme, parts.hostname or "", port


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise RefusedError(f"{redact(url)} redirects to what is no address.", _HINT) from error


def _refuse_inward(url: str, target: str) -> None:
    """Raise ``RefusedError`` where a site elsewhere sends us to a service of this machine."""
    if origin_of(target)[1] in LOOPBACK and origin_of(url)[1] not in LOOPBACK:
        raise RefusedError(f"{redact(url)} redirects to this machine itself.", "Check the address.")


def _ask(url: str, transport: Transport, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
    import urllib3

    retries = urllib3.Retry(
        total=3,
        connect=2,
        redirect=0,
        backoff_factor=0.2,
        status_forcelist=(500, 502, 503, 504),
        raise_on_redirect=False,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=IDLE_TIMEOUT_S)
    pool = transport.pool(url)
    return pool.request(
        "GET", url, headers=headers, preload_content=False, redirect=False, retries=retries, timeout=timeout
    )


def _read(response: urllib3.BaseHTTPResponse, url: str, max_bytes: int, until: float) -> Answer:
    body = bytearray()
    try:
        while max_bytes and (data := response.read1(CHUNK_BYTES)):
            body += data
            if len(body) > max_bytes:
                raise RefusedError(
                    f"{redact(url)} sends more than the {max_bytes} bytes that are believable there.",
                    "Check the address; a proxy may be in between.",
                )
            if time.monotonic() > until:
                raise UnreachableError(f"{redact(url)} takes longer than {TOTAL_TIMEOUT_S:.0f} s to answer.", _HINT)
    finally:
        response.close()
    lower = {name.lower(): value for name, value in response.headers.items()}
    return Answer(url, response.status, lower, bytes(body))
