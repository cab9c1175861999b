from __future__ import annotations

import socket
import statistics
import time
from itertools import pairwise

import pytest

from provision.host import ports, recording
from provision.host.endpoint import EndpointClient
from provision.host.recording import record
from tests.standin.openai_server import Script, serving
from tests.standin.web_server import Answer, serving_site

CHAT = "/v1/chat/completions"
REQUEST = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8, "stream": True}


def test_bytes_are_stamped_one_by_one_as_they_come() -> None:
    with serving(Script(token_s=0.02, role_first=False)) as server:
        told = record(EndpointClient(server.base_url), CHAT, REQUEST, 5.0)
    assert (told.status, told.error) == (200, None)
    assert told.body.startswith(b"data: {")
    moments = [arrival.at_ns for arrival in told.arrivals]
    assert told.sent_ns < moments[0]
    assert moments == sorted(moments)
    assert moments[-1] <= told.ended_ns
    gaps_ms = [(after - before) / 1e6 for before, after in pairwise(moments[:8])]
    assert 19.9 < statistics.median(gaps_ms) < 40
    assert 0 < told.cpu_ns < told.ended_ns - told.sent_ns


def test_nobody_there() -> None:
    told = record(EndpointClient(f"http://127.0.0.1:{ports.pick_free('127.0.0.1')}"), CHAT, REQUEST, 1.0)
    assert told.status == 0
    assert "refused" in (told.error or "")
    assert told.arrivals == ()


def test_a_lost_connection_keeps_what_came_before() -> None:
    with serving(Script(drop_after=3)) as server:
        told = record(EndpointClient(server.base_url), CHAT, REQUEST, 5.0)
    assert (told.error or "").startswith("IncompleteRead")
    assert told.body.count(b"data: ") == 4


@pytest.mark.parametrize("script", [Script(hang_after=2), Script(hangs=True)])
def test_silence_ends_after_the_timeout(script: Script) -> None:
    began = time.monotonic()
    with serving(script) as server:
        told = record(EndpointClient(server.base_url), CHAT, REQUEST, 0.2)
    assert told.error == "silent for 0.2 s"
    assert time.monotonic() - began < 2


def test_a_server_that_floods_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_BYTES", 1 << 20)

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"data: x\n\n" * 1000)

    with serving_site(lambda _: Answer(raw=flood)) as server:
        kept = record(EndpointClient(f"http://127.0.0.1:{server.port}/v1"), CHAT, REQUEST, 30.0)
    assert (kept.status, kept.error) == (200, "more than 1 MiB")
    assert len(kept.body) < 2 << 20


def test_a_server_that_drips_for_ever_is_left() -> None:
    with serving(Script(token_s=0.05)) as server:
        told = record(EndpointClient(server.base_url), CHAT, {**REQUEST, "max_tokens": 1000}, 0.3)
    assert told.error == "not finished after 0.3 s"
    assert 2 < len(told.arrivals) < 20
