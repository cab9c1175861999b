from __future__ import annotations

import time

import pytest

from provision.host.endpoint import EndpointClient
from provision.observe.load import Load, closed_loop
from tests.standin.openai_server import Script, serving


def requests(count: int) -> list[dict[str, object]]:
    return [
        {"messages": [{"role": "user", "content": f"{number}"}], "max_tokens": 3, "stream": True}
        for number in range(count)
    ]


def most_at_a_time(load: Load) -> int:
    spans = [(recording.sent_ns, recording.ended_ns) for recording in load.recordings]
    return max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans)


@pytest.mark.parametrize(("count", "concurrency"), [(3, 1), (7, 3), (2, 5)])
def test_as_many_at_a_time_as_there_are_clients(count: int, concurrency: int) -> None:
    with serving(Script(token_s=0.05)) as server:
        load = closed_loop(lambda: EndpointClient(server.base_url), requests(count), concurrency, 5.0)
    assert most_at_a_time(load) == min(count, concurrency)
    assert len(load.recordings) == count
    assert all(recording.status == 200 and not recording.error for recording in load.recordings)


def test_each_client_sends_its_next_request_when_its_last_is_answered() -> None:
    with serving(Script(token_s=0.02)) as server:
        load = closed_loop(lambda: EndpointClient(server.base_url), requests(3), 1, 5.0)
        contents = [chat["messages"][0]["content"] for chat in server.chats]
    assert contents == ["0", "1", "2"]
    first, second, third = load.recordings
    assert first.ended_ns <= second.sent_ns <= second.ended_ns <= third.sent_ns
    spans_s = (third.ended_ns - first.sent_ns) / 1e9
    assert spans_s <= load.duration_s < spans_s + 0.2


def test_a_failing_request_does_not_stop_the_others() -> None:
    with serving(Script(drop_after=1)) as server:
        load = closed_loop(lambda: EndpointClient(server.base_url), requests(4), 2, 5.0)
    assert [bool(recording.error) for recording in load.recordings] == [True] * 4


def test_an_interrupt_ends_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ctrl-C does, while the main thread waits for the clients."""
    import threading

    joined = threading.Thread.join

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        if timeout is not None and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        joined(self, timeout)

    with serving(Script(token_s=0.02)) as server:
        monkeypatch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            closed_loop(lambda: EndpointClient(server.base_url), requests(50), 1, 5.0)
        monkeypatch.undo()
        time.sleep(0.3)
        assert len(server.chats) <= 2
