"""An answer of HTTP as it comes, and the words for what may happen to it on the way."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from provision.client.errors import ConnectError, StatusError
from provision.domain.retry_after import seconds_asked
from provision.host.server_said import server_said

if TYPE_CHECKING:
    import aiohttp

MAX_ERROR_BYTES = 1 << 20
GONE_HINT = "Check that the server runs, and its address."


class Body:
    """An answer whose head has come. ``sent_ns`` is when the request left (``time.perf_counter_ns``)."""

    def __init__(self, response: aiohttp.ClientResponse, where: str, sent_ns: int) -> None:
        self._response = response
        self._where = where
        self.sent_ns = sent_ns

    @property
    def content_type(self) -> str:
        """The type that the server names, without parameters, in lower case."""
        return self._response.content_type.lower()

    async def piece(self) -> bytes:
        """Return the next bytes, empty at the end. Raises ``OSError`` where the connection breaks."""
        import aiohttp

        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError) as error:
            raise ConnectionAbortedError(why(error)) from error

    async def read(self) -> bytes:
        """Return all of it. Raises ``ConnectError`` where the connection breaks."""
        import aiohttp

        try:
            return await self._response.read()
        except (OSError, aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise ConnectError(f"The answer of {self._where} broke off: {why(error)}.", GONE_HINT) from error

    async def finish(self, within_s: float) -> None:
        """Read to the end what is of no interest any more, if that takes no longer than ``within_s``."""
        with suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._drain(), within_s)

    async def _drain(self) -> None:
        while await self.piece():
            pass

    async def refusal(self) -> StatusError:
        """Return the error that the server tells."""
        said = b""
        with suppress(ConnectionAbortedError):
            while len(said) < MAX_ERROR_BYTES and (piece := await self.piece()):
                said += piece
        self.close()
        status = self._response.status
        asked = seconds_asked(self._response.headers.get("Retry-After"), time.time())
        words = server_said(said)
        if 300 <= status < 400:
            words = "it redirects elsewhere, which is not followed"
        return StatusError.of(self._where, status, words, asked)

    def close(self) -> None:
        """Keep the connection for the next request where the answer was read to its end, else break it off."""
        if self._response.content.is_eof():
            self._response.release()
        else:
            self._response.close()


def why(error: Exception, silence_s: float | None = None) -> str:
    """Return a few words for a failure of the line, without objects and addresses in them."""
    import aiohttp

    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closes the connection without an answer"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted ({getattr(error.certificate_error, 'verify_message', 'unknown')})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known here (DNS)"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy on the way answers {error.status}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection ended too early"
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return f"no answer within {silence_s:g} s" if silence_s else "it fell silent"
    cause = getattr(error, "os_error", error)
    number = getattr(cause, "errno", None)  # what asyncio makes of it names the address once more
    return os.strerror(number) if number else str(error) or type(error).__name__
