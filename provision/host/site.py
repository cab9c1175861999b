"""One answer of a site, read whole: small documents, whose status and headers matter as much as their text."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from provision.host.request import request
from provision.host.transport import Transport
from provision.host.web import hurried, read_body
from provision.host.web_errors import StatusError

PROXY_WANTS_LOGIN = 407


@dataclass(frozen=True)
class Answer:
    """``url`` is what was asked; the names in ``headers`` are in lower case."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes


def get(url: str, transport: Transport, headers: Mapping[str, str], max_bytes: int) -> Answer:
    """Return the answer of ``url``, whatever its status; that of an error comes without its body.

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
    quick = hurried(transport)
    try:
        response = request(quick.pool(url), url, quick, headers)
    except StatusError as error:
        if error.status == PROXY_WANTS_LOGIN:
            raise
        return Answer(url, error.status, error.headers, b"")
    with closing(response):
        lower = {name.lower(): value for name, value in response.headers.items()}
        is_read = response.status == 206 or (response.status == 200 and whole_is_wanted)
        return Answer(url, response.status, lower, read_body(response, url, quick, max_bytes) if is_read else b"")
