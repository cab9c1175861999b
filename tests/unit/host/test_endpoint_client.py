"""The client against servers that are near or far, plain or encrypted, kind or hostile."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trustme

from provision.errors import UsageError
from provision.host import ports
from provision.host.answer import Response
from provision.host.endpoint import EndpointClient
from provision.host.recording import record
from tests.standin.web_server import Answer, Request, serving_site, tunnelling

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

KEY = "sk-0123456789abcdef"
NO_ENV: dict[str, str] = {}


def echo(request: Request) -> Answer:
    told = {"method": request.method, "path": request.path, "headers": dict(request.headers)}
    return Answer(body=json.dumps({**told, "body": request.body.decode()}).encode())


class Trust(NamedTuple):
    context: ssl.SSLContext
    env: Mapping[str, str]


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """A certificate of our own for a server on this machine and for one far away."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost", "api.example.com").configure_cert(context)
    path = tmp_path_factory.mktemp("trust") / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return Trust(context, {"SSL_CERT_FILE": str(path)})


def test_a_key_travels_in_its_header_only_and_can_be_left_at_home() -> None:
    with serving_site(echo) as server:
        client = EndpointClient(f"http://127.0.0.1:{server.port}/v1", KEY, env=NO_ENV)
        client.get("/v1/models")
        client.post("/v1/chat/completions", {"a": 1})
        client.get("/v1/models", with_key=False)
    sent = [request.headers.get("Authorization") for request in server.requests]
    assert sent == [f"Bearer {KEY}", f"Bearer {KEY}", None]
    for request in server.requests:
        elsewhere = [value for name, value in request.headers.items() if name != "Authorization"]
        assert KEY not in f"{request.path} {request.body!r} {elsewhere}"


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "ключ", "a\tb"])
def test_a_key_that_no_header_can_carry_is_not_shown(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        EndpointClient("http://127.0.0.1:1/v1", key)
    assert key not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("base", "path", "asked"),
    [
        ("/v1", "/v1/models", "/v1/models"),
        ("", "/v1/models", "/v1/models"),
        ("/v1", "/tokenize", "/tokenize"),
        ("/api/openai/v1", "/v1/models", "/api/openai/v1/models"),
        ("/api/openai/v1", "/api/version", "/api/openai/api/version"),
        ("/v1/x/v1", "/health", "/v1/x/health"),
    ],
)
def test_paths_are_taken_from_what_comes_before_the_version(base: str, path: str, asked: str) -> None:
    with serving_site(echo) as server:
        client = EndpointClient(f"http://127.0.0.1:{server.port}{base}", env=NO_ENV)
        assert client.get(path).json()["path"] == asked
        assert client.post(path, {}).json()["path"] == asked
        with client.stream(path, {}) as stream:
            assert json.loads(b"".join(arrival.data for arrival in stream.arrivals()))["path"] == asked


def test_https_is_spoken_with_the_certificates_that_the_environment_names(trust: Trust) -> None:
    with serving_site(echo, trust.context) as server:
        client = EndpointClient(f"https://127.0.0.1:{server.port}/api/v1", KEY, env=trust.env)
        assert client.get("/v1/models").json()["path"] == "/api/v1/models"
        assert client.post("/v1/x", {"a": 1}).json()["body"] == '{"a": 1}'
        recording = record(client, "/v1/x", {"a": 2}, 5.0)
    assert (recording.status, recording.error) == (200, None)
    assert json.loads(recording.body)["body"] == '{"a": 2}'


def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(trust: Trust) -> None:
    with serving_site(echo, trust.context) as server:
        answer = EndpointClient(f"https://127.0.0.1:{server.port}/v1", KEY, env=NO_ENV).get("/v1/models")
        wrong_name = EndpointClient(f"https://127.0.0.2:{server.port}/v1", KEY, env=trust.env).get("/v1/models")
    assert (answer.status, wrong_name.status) == (0, 0)
    assert "certificate is not trusted" in (answer.error or "")
    assert server.requests == []


def test_a_missing_certificate_file_is_named(tmp_path: Path) -> None:
    env = {"SSL_CERT_FILE": str(tmp_path / "none.pem")}
    answer = EndpointClient("https://127.0.0.1:1/v1", env=env).get("/v1/models")
    assert "SSL_CERT_FILE" in (answer.error or "")
    assert "none.pem" in (answer.error or "")


def test_a_hosted_api_is_reached_through_the_proxy(trust: Trust) -> None:
    with serving_site(echo, trust.context) as server, tunnelling(server.port) as proxy:
        env = {**trust.env, "HTTPS_PROXY": f"http://alice:pw@127.0.0.1:{proxy.port}"}
        client = EndpointClient("https://api.example.com/openai/v1", KEY, env=env)
        answer = client.get("/v1/models").json()
        recording = record(client, "/v1/x", {}, 5.0)
    assert (answer["path"], answer["headers"]["Host"]) == ("/openai/v1/models", "api.example.com")
    assert recording.status == 200
    assert [request.path for request in proxy.requests] == ["api.example.com:443"] * 2
    assert proxy.requests[0].headers["Proxy-Authorization"] == "Basic YWxpY2U6cHc="
    assert "Authorization" not in proxy.requests[0].headers
    assert "Proxy-Authorization" not in answer["headers"]


def test_a_plain_request_to_another_host_names_it_to_the_proxy() -> None:
    with serving_site(echo) as proxy:
        env = {"http_proxy": f"http://127.0.0.1:{proxy.port}"}
        answer = EndpointClient("http://gpu-box.lan:8000/v1", env=env).get("/v1/models").json()
    assert answer["path"] == "http://gpu-box.lan:8000/v1/models"
    assert answer["headers"]["Host"] == "gpu-box.lan:8000"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_may_itself_be_reached_by_tls(trust: Trust, scheme: str) -> None:
    encrypted = trust.context if scheme == "https" else None
    with serving_site(echo, encrypted) as server, tunnelling(server.port, tls=trust.context) as tunnel:
        proxy = tunnel.port if encrypted else None
        with serving_site(echo, trust.context) as plain:
            env = {**trust.env, f"{scheme}_proxy": f"https://alice:pw@localhost:{proxy or plain.port}"}
            client = EndpointClient(f"{scheme}://api.example.com/v1", KEY, env=env)
            answer = client.post("/v1/x", {"a": "b" * 100_000})
            recording = record(client, "/v1/x", {}, 5.0)
    assert (answer.status, recording.status) == (200, 200), answer.error
    assert answer.json()["headers"]["Host"].removesuffix(":80") == "api.example.com"
    assert len(answer.json()["body"]) > 100_000


def test_a_proxy_that_refuses_says_so(trust: Trust) -> None:
    with tunnelling(1, refuses=True) as proxy:
        env = {**trust.env, "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}
        answer = EndpointClient("https://api.example.com/v1", env=env).get("/v1/models")
    assert answer.status == 0
    assert "407" in (answer.error or "")


def test_this_machine_is_never_asked_through_a_proxy(trust: Trust) -> None:
    env = {"http_proxy": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "socks5://x:1"}
    with serving_site(echo) as server, serving_site(echo, trust.context) as secure:
        plain = EndpointClient(f"http://localhost:{server.port}/v1", env=env)
        encrypted = EndpointClient(f"https://localhost:{secure.port}/v1", env={**env, **trust.env})
        statuses = [client.get("/x").status for client in (plain, encrypted)]
        statuses += [client.post("/x", {}).status for client in (plain, encrypted)]
    assert statuses == [200] * 4


def test_a_name_that_leads_to_an_unsafe_address_is_left_at_once(mocker: MockerFixture) -> None:
    with serving_site(echo) as server:
        mocker.patch("socket.getaddrinfo", return_value=[(socket.AF_INET, 1, 6, "", ("127.0.0.1", server.port))])
        mocker.patch("provision.domain.web_address.why_unsafe", return_value="link-local")
        client = EndpointClient(f"http://rebound.example:{server.port}/v1", env=NO_ENV)
        answers = [client.get("/v1/models"), client.post("/v1/x", {})]
    assert [answer.status for answer in answers] == [0, 0]
    assert "rebound.example leads to 127.0.0.1, which is link-local" in (answers[0].error or "")
    assert server.requests == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with serving_site(echo) as elsewhere:
        to = {"Location": f"http://127.0.0.1:{elsewhere.port}/v1/models"}
        with serving_site(lambda _: Answer(status, headers=to)) as server:
            client = EndpointClient(f"http://127.0.0.1:{server.port}/v1", KEY, env=NO_ENV)
            assert [client.get("/v1/models").status, client.post("/v1/models", {}).status] == [status] * 2
    assert elsewhere.requests == []


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * (1 << 16))


def endless_head(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-Header: " + b"x" * 1000 + b"\r\n")


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b"x")
        time.sleep(0.02)


def dripping_head(connection: socket.socket) -> None:
    for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
        connection.sendall(bytes([letter]))
        time.sleep(0.02)


def silent(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.recv(1)


def no_http(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def broken_off(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")


def kept_open(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    connection.settimeout(5)
    silent(connection)


def both_ways(raw: Callable[[socket.socket], None], trust: Trust, timeout_s: float) -> list[Response]:
    """Ask by the short way of this machine, by the long one, and encrypted."""

    def hostile(_: Request) -> Answer:
        return Answer(raw=raw)

    with serving_site(hostile) as server, serving_site(hostile, trust.context) as secure:
        plain = EndpointClient(f"http://127.0.0.1:{server.port}/v1", env=NO_ENV)
        encrypted = EndpointClient(f"https://127.0.0.1:{secure.port}/v1", env=trust.env)
        asked = [client.get("/x", timeout_s, max_bytes=1 << 20) for client in (plain, encrypted)]
        return [*asked, plain.post("/x", {}, timeout_s)]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (endless, "larger than (1|16) MiB"),
        (endless_head, "does not speak HTTP|got more than 100 headers"),
        (drip, "timed out"),
        (dripping_head, "timed out"),
        (silent, "timed out"),
        (no_http, "does not speak HTTP|SSH-2.0"),
        (broken_off, "broke off|IncompleteRead"),
    ],
)
def test_a_hostile_server_is_left_within_bounds(raw: Callable[[socket.socket], None], why: str, trust: Trust) -> None:
    began = time.monotonic()
    answers = both_ways(raw, trust, 5.0 if "MiB" in why or "100" in why else 0.4)
    assert time.monotonic() - began < 30
    for answer in answers:
        assert answer.status == 0
        assert re.search(why, answer.error or ""), answer


def test_what_was_announced_is_enough_although_the_connection_stays_open(trust: Trust) -> None:
    answers = both_ways(kept_open, trust, 4.0)
    assert [(answer.status, answer.json()) for answer in answers] == [(200, {})] * 3


def test_an_answer_has_its_headers_by_their_lower_case_names() -> None:
    with serving_site(lambda _: Answer(headers={"Server": "llama.cpp"})) as server:
        client = EndpointClient(f"http://127.0.0.1:{server.port}/v1", env=NO_ENV)
        assert [client.get("/").headers["server"], client.post("/", {}).headers["server"]] == ["llama.cpp"] * 2


@pytest.mark.parametrize("body", [b"[" * 200_000, b"{", b"\xff", b"1" * 5000, b""])
def test_a_body_that_is_no_json_is_none(body: bytes) -> None:
    assert Response(200, body).json() is None


def test_ipv6_is_written_in_brackets() -> None:
    if not socket.has_ipv6 or not ports.is_free("::1", 0):
        pytest.skip("this machine has no IPv6 loopback")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        client = EndpointClient(f"http://[::1]:{port}/v1", timeout_s=0.2, env=NO_ENV)
        client.get("/v1/models")
        accepted, _ = listener.accept()
        with accepted:
            assert f"Host: [::1]:{port}\r\n".encode() in accepted.recv(4096)


def test_nobody_there_is_an_answer() -> None:
    client = EndpointClient(f"http://127.0.0.1:{ports.pick_free('127.0.0.1')}/v1", env=NO_ENV)
    answers = [client.get("/v1/models"), client.post("/v1/models", {})]
    assert [answer.status for answer in answers] == [0, 0]
    assert all("refused" in (answer.error or "") for answer in answers)


def test_asking_this_machine_loads_neither_http_nor_ssl() -> None:
    code = f"""import sys
from provision.host.endpoint import EndpointClient
EndpointClient("http://127.0.0.1:{ports.pick_free("127.0.0.1")}/v1").get("/health")
print([name for name in ("http.client", "ssl", "email", "provision.domain.endpoint") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
