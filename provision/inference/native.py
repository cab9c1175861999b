"""A server that speaks this API itself: what is asked goes there as it is, and what it answers comes back so."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from provision.client.body import Body
from provision.client.connection import Connection
from provision.client.errors import AuthenticationError, ClientError, ConnectError, RateLimitError, UnavailableError
from provision.inference.calls import Call
from provision.inference.errors import ResponseError
from provision.inference.lines import LineSplitter, read_object
from provision.inference.thoughts import Thoughts

VERSION = "/api/version"
DONE = {"status": "success"}


class NativeBackend:
    """See ``Backend``."""

    keeps_alive = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def whole(self, call: Call[Any]) -> dict[str, Any]:
        document = {**(call.document or {}), "stream": False} if call.streams else call.document
        body = await self._connection.request(call.method, call.path, document)
        if not body:  # copied, deleted
            return dict(DONE)
        return Thoughts.of(call).whole(_no_error(read_object(body, self._connection.base_url)))

    async def pieces(self, call: Call[Any]) -> AsyncGenerator[dict[str, Any], None]:
        thoughts = Thoughts.of(call)
        body = await self._connection.open(call.path, {**(call.document or {}), "stream": True})
        last: dict[str, Any] = {}
        try:
            async with aclosing(self._documents(body)) as documents:
                async for document in documents:
                    last = _no_error(document)
                    yield thoughts.part(last)
        finally:
            body.close()
        if not (last.get("done") or DONE.items() <= last.items()):
            for held_back in thoughts.rest(last):
                yield held_back
            where = self._connection.base_url
            raise ResponseError(f"The answer of {where} stopped in the middle. Ask again; see the server's log.")

    async def aclose(self) -> None:
        await self._connection.aclose()

    async def _documents(self, body: Body) -> AsyncGenerator[dict[str, Any], None]:
        splitter = LineSplitter(self._connection.base_url)
        while data := await body.piece():
            for document in splitter.feed(data):
                yield document
        for document in splitter.close():
            yield document


def _no_error(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document that tells no error. Raises ``ResponseError`` with the server's words for one that does."""
    if document.get("error"):
        raise ResponseError(str(document["error"]))
    return document


async def speaks_it(connection: Connection) -> bool:
    """Tell whether the server speaks this API: only such a one tells its version there.

    Raises ``ClientError`` where it does not say: nobody answers, it wants a key, it is busy.
    """
    try:
        answer = read_object(await connection.request("GET", VERSION), connection.base_url)
    except (ConnectError, AuthenticationError, RateLimitError, UnavailableError):
        raise
    except ClientError:
        return False
    return isinstance(answer.get("version"), str)
