"""Kept connections: some for each event loop, and none of another process's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import finalize

if TYPE_CHECKING:
    from types import SimpleNamespace

    import aiohttp

KEEP_S = 4.0  # shorter than the 5 s after which llama.cpp and uvicorn close a connection that is idle

Found: TypeAlias = "dict[asyncio.AbstractEventLoop, aiohttp.ClientSession]"


def leave_to_parent(owned: object) -> None:
    """Never destroy what a forked process got from its parent, not even when it exits.

    Closed or collected, it would be taken from the parent as well: both wait for their connections by one ``epoll``.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(owned))


@dataclass
class Sending:
    """What became of one request. ``kept``: it went over a connection that had been used before."""

    kept: bool = False


class Sessions:
    """The sessions of one client: connections belong to the event loop, and the process, that they were made in.

    ``connect_s`` is how long making a connection may take, with the name, a proxy and encryption in it; ``silence_s``
    how long a server may send nothing. ``env`` names the certificates of servers that are ``encrypted``.
    """

    def __init__(self, connect_s: float, silence_s: float, env: Mapping[str, str], *, encrypted: bool) -> None:
        self._connect_s, self._silence_s = connect_s, silence_s
        self._env, self._encrypted = env, encrypted
        self._begin()

    def here(self) -> aiohttp.ClientSession:
        """Return that of the running loop. Raises ``OSError`` for certificates that cannot be used."""
        if self._pid != os.getpid():
            self._forget()
            self._begin()
        loop = asyncio.get_running_loop()
        session = self._found.get(loop)
        if session is None or session.closed:
            _let_go(self._found, self._pid, lambda owner: owner.is_closed())
            session = self._found[loop] = self._new()
        return session

    async def aclose(self) -> None:
        """Close all of them."""
        mine = self._pid == os.getpid()
        session = self._found.pop(asyncio.get_running_loop(), None) if mine else None
        self._forget()
        self._begin()
        if session is not None:
            await session.close()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._found: Found = {}
        # Whoever forgets a client wants no more of it. A __del__ may come after that of the session.
        self._forget = finalize(self, _let_go, self._found, self._pid)

    def _new(self) -> aiohttp.ClientSession:
        import aiohttp

        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_kept)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_S, ssl=self._tls()),
            timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_s, sock_read=self._silence_s),
            headers={"User-Agent": "llm-fabric", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
        )

    def _tls(self) -> Any:
        from provision.host.certificates import tls_context

        return tls_context(self._env) if self._encrypted else True


async def _note_kept(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.kept = True


def _any(_: asyncio.AbstractEventLoop) -> bool:
    return True


def _let_go(found: Found, pid: int, which: Callable[[asyncio.AbstractEventLoop], bool] = _any) -> None:
    """Close the sessions of these loops without waiting, each in its loop, if that still runs."""
    if pid != os.getpid():
        leave_to_parent(found)
        return
    for loop in [owner for owner in list(found) if which(owner)]:
        session = found.pop(loop)
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
