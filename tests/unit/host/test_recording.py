from __future__ import annotations

import statistics
import time
from itertools import pairwise

import pytest

from provision.host import ports
from provision.host.endpoint import EndpointClient
from provision.host.recording import record
from tests.standin.openai_server import Script, serving

CHAT = "/v1/chat/completions"
REQUEST = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8, "stream": True}


def test_bytes_are_stamped_one_by_one_as_they_come() -> None:
    with serving(Script(token_s=0.02, role_first=False)) as server:
        recording = record(EndpointClient(server.base_url), CHAT, REQUEST, 5.0)
    assert (recording.status, recording.error) == (200, None)
    assert recording.body.startswith(b"data: {")
    moments = [arrival.at_ns for arrival in recording.arrivals]
    assert recording.sent_ns < moments[0]
    assert moments == sorted(moments)
    assert moments[-1] <= recording.ended_ns
    gaps_ms = [(after - before) / 1e6 for before, after in pairwise(moments[:8])]
    assert 19.9 < statistics.median(gaps_ms) < 40
    assert 0 < recording.cpu_ns < recording.ended_ns - recording.sent_ns


def test_nobody_there() -> None:
    recording = record(EndpointClient(f"http://127.0.0.1:{ports.pick_free('127.0.0.1')}"), CHAT, REQUEST, 1.0)
    assert recording.status == 0
    assert "refused" in (recording.error or "")
    assert recording.arrivals == ()


def test_a_lost_connection_keeps_what_came_before() -> None:
    with serving(Script(drop_after=3)) as server:
        recording = record(EndpointClient(server.base_url), CHAT, REQUEST, 5.0)
    assert (recording.error or "").startswith("IncompleteRead")
    assert recording.body.count(b"data: ") == 4


@pytest.mark.parametrize("script", [Script(hang_after=2), Script(hangs=True)])
def test_silence_ends_after_the_timeout(script: Script) -> None:
    began = time.monotonic()
    with serving(script) as server:
        recording = record(EndpointClient(server.base_url), CHAT, REQUEST, 0.2)
    assert recording.error == "silent for 0.2 s"
    assert time.monotonic() - began < 2


def test_a_server_that_drips_for_ever_is_left() -> None:
    with serving(Script(token_s=0.05)) as server:
        recording = record(EndpointClient(server.base_url), CHAT, {**REQUEST, "max_tokens": 1000}, 0.3)
    assert recording.error == "not finished after 0.3 s"
    assert 2 < len(recording.arrivals) < 20
