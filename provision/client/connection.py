"""The way to one model server: kept connections, patience, and every failure as an error of ``provision.client``."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from weakref import finalize

from provision.client.body import GONE_HINT, Body, why
from provision.client.errors import ConnectError, RateLimitError, StatusError, UnavailableError
from provision.host.proxy import Proxy, proxy_for

if TYPE_CHECKING:
    import aiohttp

KEEP_S = 4.0  # shorter than the 5 s after which llama.cpp and uvicorn close a connection that is idle

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    ``silence_s`` is how long it may send nothing, such as while it reads a long prompt. Where it is busy (429, 503) or
    still loads its model, it is asked again for ``busy_s`` in all: after what ``Retry-After`` says, else after
    ``backoff_s``, doubled every time up to ``max_wait_s``, with a random part.
    """

    connect_s: float = 10.0
    silence_s: float = 600.0
    busy_s: float = 120.0
    backoff_s: float = 0.25
    max_wait_s: float = 10.0


PATIENT = Patience()


class Connection:
    """Talks to one server by its ``base_url``. Use it within one event loop, and close it there.

    ``env`` (else this process's) names proxies and certificates; this machine is never asked through a proxy.
    ``headers`` go with every request; ``default_key``, which is no secret, where there is no ``api_key``. No redirect
    is followed, so that the key stays with its host.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        patience: Patience = Patience(),
        env: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        default_key: str | None = None,
    ) -> None:
        key = api_key or default_key
        self.base_url = base_url
        self._patience = patience
        self._env = os.environ if env is None else env
        self._api_key = api_key
        self._headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forget: Callable[[], object] = lambda: None

    async def request(self, method: str, path: str, document: Any = None) -> bytes:
        """Send ``document`` as JSON and return the body of the answer. Raises ``ClientError``."""
        return await self._patiently(partial(self._whole, method, path, document))

    async def open(self, path: str, document: Any) -> Body:
        """POST ``document`` and return the answer as it comes, its head already there. Raises ``ClientError``."""
        return await self._patiently(partial(self._begin, "POST", path, document))

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay
        from tenacity.wait import wait_random_exponential

        patience = self._patience
        backoff = wait_random_exponential(multiplier=patience.backoff_s, max=patience.max_wait_s)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after_s if isinstance(error, StatusError) else None
            return backoff(state) if asked is None else max(asked, patience.backoff_s)

        busy = retry_if_exception_type((RateLimitError, UnavailableError))
        stop = stop_before_delay(patience.busy_s)
        return await AsyncRetrying(retry=busy, wait=wait, stop=stop, reraise=True)(ask)

    async def _whole(self, method: str, path: str, document: Any) -> bytes:
        body = await self._begin(method, path, document)
        try:
            return await body.read()
        finally:
            body.close()

    async def _begin(self, method: str, path: str, document: Any) -> Body:
        """Send a request once, and once more where a kept connection turns out to have been closed meanwhile."""
        import aiohttp

        session = self._session_here()
        try:
            return await self._send(session, method, path, document)
        except (OSError, aiohttp.ClientError) as error:
            if session.closed:
                raise ConnectError(f"The client was closed while it waited for {self.base_url}.") from error
            if not _closed_meanwhile(error):
                raise self._unreachable(error) from error
        try:
            return await self._send(session, method, path, document)
        except (OSError, aiohttp.ClientError) as error:
            raise self._unreachable(error) from error

    async def _send(self, session: aiohttp.ClientSession, method: str, path: str, document: Any) -> Body:
        import msgspec

        proxy = self._proxy()
        login, tunnelled = proxy.headers if proxy else {}, self.base_url.startswith("https:")
        headers = {
            **self._headers,
            **({"Content-Type": "application/json"} if document is not None else {}),
            **({} if tunnelled else login),  # a proxy reads a request in the clear itself
        }
        sent_ns = time.perf_counter_ns()
        response = await session.request(
            method,
            self.base_url + path,
            data=msgspec.json.encode(document) if document is not None else None,
            headers=headers,
            allow_redirects=False,
            proxy=proxy.url if proxy else None,
            proxy_headers=login if tunnelled else None,
        )
        body = Body(response, self.base_url, sent_ns)
        if response.status != 200:
            raise await body.refusal(self._api_key)
        return body

    def _proxy(self) -> Proxy | None:
        parts = urlsplit(self.base_url)
        return proxy_for(parts.scheme, parts.hostname or "", self._env)

    def _session_here(self) -> aiohttp.ClientSession:
        """Return the session of the running event loop: connections belong to the loop that they were made in."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            self._forget()
            self._session, self._loop = self._new_session(), loop
            # Whoever forgets a client wants no more of it. A __del__ may come after that of the session.
            self._forget = finalize(self, _let_go, self._session, loop)
        return self._session

    def _new_session(self) -> aiohttp.ClientSession:
        import aiohttp

        patience = self._patience
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_S, ssl=self._tls()),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=patience.connect_s, sock_read=patience.silence_s),
            headers={"User-Agent": "llm-fabric", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _tls(self) -> Any:
        from provision.host.certificates import tls_context

        try:
            return tls_context(self._env) if self.base_url.startswith("https:") else True
        except OSError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> ConnectError:
        import aiohttp

        connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
        waited_s = self._patience.connect_s if connecting else self._patience.silence_s
        if isinstance(error, aiohttp.ClientResponseError):  # it shows the request, and so the key, to whoever prints it
            shown = error.request_info.headers.copy()
            shown.clear()
            error.args = ()
            error.request_info = error.request_info._replace(headers=type(error.request_info.headers)(shown))
        return ConnectError(f"Cannot reach {self.base_url}: {why(error, waited_s)}.", GONE_HINT)


def _closed_meanwhile(error: Exception) -> bool:
    """Tell whether a connection that was kept may turn out to have been closed, politely or not."""
    import aiohttp

    gone = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)
    return isinstance(error, gone) and not isinstance(error, aiohttp.ClientConnectorError)


def _let_go(session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> None:
    """Close the connections without waiting, in the loop that they belong to, if that still runs."""
    if session.closed:
        return
    if loop.is_running():
        with suppress(RuntimeError):  # it has just ended
            loop.call_soon_threadsafe(_close_at_once, session)
    else:
        _close_at_once(session)


def _close_at_once(session: aiohttp.ClientSession) -> None:
    """Close it without waiting for what the other side says to that."""
    closing = session.close()
    with suppress(StopIteration):
        closing.send(None)
    closing.close()
