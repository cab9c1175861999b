"""Answers that come line by line, and the parts of the loopback client that they and uploads rest on."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from provision.host.endpoint import EndpointClient
from provision.host.line_stream import post_for_lines

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@contextmanager
def answering(*pieces: bytes, hold: bool = False) -> Iterator[tuple[EndpointClient, list[bytes]]]:
    """Answer one request with raw bytes; ``hold`` keeps the connection open afterwards. What was asked is kept."""
    asked: list[bytes] = []
    released = threading.Event()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(1 << 16))
            connection.settimeout(0.2)
            try:
                while more := connection.recv(1 << 16):
                    asked.append(more)
            except TimeoutError:
                pass
            for piece in pieces:
                connection.sendall(piece)
            if hold:
                released.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield EndpointClient(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=20), asked
        finally:
            released.set()
            thread.join()


def lines_of(client: EndpointClient, silence_s: float = 20) -> list[bytes]:
    with post_for_lines(client, "/", {}, silence_s) as answer:
        return list(answer.lines())


def test_lines_are_whole_however_they_are_cut() -> None:
    with answering(HEAD, chunk(b'{"a": 1}\n{"b'), chunk(b'": 2}\n\n'), chunk(b"last"), b"0\r\n\r\n") as (client, _):
        assert lines_of(client) == [b'{"a": 1}', b'{"b": 2}', b"last"]


@pytest.mark.parametrize(
    "pieces",
    [
        (HEAD, chunk(b"one\n")),
        (HEAD, chunk(b"one\n"), b"ffff\r\nhalf of it"),
        (HEAD, b"no length\r\n"),
        (),
        (b"no HTTP at all",),
    ],
)
def test_whatever_breaks_the_connection_is_an_os_error(pieces: tuple[bytes, ...]) -> None:
    with answering(*pieces) as (client, _), pytest.raises(OSError):  # noqa: PT011
        lines_of(client)


def test_silence_ends_the_answer() -> None:
    with answering(HEAD, chunk(b"one\n"), hold=True) as (client, _), pytest.raises(TimeoutError):
        lines_of(client, silence_s=0.5)


def test_the_silence_that_is_allowed_can_change_on_the_way() -> None:
    with answering(HEAD, chunk(b"one\n"), hold=True) as (client, _), post_for_lines(client, "/", {}, 600) as answer:
        lines = answer.lines()
        assert next(lines) == b"one"
        answer.allow_silence(0.1)
        with pytest.raises(TimeoutError):
            next(lines)


def test_a_file_is_sent_as_it_is_read() -> None:
    data = bytes(range(256)) * 1000
    told: list[int] = []
    with answering(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n") as (client, asked):
        assert client.upload("/file", io.BytesIO(data), len(data), told.append, 20).status == 201
    head, _, body = b"".join(asked).partition(b"\r\n\r\n")
    assert body == data
    assert f"Content-Length: {len(data)}".encode() in head
    assert b"Transfer-Encoding" not in head
    assert sum(told) == len(data)


@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
def test_other_methods_are_sent(method: str) -> None:
    with answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as (client, asked):
        assert client.request(method, "/thing").status == 404
    assert asked[0].startswith(f"{method} /thing HTTP/1.1\r\n".encode())


def test_what_the_server_says_before_it_has_the_whole_file_is_heard() -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\nfull")

    size = 1 << 25
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        client = EndpointClient(f"http://127.0.0.1:{listener.getsockname()[1]}")
        told: list[int] = []
        response = client.upload("/file", io.BytesIO(bytes(size)), size, told.append, 20)
        thread.join()
    assert (response.status, response.body) == (500, b"full")
