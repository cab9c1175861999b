"""A server that is there and does not serve yet, or not this client: waited for or used, never started again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from provision.client.availability import Availability, ensure_available, ensure_available_async
from provision.errors import UnreachableError
from tests.standin.chat_bytes import whole
from tests.standin.fault_server import Act, faulty
from tests.standin.openai_server import Script, serving
from tests.unit.client.conftest import LateServer

FOUND = Availability()
LISTED = [whole({"object": "list", "data": []})]


def test_a_server_that_refuses_or_fails_runs(late: LateServer) -> None:
    for status in (429, 500, 529):
        with serving(Script(models=(status, '{"error": {"message": "too many requests"}}'))) as server:
            assert ensure_available(replace(late.config(), base_url=server.base_url), env=late.env) == FOUND
    assert late.pids() == []


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with faulty([Act.HOLD]) as server:
        yield server.base_url


def test_a_silent_server_is_waited_for_and_no_longer_than_was_asked(late: LateServer) -> None:
    before = time.monotonic()
    with silent() as base_url, pytest.raises(UnreachableError, match=r"within 0\.5 s\. It takes connections and does"):
        ensure_available(replace(late.config(), base_url=base_url), env=late.env, timeout_s=0.5)
    assert time.monotonic() - before < 5
    assert late.pids() == [], "who takes connections is there"


@pytest.mark.parametrize("end", [Act.FIN, Act.RESET])
def test_a_server_that_ends_connections_without_an_answer_is_asked_again(late: LateServer, end: Act) -> None:
    with faulty([end], [end], LISTED) as server:
        assert ensure_available(replace(late.config(), base_url=server.base_url), env=late.env) == FOUND
        assert len(server.requests) == 3
    assert late.pids() == []


def test_a_silent_server_that_stops_being_so_is_used(late: LateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provision.client.availability.LOOK_S", 0.3)
    with faulty(*[[Act.HOLD]] * 3, LISTED) as server:
        assert ensure_available(replace(late.config(), base_url=server.base_url), env=late.env) == FOUND


def test_what_does_not_speak_http_is_told_at_once(late: LateServer) -> None:
    with faulty([b"SSH-2.0-OpenSSH_9.2p1\r\n", Act.FIN]) as server, pytest.raises(UnreachableError, match="speak HTTP"):
        ensure_available(replace(late.config(), base_url=server.base_url), env=late.env)
    assert late.pids() == []


def test_cancelling_does_not_wait_for_a_silent_server(late: LateServer) -> None:
    async def cancel(base_url: str) -> float:
        task = asyncio.create_task(ensure_available_async(replace(late.config(), base_url=base_url), env=late.env))
        await asyncio.sleep(0.3)
        before = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - before

    with silent() as base_url:
        assert asyncio.run(cancel(base_url)) < 3


def test_those_who_wait_keep_no_threads_of_the_loop_busy(late: LateServer) -> None:
    async def wait(base_url: str) -> str:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        config = replace(late.config(), base_url=base_url)
        waiting = asyncio.create_task(ensure_available_async(config, env=late.env))
        await asyncio.sleep(0.1)
        try:
            return await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 5)
        finally:
            waiting.cancel()

    with silent() as base_url:
        assert asyncio.run(wait(base_url)) == "done"
