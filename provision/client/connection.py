"""The way to one model server: kept connections, patience, and every failure as an error of ``provision.client``."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from provision.client.body import GONE_HINT, Body, why
from provision.client.errors import ConnectError, RateLimitError, StatusError, UnavailableError
from provision.client.peer import Peer
from provision.client.request import encoded
from provision.client.sessions import Sending, Sessions
from provision.domain.frozen import frozen
from provision.domain.key_header import key_header
from provision.host.proxy import Proxy, proxy_for

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")


@frozen
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
    """Talks to one server by its ``base_url``, from any event loop; close it in the one that it was used in.

    ``env`` (else this process's) names proxies and certificates; this machine is never asked through a proxy.
    ``headers`` go with every request; ``default_key``, which is no secret, where there is no ``api_key``. No redirect
    is followed, so that the key stays with its host. ``peer`` is the server in messages.

    Raises ``UsageError`` for a key or a header that cannot be sent.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        patience: Patience = PATIENT,
        env: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        default_key: str | None = None,
    ) -> None:
        self.base_url = base_url
        self.peer = Peer.of(base_url, api_key, headers or {})
        self._patience = patience
        self._env = os.environ if env is None else env
        self._headers = {**key_header(api_key or default_key), **(headers or {})}
        encrypted = base_url.startswith("https:")
        self._sessions = Sessions(patience.connect_s, patience.silence_s, self._env, encrypted=encrypted)

    async def request(self, method: str, path: str, document: Any = None) -> bytes:
        """Send ``document`` as JSON and return the body of the answer.

        Raises ``ClientError``, and ``UsageError`` for what JSON cannot hold.
        """
        return await self._patiently(partial(self._whole, method, path, encoded(document)))

    async def open(self, path: str, document: Any) -> Body:
        """POST ``document`` and return the answer as it comes, its head already there. Raises as ``request``."""
        return await self._patiently(partial(self._begin, "POST", path, encoded(document)))

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        await self._sessions.aclose()

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

    async def _whole(self, method: str, path: str, data: bytes | None) -> bytes:
        body = await self._begin(method, path, data)
        try:
            return await body.read()
        finally:
            body.close()

    async def _begin(self, method: str, path: str, data: bytes | None) -> Body:
        """Send a request, and again where a kept connection turns out to have been closed meanwhile.

        That comes to an end: each of them is gone then, and a new one is not tried twice.
        """
        import aiohttp

        session = self._session()
        while True:
            sending = Sending()
            try:
                return await self._send(session, sending, method, path, data)
            except (OSError, aiohttp.ClientError) as error:
                if session.closed:
                    raise ConnectError(f"The client was closed while it waited for {self.base_url}.") from error
                if not (sending.kept and _closed_meanwhile(error)):
                    raise self._unreachable(error) from error

    def _session(self) -> aiohttp.ClientSession:
        try:
            return self._sessions.here()
        except OSError as error:
            raise self._unreachable(error) from error

    async def _send(
        self, session: aiohttp.ClientSession, sending: Sending, method: str, path: str, data: bytes | None
    ) -> Body:
        proxy = self._proxy()
        login, tunnelled = proxy.headers if proxy else {}, self.base_url.startswith("https:")
        headers = {
            **self._headers,
            **({"Content-Type": "application/json"} if data is not None else {}),
            **({} if tunnelled else login),  # a proxy reads a request in the clear itself
        }
        sent_ns = time.perf_counter_ns()
        response = await session.request(
            method,
            self.base_url + path,
            data=data,
            headers=headers,
            allow_redirects=False,
            proxy=proxy.url if proxy else None,
            proxy_headers=login if tunnelled else None,
            trace_request_ctx=sending,
        )
        body = Body(response, self.peer, sent_ns)
        if response.status != 200:
            raise await body.refusal()
        return body

    def _proxy(self) -> Proxy | None:
        parts = urlsplit(self.base_url)
        return proxy_for(parts.scheme, parts.hostname or "", self._env)

    def _unreachable(self, error: Exception) -> ConnectError:
        import aiohttp

        connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
        waited_s = self._patience.connect_s if connecting else self._patience.silence_s
        if isinstance(error, aiohttp.ClientResponseError):
            self._hide(error)
        return ConnectError(f"Cannot reach {self.base_url}: {self.peer.hidden(why(error, waited_s))}.", GONE_HINT)

    def _hide(self, error: aiohttp.ClientResponseError) -> None:
        """Take out of ``error``, for whoever prints it, the request, and so the key, and what the server repeats."""
        shown = error.request_info.headers.copy()
        shown.clear()
        error.args = ()
        error.request_info = error.request_info._replace(headers=type(error.request_info.headers)(shown))
        error.message = self.peer.hidden(error.message)
        error.__cause__ = error.__context__ = None


def _closed_meanwhile(error: Exception) -> bool:
    """Tell whether a connection that was kept may turn out to have been closed, politely or not."""
    import aiohttp

    gone = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)
    return isinstance(error, gone) and not isinstance(error, aiohttp.ClientConnectorError)
