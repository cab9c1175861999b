"""An answer of HTTP as it comes, and the words for what may happen to it on the way."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from provision.client.errors import AnswerError, ConnectError, StatusError
from provision.client.peer import Peer
from provision.client.sessions import leave_to_parent
from provision.domain.retry_after import seconds_asked
from provision.domain.visible import visible

if TYPE_CHECKING:
    import aiohttp

MAX_ERROR_BYTES = 1 << 20
MAX_ANSWER_BYTES = 1 << 28  # a thousand vectors of several thousand numbers are a tenth of it
REFUSAL_S = 10.0
GONE_HINT = "Check that the server runs, and its address."


class Body:
    """An answer whose head has come. ``sent_ns`` is when the request left (``time.perf_counter_ns``)."""

    def __init__(self, response: aiohttp.ClientResponse, peer: Peer, sent_ns: int) -> None:
        self._response = response
        self._peer = peer
        self._pid = os.getpid()
        self.sent_ns = sent_ns
        _tell_of_the_end(response)

    async def piece(self) -> bytes:
        """Return the next bytes, empty at the end. Raises ``OSError`` where the connection breaks."""
        import aiohttp

        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError) as error:
            raise ConnectionAbortedError(why(error)) from error

    async def read(self) -> bytes:
        """Return all of it.

        Raises ``ConnectError`` where the connection breaks, ``AnswerError`` beyond ``MAX_ANSWER_BYTES``.
        """
        said = bytearray()
        try:
            await self._collect(said, MAX_ANSWER_BYTES)
        except OSError as error:
            raise ConnectError(f"The answer of {self._peer.where} broke off: {error}.", GONE_HINT) from error
        if len(said) > MAX_ANSWER_BYTES:
            raise too_long(self._peer)
        return bytes(said)

    async def finish(self, within_s: float) -> None:
        """Read to the end what is of no interest any more, if that takes no longer than ``within_s``."""
        with suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._drain(), within_s)

    async def refusal(self) -> StatusError:
        """Return the error that the server tells, with as much of its words as come in a short time."""
        said = bytearray()
        try:
            with suppress(OSError, asyncio.TimeoutError):  # what has come may tell enough
                await asyncio.wait_for(self._collect(said, MAX_ERROR_BYTES), REFUSAL_S)
        finally:
            self.close()
        status = self._response.status
        asked = seconds_asked(self._response.headers.get("Retry-After"), time.time())
        words = self._peer.said(bytes(said))
        if 300 <= status < 400:
            words = "it redirects elsewhere, which is not followed"
        return StatusError.of(self._peer.where, status, words, asked)

    def close(self) -> None:
        """Keep the connection for the next request where the answer was read to its end, else break it off."""
        if self._pid != os.getpid():
            leave_to_parent(self._response)
        elif self._response.content.is_eof():
            self._response.release()
        else:
            self._response.close()

    async def _drain(self) -> None:
        while await self.piece():
            pass

    async def _collect(self, said: bytearray, limit: int) -> None:
        """Add to ``said`` what comes, until it is longer than ``limit``."""
        while len(said) <= limit and (piece := await self.piece()):
            said += piece


def too_long(peer: Peer) -> AnswerError:
    """Return the error for an answer without an end."""
    return AnswerError(
        f"What {peer.where} sends is longer than an answer can be: more than {MAX_ANSWER_BYTES >> 20} MiB.",
        "Check that the base URL leads to a model server, and ask for less at once.",
    )


def _tell_of_the_end(response: aiohttp.ClientResponse) -> None:
    """Have whoever reads hear that the connection has ended: after a chunk without sense aiohttp does not say so."""
    import aiohttp

    content, connection = response.content, response.connection
    protocol = connection.protocol if connection is not None else None
    closed = protocol.closed if protocol is not None else None
    if closed is None:
        return

    def ended(_: asyncio.Future[None]) -> None:
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection has ended"))

    def forget() -> None:
        closed.remove_done_callback(ended)

    closed.remove_done_callback(hear)  # once for each connection
    closed.add_done_callback(hear)
    closed.add_done_callback(ended)
    content.on_eof(forget)


def hear(ended: asyncio.Future[None]) -> None:
    """Take note of why it ended, which asyncio would else log; whoever reads is told by other means."""
    if not ended.cancelled():
        ended.exception()


def why(error: Exception, silence_s: float | None = None) -> str:
    """Return a few words for a failure of the line, without objects and addresses in them."""
    import aiohttp

    silence = f"no answer within {silence_s:g} s" if silence_s else "it fell silent"
    words: dict[type[Exception], Callable[[Any], str]] = {
        aiohttp.ServerDisconnectedError: lambda _: "it closes the connection without an answer",
        aiohttp.ClientConnectorCertificateError: lambda e: f"its certificate is not trusted ({_reason(e)})",
        aiohttp.ClientConnectorSSLError: lambda e: f"no encrypted connection comes about ({_reason(e)})",
        aiohttp.ClientConnectorDNSError: lambda _: "its name is not known here (DNS)",
        aiohttp.ClientProxyConnectionError: lambda e: f"the proxy on the way cannot be reached ({_number_in_words(e)})",
        aiohttp.ClientHttpProxyError: lambda e: f"the proxy on the way answers {e.status}",
        aiohttp.ClientPayloadError: lambda _: "the connection ended too early",
        aiohttp.ClientResponseError: lambda e: f"what it sends is no HTTP ({_first_line(e.message)})",
        asyncio.TimeoutError: lambda _: silence,
        TimeoutError: lambda _: silence,
    }
    return next((say for kind, say in words.items() if isinstance(error, kind)), _number_in_words)(error)


def _reason(error: Any) -> str:
    """Return what OpenSSL says."""
    cause = getattr(error, "certificate_error", None) or error.os_error
    return getattr(cause, "verify_message", None) or getattr(cause, "reason", None) or "unknown"


def _first_line(text: str) -> str:
    return visible(text.partition("\n")[0]).rstrip(": ")


def _number_in_words(error: Exception) -> str:
    """Return the system's words: what asyncio makes of them names the address once more."""
    number = getattr(getattr(error, "os_error", error), "errno", None)
    return os.strerror(number) if number else str(error) or type(error).__name__
