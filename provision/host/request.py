"""One request with all its rules: who may be asked, where redirects lead, who is told a secret, how often to ask."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from provision.domain.retry_after import seconds_asked
from provision.domain.web_address import without_login
from provision.errors import RefusedError, UnreachableError
from provision.host.address import origin, redact
from provision.host.answer import header_number
from provision.host.transport import Transport
from provision.host.web_errors import RETRY_HINT, StatusError, explained_failure, passes

if TYPE_CHECKING:
    import urllib3

MAX_REDIRECTS = 5
_BUSY = (429, 500, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
_SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization")


def request(
    pool: urllib3.PoolManager, url: str, transport: Transport, headers: Mapping[str, str]
) -> urllib3.BaseHTTPResponse:
    """GET ``url`` without reading the body, every redirect checked; credentials stay with their scheme, host and port.

    A server that is busy is asked again, as patiently as ``transport`` says. Raises ``StatusError`` for anything but
    200, 206 and 416, ``UnreachableError`` where nothing that makes sense answers, ``RefusedError`` for an address or an
    encoding that is not trusted.
    """
    transport.check(url)
    sent = {"Accept-Encoding": "identity", **headers, **_login(url)}
    url = without_login(url)
    for _ in range(MAX_REDIRECTS + 1):
        response = _answer(pool, url, transport, sent)
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or not location:
            return _checked(response, url, transport)
        response.close()
        target = transport.follow(url, location)
        if origin(target) != origin(url):
            sent = {name: value for name, value in sent.items() if name.lower() not in _SECRET_HEADERS}
            pool = transport.pool(target, redirected_by=url)
        url = target
    raise UnreachableError(f"{redact(url)} redirects for ever.", RETRY_HINT)


def _login(url: str) -> dict[str, str]:
    import urllib3

    parts = urlsplit(url)
    if not parts.username:
        return {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": urllib3.make_headers(basic_auth=login)["authorization"]}


def _answer(
    pool: urllib3.PoolManager, url: str, transport: Transport, headers: Mapping[str, str]
) -> urllib3.BaseHTTPResponse:
    """Return the first answer of a server that is not busy, or the last one."""
    import urllib3

    patience = transport.patience
    for attempt in itertools.count(1):
        transport.go_on()
        delay = patience.backoff(attempt)
        try:
            response = pool.request("GET", url, headers=headers, preload_content=False, redirect=False, retries=False)
        except urllib3.exceptions.HTTPError as error:
            transport.go_on()
            if attempt >= patience.connections or not passes(error):
                raise explained_failure(error, url, transport.proxy(url)) from error
        except ValueError:  # without its cause, which repeats the header
            raise RefusedError(f"A header for {redact(url)} has characters that no header may have.") from None
        else:
            if response.status not in _BUSY or attempt >= patience.attempts:
                return response
            asked = seconds_asked(response.headers.get("Retry-After"), time.time())
            delay = delay if asked is None else min(patience.max_wait_s, asked)
            response.close()
        transport.wait(delay)
    raise AssertionError


def _checked(response: urllib3.BaseHTTPResponse, url: str, transport: Transport) -> urllib3.BaseHTTPResponse:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if response.status not in (200, 206, 416):
        response.close()
        raise StatusError(response.status, response.reason, url, transport.proxy(url), response.headers)
    length = response.headers.get("Content-Length")
    if length is not None and header_number(length) is None:
        response.close()
        raise UnreachableError(f"{redact(url)} tells a length that is no size: {length[:40]!r}.", RETRY_HINT)
    if encoding not in ("", "identity"):
        response.close()
        raise RefusedError(
            f"{redact(url)} sends its answer encoded ({encoding[:40]}), though asked for it as it is.",
            "A proxy in between may do that; use another network or mirror.",
        )
    return response
