"""Whether nobody is there, or somebody who does not answer: what only the moment of connecting tells."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from provision.host.endpoint import EndpointClient
from tests.standin.command import free_port


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and does nothing with them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def absence(base_url: str, env: dict[str, str] | None = None) -> str | None:
    answer = EndpointClient(base_url, timeout_s=0.3, env=env or {}).get("/v1/models")
    assert (answer.status, bool(answer.error)) == (0, True)
    return answer.absence


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_here(scheme: str, silent: int) -> None:
    assert absence(f"{scheme}://127.0.0.1:{silent}") == "silent"
    assert absence(f"{scheme}://127.0.0.1:{free_port()}") == "away"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_elsewhere(scheme: str) -> None:
    assert absence(f"{scheme}://nobody.invalid") == "away"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_behind_a_proxy(scheme: str, silent: int) -> None:
    proxied = f"{scheme}_proxy"
    assert absence(f"{scheme}://server.example", {proxied: f"http://127.0.0.1:{silent}"}) == "silent"
    assert absence(f"{scheme}://server.example", {proxied: f"http://127.0.0.1:{free_port()}"}) == "away"


def test_a_server_that_takes_no_more_connections() -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        assert absence(f"http://127.0.0.1:{listener.getsockname()[1]}") == "silent"
