from __future__ import annotations

import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from provision.errors import FabricError, RefusedError, UnreachableError
from provision.host.download import NoRangesError, RemoteFile, Transport, redact
from tests.standin.index_server import Fault, IndexServer, serving

SIZE = 300_000
CONTENT = bytes(range(256)) * (SIZE // 256) + bytes(SIZE % 256)
DIRECT = Transport({})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    path = tmp_path / "f.bin"
    path.write_bytes(CONTENT)
    with serving({"f.bin": path}) as index:
        yield index


def remote(server: IndexServer, size: int = SIZE, transport: Transport = DIRECT) -> RemoteFile:
    return RemoteFile(server.file_url("f.bin"), size, transport, lambda _: None)


def read_all(file: RemoteFile, step: int = 50_000) -> bytes:
    parts = []
    with file:
        while data := file.read(step):
            parts.append(data)
    return b"".join(parts)


def test_it_is_read_in_one_request_and_every_byte_is_counted(server: IndexServer) -> None:
    counted: list[int] = []
    file = RemoteFile(server.file_url("f.bin"), SIZE, DIRECT, counted.append)
    assert read_all(file) == CONTENT
    assert len(server.seen) == 1
    assert sum(counted) == SIZE


def test_it_can_be_read_from_anywhere(server: IndexServer) -> None:
    with remote(server) as file:
        for start, length in ((SIZE - 100, 100), (0, 10), (1000, 20_000), (SIZE - 10, 50), (5, 1)):
            file.seek(start)
            assert file.read(length) == CONTENT[start : start + length]
        file.seek(-7, 2)
        assert file.tell() == SIZE - 7
        assert file.read() == CONTENT[-7:]
        assert file.read() == b""


@pytest.mark.parametrize("cut", [0, 1, 50_000, 70_000, 120_000])
def test_a_broken_transfer_goes_on_where_it_stopped(server: IndexServer, cut: int) -> None:
    step = 50_000
    server.faults["f.bin"] = Fault(cut_after=cut, times=2)
    assert read_all(remote(server), step) == CONTENT
    starts = [int(seen.headers["range"].removeprefix("bytes=").split("-")[0]) for seen in server.seen]
    assert len(starts) == 3
    for before, after in pairwise(starts):
        arrived = min(before + cut, SIZE)
        assert arrived - step < after <= arrived, "less than one read is fetched twice"


def test_a_transfer_that_always_breaks_is_given_up(server: IndexServer) -> None:
    server.faults["f.bin"] = Fault(cut_after=0)
    with pytest.raises(UnreachableError, match="keeps breaking"):
        read_all(remote(server))
    assert len(server.seen) < 20


def test_a_server_without_ranges_is_read_from_the_start_and_never_from_the_middle(server: IndexServer) -> None:
    server.faults["f.bin"] = Fault(no_ranges=True)
    assert read_all(remote(server)) == CONTENT
    with remote(server) as file:
        file.seek(-100, 2)
        with pytest.raises(NoRangesError):
            file.read(10)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(content_range=f"bytes 5-{SIZE - 1}/{SIZE}"),
        Fault(content_range=f"bytes 0-{SIZE - 1}/{SIZE + 1}"),
        Fault(content_range="nonsense"),
        Fault(html=True),
    ],
    ids=["other start", "other size", "nonsense", "web page"],
)
def test_other_bytes_than_asked_for_are_refused(server: IndexServer, fault: Fault) -> None:
    server.faults["f.bin"] = fault
    with pytest.raises(RefusedError), remote(server) as file:
        file.read(10)


def test_a_file_of_another_size_is_refused(server: IndexServer) -> None:
    with pytest.raises(RefusedError), remote(server, SIZE + 1) as file:
        file.read(10)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_of_the_server_is_told_at_once(server: IndexServer, status: int) -> None:
    server.faults["f.bin"] = Fault(status=status)
    with pytest.raises(UnreachableError, match=str(status)), remote(server) as file:
        file.read(10)
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_in_trouble_is_asked_again(server: IndexServer, status: int) -> None:
    server.faults["f.bin"] = Fault(status=status, headers={"Retry-After": "0"}, times=1)
    assert read_all(remote(server)) == CONTENT


def test_a_redirect_is_followed_and_the_login_stays_with_its_host(server: IndexServer, tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    with serving({"f.bin": path}) as other:
        server.faults["f.bin"] = Fault(location=other.file_url("f.bin").replace("127.0.0.1", "localhost"))
        url = server.file_url("f.bin").replace("://", "://user:pa%40ss@")
        file = RemoteFile(url, SIZE, DIRECT, lambda _: None)
        assert read_all(file) == CONTENT
        assert server.seen[0].headers["authorization"] == "Basic dXNlcjpwYUBzcw=="
        assert all("authorization" not in seen.headers for seen in other.seen)


def test_redirects_end_somewhere(server: IndexServer) -> None:
    server.faults["f.bin"] = Fault(location=server.file_url("f.bin"))
    with pytest.raises(UnreachableError, match="redirects for ever"), remote(server) as file:
        file.read(1)
    assert len(server.seen) <= 10


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/f", "http://example.org/f", "ftp://example.org/f", "file:///etc/passwd"]
)
def test_a_redirect_to_what_is_not_trusted_is_refused(server: IndexServer, url: str) -> None:
    server.faults["f.bin"] = Fault(location=url)
    with pytest.raises(RefusedError), remote(server) as file:
        file.read(1)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://example.org/f", True),
        ("http://127.0.0.1:80/f", True),
        ("http://localhost/f", True),
        ("http://[::1]/f", True),
        ("http://mirror.lan/f", True),
        ("http://example.org/f", False),
        ("http://127.0.0.1.example.org/f", False),
        ("http://localhost@example.org/f", False),
        ("gopher://example.org/f", False),
    ],
)
def test_only_https_is_trusted_or_what_the_user_trusts(url: str, allowed: bool) -> None:
    transport = Transport({}, trusted_hosts=("mirror.lan",))
    if allowed:
        transport.check(url)
    else:
        with pytest.raises(RefusedError):
            transport.check(url)


@pytest.mark.parametrize(
    ("env", "url", "proxy"),
    [
        ({"https_proxy": "http://p:3128"}, "https://example.org/f", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://example.org/f", "http://p:3128"),
        ({"ALL_PROXY": "http://p:3128"}, "https://example.org/f", "http://p:3128"),
        ({"http_proxy": "http://p:3128"}, "https://example.org/f", None),
        ({"https_proxy": "http://p:3128", "no_proxy": "example.org"}, "https://example.org/f", None),
        ({"https_proxy": "http://p:3128", "NO_PROXY": ".org"}, "https://example.org/f", None),
        ({"https_proxy": "http://p:3128", "no_proxy": "*"}, "https://example.org/f", None),
        ({"http_proxy": "http://p:3128", "all_proxy": "http://p:3128"}, "http://127.0.0.1:5/f", None),
        ({"http_proxy": "http://p:3128"}, "http://localhost/f", None),
        ({"http_proxy": "http://p:3128"}, "http://mirror.lan/f", "http://p:3128"),
    ],
)
def test_the_proxy_that_the_environment_names(env: dict[str, str], url: str, proxy: str | None) -> None:
    found = Transport(env).proxy(url)
    assert (found and found.url) == proxy


def test_a_proxy_is_really_used(server: IndexServer) -> None:
    transport = Transport({"http_proxy": server.root}, trusted_hosts=("mirror.lan",))
    file = RemoteFile("http://mirror.lan/files/f.bin", SIZE, transport, lambda _: None)
    with pytest.raises(FabricError), file:
        file.read(1)
    assert server.seen[0].path == "http://mirror.lan/files/f.bin"


def test_a_failure_is_told_without_the_password(server: IndexServer) -> None:
    url = server.file_url("absent").replace("://", "://user:secret@") + "?token=secret"
    file = RemoteFile(url, 10, DIRECT, lambda _: None)
    with pytest.raises(UnreachableError) as told, file:
        file.read(1)
    assert "secret" not in str(told.value)
    assert redact("https://u:p@h:1/x?t=s") == "https://h:1/x"


def test_a_zip_file_is_read_by_its_ends_and_only_the_member_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("large", b"x" * 2_000_000)
        archive.writestr("small", b"wanted")
    with serving({"a.zip": path}) as server:
        counted: list[int] = []
        size = path.stat().st_size
        file = RemoteFile(server.file_url("a.zip"), size, DIRECT, counted.append)
        with file, zipfile.ZipFile(file) as archive:
            assert archive.read("small") == b"wanted"
        assert sum(counted) < 200_000
