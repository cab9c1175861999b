"""The way to the server: certificates, proxies, connections that do not come about."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from provision.client import ConnectError, Patience
from tests.standin.chat_bytes import completion
from tests.standin.command import free_port
from tests.standin.web_server import Answer, Request, WebServer, serving_site, tunnelling
from tests.unit.client.talking import complete

KEY = "sk-secret-1234567890"


def hello(_: Request) -> Answer:
    return Answer(body=json.dumps(completion("Hello")).encode())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusted(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def encrypted(authority: trustme.CA) -> Iterator[WebServer]:
    with serving_site(hello, tls(authority, "127.0.0.1", "api.example.com")) as server:
        yield server


def test_a_certificate_that_is_named_is_trusted(encrypted: WebServer, trusted: Path) -> None:
    url = f"https://127.0.0.1:{encrypted.port}/v1"
    assert complete(url, api_key=KEY, env={"SSL_CERT_FILE": str(trusted)}).content == "Hello"


def test_the_environment_of_the_process_counts_where_no_other_is_given(
    encrypted: WebServer, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    assert complete(f"https://127.0.0.1:{encrypted.port}/v1").content == "Hello"


def test_a_certificate_that_nobody_vouches_for_is_told(encrypted: WebServer) -> None:
    with pytest.raises(ConnectError, match=r"certificate is not trusted \(.*certificate") as caught:
        complete(f"https://127.0.0.1:{encrypted.port}/v1", env={}, api_key=KEY)
    assert encrypted.requests == []
    assert caught.value.exit_code == 69


def test_a_certificate_of_another_host_is_told(authority: trustme.CA, trusted: Path) -> None:
    not_valid = r"certificate is not trusted \(.*not valid for '127.0.0.1'"
    site = serving_site(hello, tls(authority, "api.example.com"))
    with site as server, pytest.raises(ConnectError, match=not_valid):
        complete(f"https://127.0.0.1:{server.port}/v1", env={"SSL_CERT_FILE": str(trusted)})


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_certificates_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConnectError, match=r"ca.pem \(SSL_CERT_FILE\) cannot be used"):
        complete("https://127.0.0.1:1/v1", env={"SSL_CERT_FILE": str(path)})


def test_a_server_without_encryption_where_https_is_asked_for() -> None:
    in_the_clear = serving_site(hello)
    with in_the_clear as server, pytest.raises(ConnectError, match="no encrypted connection comes about") as caught:
        complete(f"https://127.0.0.1:{server.port}/v1", env={})
    assert "not permitted" not in caught.value.message


def test_a_server_with_encryption_where_http_is_asked_for(encrypted: WebServer) -> None:
    with pytest.raises(ConnectError, match="Cannot reach"):
        complete(f"http://127.0.0.1:{encrypted.port}/v1", env={})


def test_an_encrypted_server_is_reached_through_a_tunnel(encrypted: WebServer, trusted: Path) -> None:
    with tunnelling(encrypted.port) as proxy:
        env = {"HTTPS_PROXY": f"http://me:p%40ss@127.0.0.1:{proxy.port}", "SSL_CERT_FILE": str(trusted)}
        assert complete("https://api.example.com/v1", env=env, api_key=KEY).content == "Hello"
    (tunnel,), (request,) = proxy.requests, encrypted.requests
    assert tunnel.path == "api.example.com:443"
    assert tunnel.headers["Proxy-Authorization"] == login("me:p@ss")
    assert "Authorization" not in tunnel.headers
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert "Proxy-Authorization" not in request.headers


def test_a_server_in_the_clear_is_asked_through_its_proxy() -> None:
    with serving_site(hello) as proxy:
        env = {"HTTP_PROXY": f"http://me:p%40ss@127.0.0.1:{proxy.port}"}
        assert complete("http://model.lan:8080/v1", env=env).content == "Hello"
    (request,) = proxy.requests
    assert request.path == "http://model.lan:8080/v1/chat/completions"
    assert request.headers["Proxy-Authorization"] == login("me:p@ss")


def login(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "127.0.0.2", "127.1"])
def test_this_machine_is_never_asked_through_a_proxy(name: str, host: str) -> None:
    with serving_site(hello) as server:
        env = {name: f"http://127.0.0.1:{free_port()}"}
        reached = host != "127.0.0.2"  # the server listens on one address, and no proxy is asked for the other
        with ExitStack() as stack:
            if not reached:
                stack.enter_context(pytest.raises(ConnectError, match=r"127\.0\.0\.2.*: Connection refused"))
            assert complete(f"http://{host}:{server.port}/v1", env=env).content == "Hello"


def test_a_host_that_is_excepted_is_asked_directly() -> None:
    env = {"HTTP_PROXY": f"http://127.0.0.1:{free_port()}", "NO_PROXY": ".invalid"}
    with pytest.raises(ConnectError, match="DNS"):
        complete("http://model.invalid/v1", env=env)


def test_a_proxy_that_refuses_is_told(encrypted: WebServer) -> None:
    with tunnelling(encrypted.port, refuses=True) as proxy:
        env = {"HTTPS_PROXY": f"http://me:pass@127.0.0.1:{proxy.port}"}
        with pytest.raises(ConnectError, match="the proxy on the way answers 407") as caught:
            complete("https://api.example.com/v1", env=env, api_key=KEY)
    assert "pass" not in str(caught.value)


def test_a_proxy_that_is_not_there_is_told() -> None:
    env = {"HTTPS_PROXY": f"http://me:secret@127.0.0.1:{free_port()}"}
    with pytest.raises(ConnectError, match=r"the proxy on the way cannot be reached \(Connection refused\)") as caught:
        complete("https://api.example.com/v1", env=env)
    assert "secret" not in str(caught.value)


def test_a_proxy_that_never_answers_is_waited_for_no_longer_than_for_any_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {"HTTPS_PROXY": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with pytest.raises(ConnectError, match=r"no answer within 0\.5 s"):
            complete("https://api.example.com/v1", env=env, patience=Patience(connect_s=0.5, silence_s=30.0))


def test_a_proxy_that_speaks_another_protocol_is_refused_with_its_address_and_not_its_login() -> None:
    with pytest.raises(ConnectError, match=r"socks5://127\.0\.0\.1:9 is none that can be used") as caught:
        complete("https://api.example.com/v1", env={"ALL_PROXY": "socks5://me:secret@127.0.0.1:9"})
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a full queue of connections wait")
def test_a_server_that_takes_no_connection_is_not_waited_for_longer_than_that_takes() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        address = listener.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        patience = Patience(connect_s=0.4, silence_s=60.0)
        with pytest.raises(ConnectError, match=r"no answer within 0\.4 s"):
            complete(f"http://127.0.0.1:{address[1]}/v1", patience=patience)
