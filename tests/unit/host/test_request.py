"""Requests to real sockets that answer badly. A number in a name is that of the fault."""

from __future__ import annotations

import datetime as dt
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from provision.errors import FabricError, InterruptedByUserError, RefusedError, UnreachableError
from provision.host.request import request
from provision.host.transport import Patience, Transport
from provision.host.web_errors import StatusError
from tests.standin.artifact_server import Answer, ArtifactServer, failure, redirect, serving
from tests.standin.web_server import Answer as SiteAnswer
from tests.standin.web_server import serving_site
from tests.unit.artifacts.fetching import HASTY, IMPATIENT

HASTY_TRANSPORT = Transport({}, patience=HASTY)
BEARER = {"Authorization": "Bearer hush"}
OK = Answer(b"fine")


@pytest.fixture
def server() -> Iterator[ArtifactServer]:
    with serving() as running:
        yield running


@pytest.fixture
def other() -> Iterator[ArtifactServer]:
    with serving() as running:
        yield running


def ask(url: str, transport: Transport = HASTY_TRANSPORT, headers: dict[str, str] | None = None) -> bytes:
    response = request(transport.pool(url), url, transport, headers or {})
    try:
        return bytes(response.read())
    finally:
        response.close()


# 14: busy servers


@pytest.mark.fault("retry-after")
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_14_a_busy_server_is_asked_again(server: ArtifactServer, status: int) -> None:
    assert ask(server.put("/f", failure(status, times=2), OK)) == b"fine"
    assert len(server.seen) == 3


LATER = format_datetime(dt.datetime(2999, 1, 1, tzinfo=dt.timezone.utc), usegmt=True)
EARLIER = format_datetime(dt.datetime(1999, 1, 1, tzinfo=dt.timezone.utc), usegmt=True)


@pytest.mark.fault("retry-after")
@pytest.mark.parametrize("retry_after", ["86400", "-1", LATER, EARLIER])
def test_14_a_server_that_stays_busy_is_given_up(server: ArtifactServer, retry_after: str) -> None:
    with pytest.raises(StatusError, match="answers 503") as told:
        ask(server.put("/f", failure(503, retry_after)))
    assert told.value.exit_code == 69
    assert told.value.status == 503
    assert len(server.seen) == HASTY.attempts


@pytest.mark.fault("retry-after")
def test_14_a_wait_ends_when_it_is_stopped(server: ArtifactServer) -> None:
    stop = threading.Event()
    patient = Transport({}, patience=Patience(max_wait_s=60.0), stopped=stop.is_set)
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    with pytest.raises(InterruptedByUserError):
        ask(server.put("/f", failure(503, "60")), patient)
    timer.join()
    assert len(server.seen) == 1


# 15: servers that never come to an answer


@pytest.mark.fault("slow-body")
def test_15_a_server_that_accepts_and_is_silent_is_given_up(server: ArtifactServer) -> None:
    with pytest.raises(UnreachableError, match="it fell silent"):
        ask(server.put("/f", Answer(b"", delay_s=60)), Transport({}, patience=IMPATIENT))
    assert len(server.seen) == IMPATIENT.connections


def dripping(listener: socket.socket, over: threading.Event) -> None:
    connection, _ = listener.accept()
    with connection:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000:
            if over.wait(0.05):
                return
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return


@pytest.mark.fault("slow-body")
def test_15_the_head_of_an_answer_cannot_take_for_ever() -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=dripping, args=(listener, over))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/f"
        once = Transport({}, patience=replace(IMPATIENT, connections=1))
        try:
            with pytest.raises(UnreachableError):
                ask(url, once)
        finally:
            over.set()
            thread.join()


# 16: proxies


@pytest.mark.fault("captive-portal")
def test_16_a_proxy_that_wants_a_login_is_told(server: ArtifactServer) -> None:
    proxy = server.root.replace("://", "://me:hush@")
    server.fallback = lambda _: failure(407)
    both = Transport({"ALL_PROXY": proxy}, trusted_hosts=("mirror.lan",), patience=HASTY)
    for url in ("http://mirror.lan/f", "https://example.org/f"):
        with pytest.raises(UnreachableError, match=f"The proxy {server.root} wants a login .407.") as told:
            ask(url, both)
        assert "hush" not in told.value.message
        assert "HTTPS_PROXY" in str(told.value.hint)
    assert [seen.method for seen in server.seen] == ["GET", "CONNECT"]
    assert all(seen.headers["proxy-authorization"] == "Basic bWU6aHVzaA==" for seen in server.seen)


@pytest.mark.fault("captive-portal")
@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy"])
def test_16_a_proxy_that_forbids_is_told(server: ArtifactServer, variable: str) -> None:
    server.fallback = lambda _: failure(403)
    with pytest.raises(UnreachableError, match="does not let us to https://example"):
        ask("https://example.org/f", Transport({variable: server.root.removeprefix("http://")}, patience=HASTY))
    assert [(seen.method, seen.target) for seen in server.seen] == [("CONNECT", "example.org:443")]


@pytest.mark.fault("captive-portal")
def test_16_this_machine_and_what_no_proxy_names_are_asked_directly(server: ArtifactServer) -> None:
    env = {"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": "mirror.lan"}
    assert ask(server.put("/f", OK), Transport(env, patience=HASTY)) == b"fine"
    assert Transport(env).proxy("https://mirror.lan/f") is None


@pytest.mark.fault("captive-portal")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_16_a_proxy_that_is_down_wants_no_login(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        down = Transport({f"{scheme}_proxy": f"http://407-proxy.localhost:{port}"}, trusted_hosts=("a.lan",))
    with pytest.raises(UnreachableError, match="Cannot reach the proxy http://407-proxy") as told:
        ask(f"{scheme}://a.lan/f", replace(down, patience=replace(HASTY, connections=1)))
    assert "login" not in told.value.message


def test_of_two_logins_the_one_of_the_address_is_sent() -> None:
    with serving_site(lambda _: SiteAnswer(body=b"fine")) as site:
        ask(f"http://me:hush@127.0.0.1:{site.port}/f", headers=BEARER)
    told = [value for name, value in site.requests[0].headers.items() if name.lower() == "authorization"]
    assert told == ["Basic bWU6aHVzaA=="]


@pytest.mark.fault("captive-portal")
def test_16_a_proxy_of_another_kind_is_told_without_its_login() -> None:
    with pytest.raises(UnreachableError, match="only http and https") as told:
        ask("https://example.org/f", Transport({"ALL_PROXY": "socks5://me:hush@127.0.0.1:9"}))
    assert "hush" not in f"{told.value.message}{told.value.hint}"


@pytest.mark.fault("captive-portal")
def test_16_after_a_redirect_the_proxy_for_the_new_host_is_used(server: ArtifactServer, other: ArtifactServer) -> None:
    other.fallback = lambda _: OK
    transport = Transport({"http_proxy": other.root}, trusted_hosts=("mirror.lan",), patience=HASTY)
    assert ask(server.put("/f", redirect("http://mirror.lan/g")), transport) == b"fine"
    assert [seen.target for seen in other.seen] == ["http://mirror.lan/g"]


# Connections


def test_connections_are_kept_for_the_next_request_and_by_whoever_has_the_same_rules(server: ArtifactServer) -> None:
    url, transport = server.put("/f", OK), Transport({}, patience=HASTY)
    for same in (transport, replace(transport), replace(transport, patience=replace(HASTY))):
        assert ask(url, same) == b"fine"
    assert len({seen.from_port for seen in server.seen}) == 1
    ask(url, replace(transport, patience=IMPATIENT))
    ask(url, replace(transport, stopped=lambda: False))
    assert len({seen.from_port for seen in server.seen}) == 3, "each with its own limits"


def test_certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str | None] = []
    real = ssl.create_default_context

    def make(cafile: str | None) -> ssl.SSLContext:
        made.append(cafile)
        return real(cafile=cafile)

    monkeypatch.setattr(ssl, "create_default_context", make)
    transport = Transport({})
    threads = [threading.Thread(target=transport.pool, args=("https://example.org/",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    replace(transport, patience=IMPATIENT).pool("https://other.example.org/")
    assert made == [None]


def test_a_connection_of_a_redirect_is_not_one_that_the_user_may_have(server: ArtifactServer) -> None:
    url, transport = server.put("/f", OK), Transport({})
    assert transport.pool(url) is transport.pool(url)
    assert transport.pool(url) is not transport.pool(url, redirected_by="https://example.org/")


def test_a_kept_connection_that_the_server_has_closed_is_made_anew(server: ArtifactServer) -> None:
    url, transport = server.put("/f", replace(OK, cut_at=len(OK.body))), Transport({}, patience=HASTY)
    for _ in range(3):
        assert ask(url, transport) == b"fine"
    assert len({seen.from_port for seen in server.seen}) == 3


# 17: certificates


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def authority_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def tls(authority: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **options).configure_cert(context)
    return context


def rehashed(file: str) -> str:
    """Return the directory of a certificate, made one of OpenSSL's: every file has a name by its subject's hash."""
    command = ("openssl", "x509", "-noout", "-subject_hash", "-in", file)
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    Path(file).with_name(f"{name}.0").symlink_to(file)
    return str(Path(file).parent)


@pytest.mark.fault("bad-certificate")
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", None])
@pytest.mark.parametrize("is_directory", [False, True])
def test_17_an_authority_of_ones_own_is_trusted_when_named(
    authority: trustme.CA, authority_file: str, variable: str | None, *, is_directory: bool
) -> None:
    path = rehashed(authority_file) if is_directory else authority_file
    named = Transport({variable: path}) if variable else Transport({}, certificate=path)
    with serving(tls(authority, "localhost"), "localhost") as server:
        assert ask(server.put("/f", OK), replace(named, patience=HASTY)) == b"fine"


@pytest.mark.fault("bad-certificate")
def test_17_what_is_named_as_our_hints_say_wins(authority: trustme.CA, authority_file: str) -> None:
    env = {"REQUESTS_CA_BUNDLE": "/nowhere", "CURL_CA_BUNDLE": "/nowhere", "SSL_CERT_FILE": authority_file}
    with serving(tls(authority, "localhost"), "localhost") as server:
        assert ask(server.put("/f", OK), Transport(env, patience=HASTY)) == b"fine"


LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)


@pytest.mark.fault("bad-certificate")
@pytest.mark.parametrize(
    ("name", "options", "is_trusted", "reason"),
    [
        ("localhost", {}, False, "unable to get local issuer certificate|self-signed certificate in"),
        ("other.example.org", {}, True, "Hostname mismatch"),
        ("localhost", {"not_before": LONG_AGO, "not_after": LONG_AGO.replace(year=2021)}, True, "expired"),
    ],
    ids=["unknown authority", "wrong host", "expired"],
)
def test_17_a_bad_certificate_is_told_at_once(
    authority: trustme.CA, authority_file: str, *, name: str, options: Any, is_trusted: bool, reason: str
) -> None:
    transport = Transport({"SSL_CERT_FILE": authority_file} if is_trusted else {}, patience=HASTY)
    with serving(tls(authority, name, **options), "localhost") as server:
        with pytest.raises(UnreachableError, match=f"its certificate is not accepted .*({reason})") as told:
            ask(server.put("/f?token=hush", OK).replace("://", "://me:hush@"), transport)
        assert server.seen == []
    assert told.value.exit_code == 69
    assert "SSL_CERT_FILE" in str(told.value.hint)
    assert "hush" not in told.value.message


@pytest.mark.fault("bad-certificate")
def test_17_a_trusted_host_needs_no_certificate_that_anybody_knows_and_others_still_do(authority: trustme.CA) -> None:
    with serving(tls(authority, "elsewhere.example"), "localhost") as server:
        url = server.put("/f", OK)
        transport = Transport({}, patience=HASTY)
        trusting = replace(transport, trusted_hosts=(f"localhost:{server.port}",))
        for _ in range(2):  # what is kept for one is not used for the other
            assert ask(url, trusting) == b"fine"
            with pytest.raises(UnreachableError, match="its certificate is not accepted"):
                ask(url, transport)
        with pytest.raises(UnreachableError, match="its certificate is not accepted"):
            ask(url, replace(transport, trusted_hosts=("localhost:1", "other.example")))


@pytest.mark.fault("bad-certificate")
def test_17_a_certificate_signed_by_itself_is_told(tmp_path: Path) -> None:
    own = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "both.pem").write_bytes(own.private_key_pem.bytes() + own.cert_pem.bytes())
    context.load_cert_chain(tmp_path / "both.pem")
    with (
        serving(context, "localhost") as server,
        pytest.raises(UnreachableError, match="self-signed certificate"),
    ):
        ask(server.put("/f", OK))


@pytest.mark.fault("bad-certificate")
def test_17_a_server_without_encryption_behind_https_is_told(server: ArtifactServer) -> None:
    with pytest.raises(UnreachableError, match="safely: no encrypted connection"):
        ask(server.put("/f", OK).replace("http:", "https:"))


@pytest.mark.fault("bad-certificate")
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_17_a_certificate_file_that_is_of_no_use_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UnreachableError, match=f"certificates in {path} .SSL_CERT_FILE. cannot be used"):
        ask("https://localhost:9/f", Transport({"SSL_CERT_FILE": str(path)}))


# 18: redirects and secrets


@pytest.mark.fault("bad-redirect")
@pytest.mark.parametrize(
    ("headers", "login"),
    [(BEARER, ""), ({"authorization": "Bearer hush", "Cookie": "hush"}, ""), ({}, "me:hush@")],
    ids=["header", "lower case", "login"],
)
def test_18_a_secret_stays_with_its_host_and_port(
    server: ArtifactServer, other: ArtifactServer, headers: dict[str, str], login: str
) -> None:
    back = redirect(f"{server.root}/back")
    server.put("/back", OK)
    url = server.put("/f", redirect("/g")).replace("://", f"://{login}")
    server.put("/g", redirect(other.put("/h", redirect("/i"))))
    other.put("/i", back)
    assert ask(url, headers=headers) == b"fine"
    assert [seen.path for seen in server.seen] == ["/f", "/g", "/back"]
    assert all("hush" in str(seen.headers) or login for seen in server.seen[:2])
    assert all("authorization" in seen.headers for seen in server.seen[:2])
    for seen in [*other.seen, server.seen[2]]:
        assert not {"authorization", "cookie"} & set(seen.headers)


@pytest.mark.fault("bad-redirect")
def test_18_a_secret_does_not_follow_to_another_name_of_the_host(server: ArtifactServer) -> None:
    server.put("/g", OK)
    ask(server.put("/f", redirect(f"http://localhost:{server.port}/g")), headers=BEARER)
    assert "authorization" not in server.asked("/g")[0].headers


@pytest.mark.fault("bad-redirect")
def test_18_a_secret_does_not_follow_to_another_scheme(
    server: ArtifactServer, authority: trustme.CA, authority_file: str
) -> None:
    with serving(tls(authority, "localhost"), "localhost") as secure:
        secure.put("/f", redirect(server.put("/g", OK).replace("127.0.0.1", "localhost")))
        ask(f"{secure.root}/f", Transport({}, authority_file, patience=HASTY), BEARER)
    assert "authorization" not in server.asked("/g")[0].headers


@pytest.mark.fault("bad-redirect")
@pytest.mark.parametrize(
    "target", ["https://169.254.169.254/latest", "file:///etc/passwd", "ftp://example.org/f", "http://192.0.2.1/f"]
)
def test_18_a_redirect_to_what_may_not_be_asked_is_refused(server: ArtifactServer, target: str) -> None:
    with pytest.raises(RefusedError, match="redirects elsewhere") as told:
        ask(server.put("/f", redirect(target)), headers=BEARER)
    assert told.value.exit_code == 77


@pytest.mark.fault("bad-redirect")
def test_18_another_host_cannot_send_us_to_this_machine(server: ArtifactServer) -> None:
    """The other host is reached through a proxy, so that it can be played here."""
    transport = Transport({"http_proxy": server.root}, trusted_hosts=("mirror.lan",), patience=HASTY)
    for target in ("http://127.0.0.1:22/", "http://localhost:22/", "https://[::1]/", "https://127.1/"):
        server.fallback = lambda _, target=target: redirect(target)  # type: ignore[misc]
        with pytest.raises(RefusedError, match="redirects to this machine"):
            ask("http://mirror.lan/f", transport)


# 19: names


def resolving(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> None:
    """Answer for names as a name server does that says another thing each time."""
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        turns = names.get(host)
        if turns:
            host = turns.pop(0) if len(turns) > 1 else turns[0]
        return real(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.fault("dns-gone")
def test_19_a_name_that_becomes_this_machine_after_a_redirect_gets_nothing(
    server: ArtifactServer, other: ArtifactServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, {"mirror.lan": ["127.0.0.1"], "rebound.lan": ["127.0.0.1"]})
    transport = Transport({}, trusted_hosts=("mirror.lan", "rebound.lan"), patience=HASTY)
    server.put("/f", OK)
    assert ask(f"http://mirror.lan:{server.port}/f", transport) == b"fine", "the first address is the user's own"
    server.put("/f", redirect(f"http://rebound.lan:{other.port}/g"))
    with pytest.raises(RefusedError, match=r"leads to 127\.0\.0\.1") as told:
        ask(f"http://mirror.lan:{server.port}/f", transport, BEARER)
    assert told.value.exit_code == 77
    assert other.seen == []


@pytest.mark.fault("dns-gone")
def test_19_a_name_that_does_not_exist_is_told_at_once_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolve(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(UnreachableError, match="its name is not known here") as told:
        ask("https://me:hush@nowhere.example.org/f?t=hush")
    assert "hush" not in told.value.message
    assert asked == ["nowhere.example.org"]


ASKS = """
import sys
from provision.errors import UnreachableError
from provision.host.site import get
from provision.host.transport import Transport
try:
    get("https://huggingface.co/api/models", Transport({}), {}, 100)
except UnreachableError as error:
    print(error.message)
    sys.exit(error.exit_code)
"""


@pytest.mark.fault("dns-gone")
def test_19_without_any_network_a_name_is_given_up_within_seconds() -> None:
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-rn", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs unshare -rn (network namespaces), to have no name server")
    done = subprocess.run(
        [unshare, "-rn", sys.executable, "-c", ASKS], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 69, done.stderr
    assert "huggingface.co" in done.stdout


# Other trouble


def test_nobody_listening_is_told(other: ArtifactServer) -> None:
    with pytest.raises(UnreachableError, match="Connection refused"):
        ask("http://127.0.0.1:9/f?t=hush")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_every_kind_of_redirect_is_followed(server: ArtifactServer, code: int) -> None:
    server.put("/g", OK)
    assert ask(server.put("/f", redirect("/g", code))) == b"fine"


def test_a_login_goes_along_where_the_host_stays(server: ArtifactServer) -> None:
    server.put("/g", OK)
    ask(server.put("/f", redirect("/g")).replace("://", "://me:p@"))
    assert [seen.headers["authorization"] for seen in server.seen] == ["Basic bWU6cA=="] * 2


@pytest.mark.parametrize("words", ["\x1b[31mevil", "x" * 500])
def test_what_a_server_says_is_told_only_as_far_as_it_is_fit_to_print(server: ArtifactServer, words: str) -> None:
    assert len(StatusError(500, words, f"{server.root}/f").message) < 150
    assert StatusError(500, words, f"{server.root}/f").message.isprintable()
    assert "[31m" not in StatusError(500, words, f"{server.root}/f").message


def test_every_failure_is_an_error_of_ours(server: ArtifactServer) -> None:
    for url in (
        "https://" + "a" * 70 + ".org/",
        "https://ex ample.org/",
        "https://%zz/",
        "http://[::1",
        "nonsense",
        "",
    ):
        with pytest.raises(FabricError):
            ask(url)


def test_a_token_that_is_no_header_is_told_without_it(server: ArtifactServer) -> None:
    for token in ("hush\n", "hush\r\nX: y", "hush…"):
        with pytest.raises(RefusedError, match="characters that no header may have") as told:
            ask(server.put("/f", OK), headers={"Authorization": f"Bearer {token}"})
        assert "hush" not in told.value.message
        assert told.value.__cause__ is None
