"""One file from a server that does what it should not. A number in a name is that of the fault."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from provision.domain.artifacts import PinnedFile
from provision.errors import FabricError, InterruptedByUserError, RefusedError, UnreachableError
from provision.host.transport import Transport
from tests.standin.artifact_server import Answer, ArtifactServer, failure, page, redirect, serving
from tests.unit.artifacts.fetching import (
    CONTENT,
    HASTY,
    IMPATIENT,
    OTHER,
    SHA256,
    SIZE,
    Fetching,
    pinned,
    stop_when,
    unpinned,
)

WHOLE = Answer(CONTENT)
HALF = SIZE // 2


def arrived(fetching: Fetching) -> None:
    assert fetching.target.read_bytes() == CONTENT
    assert stat.S_IMODE(fetching.target.stat().st_mode) == 0o600
    assert sum(fetching.counted) == SIZE
    assert not [name for name in fetching.left if not name.endswith(".rejected")]


def interrupted_at(fetching: Fetching, server: ArtifactServer, at: int, **changes: str) -> None:
    """Leave a part of so many bytes, as a run leaves it that was stopped."""
    url = server.put("/f", Answer(CONTENT, stall_at=at, **changes))  # type: ignore[arg-type]
    timer = threading.Thread(target=stop_when, args=(fetching, lambda: sum(fetching.counted) >= at))
    timer.start()
    with pytest.raises(InterruptedByUserError):
        fetching.file(pinned(url))
    timer.join()
    fetching.stop.clear()
    fetching.counted.clear()
    server.seen.clear()


def test_a_file_comes_in_one_request_and_nothing_else_stays(server: ArtifactServer, fetching: Fetching) -> None:
    assert fetching.file(pinned(server.put("/f", WHOLE))) == SHA256
    arrived(fetching)
    assert [(seen.method, seen.headers["accept-encoding"]) for seen in server.seen] == [("GET", "identity")]
    assert "range" not in server.seen[0].headers
    assert fetching.said == []


def test_the_hash_of_a_file_that_nobody_has_pinned_is_learnt(server: ArtifactServer, fetching: Fetching) -> None:
    assert fetching.file(unpinned(server.put("/f", WHOLE))) == SHA256
    arrived(fetching)


@pytest.mark.parametrize("content", [b"", b"x"], ids=["empty", "one byte"])
def test_a_tiny_file_is_a_file(server: ArtifactServer, fetching: Fetching, content: bytes) -> None:
    url = server.put("/f", Answer(content))
    for file in (pinned(url, content=content), unpinned(url)):
        fetching.file(file)
        assert fetching.target.read_bytes() == content
    assert fetching.left == []


# 9: a body that ends early


@pytest.mark.fault("body-cut")
@pytest.mark.parametrize("known", [pinned, unpinned])
@pytest.mark.parametrize("cut", [1, 5000, 100_000])
def test_9_a_broken_transfer_goes_on_where_it_stopped(
    server: ArtifactServer, fetching: Fetching, known: object, cut: int
) -> None:
    url = server.put("/f", Answer(CONTENT, cut_at=cut), Answer(CONTENT, cut_at=cut), WHOLE)
    assert fetching.file(known(url)) == SHA256  # type: ignore[operator]
    arrived(fetching)
    assert [seen.headers.get("range") for seen in server.seen] == [None, f"bytes={cut}-", f"bytes={2 * cut}-"]
    assert all(seen.headers["if-range"] == WHOLE.tag() for seen in server.seen[1:])


@pytest.mark.fault("body-cut")
def test_9_a_transfer_that_always_breaks_is_given_up_and_kept(server: ArtifactServer, fetching: Fetching) -> None:
    url = server.put("/f", Answer(CONTENT, cut_at=10))
    with pytest.raises(UnreachableError, match="keeps breaking: the connection ended too early"):
        fetching.file(pinned(url))
    assert len(server.seen) < 10
    assert fetching.left == [f"{SHA256}.part", f"{SHA256}.part.json"]
    assert not fetching.target.exists()


@pytest.mark.fault("body-cut")
def test_9_a_file_without_a_length_that_ends_early_is_continued(server: ArtifactServer, fetching: Fetching) -> None:
    url = server.put("/f", Answer(CONTENT, says_length=False, cut_at=HALF), WHOLE)
    assert fetching.file(pinned(url)) == SHA256
    arrived(fetching)


def answer_once(listener: socket.socket, head: str, body: bytes, end: str = "\r\n\r\n") -> threading.Thread:
    """Answer one request; nobody listens any more when the connection ends."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            listener.close()
            connection.sendall(f"HTTP/1.1 {head}{end}".encode() + body)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


@pytest.mark.fault("body-cut")
@pytest.mark.parametrize("comes_back", [True, False])
def test_9_a_server_that_is_away_in_the_middle_is_waited_for(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    threads = [answer_once(listener, f"200 OK\r\nContent-Length: {SIZE}", CONTENT[:HALF])]
    waits: list[float] = []

    def wait(_: Transport, seconds: float) -> None:
        waits.append(seconds)
        if comes_back and len(waits) == 1 + HASTY.connections:
            rest = f"206 Partial\r\nContent-Length: {SIZE - HALF}\r\nContent-Range: bytes {HALF}-{SIZE - 1}/{SIZE}"
            threads.append(answer_once(socket.create_server(("127.0.0.1", port)), rest, CONTENT[HALF:]))

    monkeypatch.setattr(Transport, "wait", wait)
    if comes_back:
        assert fetching.file(pinned(f"http://127.0.0.1:{port}/f")) == SHA256
        arrived(fetching)
    else:
        with pytest.raises(UnreachableError, match=r"keeps breaking: Cannot reach .*: Connection refused"):
            fetching.file(pinned(f"http://127.0.0.1:{port}/f"))
    for thread in threads:
        thread.join()


@pytest.mark.fault("body-cut")
@pytest.mark.parametrize("head", ["200 OK", "200 OK\r\nContent-Le", "200 OK\r\nContent-Length: 3"])
def test_9_a_head_that_ends_early_is_no_empty_file(fetching: Fetching, head: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/f"
    thread = answer_once(listener, head, b"", end="")
    with pytest.raises(UnreachableError):
        fetching.file(unpinned(url))
    thread.join()
    assert not fetching.target.exists()


# 10 and 11: other bytes than pinned


@pytest.mark.fault("byte-flipped")
def test_10_a_flipped_byte_is_set_aside_and_fetched_once_more(server: ArtifactServer, fetching: Fetching) -> None:
    url = server.put("/f", Answer(CONTENT, flip_at=7), WHOLE)
    assert fetching.file(pinned(url)) == SHA256
    arrived(fetching)
    assert len(server.seen) == 2
    assert "range" not in server.seen[1].headers
    assert (fetching.partial / f"{SHA256}.rejected").read_bytes() == Answer(CONTENT, flip_at=7).content()


@pytest.mark.fault("byte-flipped")
def test_10_there_is_one_clean_retry_only_and_the_last_bytes_stay_aside(
    server: ArtifactServer, fetching: Fetching
) -> None:
    url = server.put("/f", Answer(CONTENT, flip_at=7), Answer(OTHER))
    with pytest.raises(RefusedError, match=f"pinned is {SHA256}") as told:
        fetching.file(pinned(url))
    assert len(server.seen) == 2
    assert fetching.left == [f"{SHA256}.rejected"]
    assert (fetching.partial / f"{SHA256}.rejected").read_bytes() == OTHER
    assert str(fetching.partial) in str(told.value.hint)
    assert not fetching.target.exists()


@pytest.mark.fault("byte-flipped")
def test_10_the_retry_goes_to_the_next_address(server: ArtifactServer, fetching: Fetching) -> None:
    first, second = server.put("/1", Answer(CONTENT, flip_at=7)), server.put("/2", WHOLE)
    assert fetching.file(pinned(first, second)) == SHA256
    assert [seen.path for seen in server.seen] == ["/1", "/2"]


@pytest.mark.fault("retagged")
def test_11_a_release_that_was_made_anew_is_refused_with_both_hashes(
    server: ArtifactServer, fetching: Fetching
) -> None:
    file = pinned(server.put("/f", Answer(OTHER)))
    with pytest.raises(RefusedError) as told:
        fetching.file(file)
    assert SHA256 in told.value.message
    assert pinned(content=OTHER).sha256 in told.value.message  # type: ignore[operator]
    assert told.value.exit_code == 77


@pytest.mark.fault("retagged")
@pytest.mark.parametrize("content", [CONTENT + b"x", CONTENT[:-1]], ids=["longer", "shorter"])
def test_11_another_size_is_refused_before_the_body_comes(
    server: ArtifactServer, fetching: Fetching, content: bytes
) -> None:
    url = server.put("/f", Answer(content, stall_at=600))
    with pytest.raises(RefusedError, match=f"it has {len(content)} bytes, pinned are {SIZE}"):
        fetching.file(pinned(url))
    assert fetching.left == []


# 12: servers that do not understand ranges, or changed the file meanwhile


@pytest.mark.fault("ranges-ignored")
@pytest.mark.parametrize("ranges", ["ignore", "shift", "nonsense"])
def test_12_a_wrong_answer_to_a_range_makes_it_start_anew(
    server: ArtifactServer, fetching: Fetching, ranges: str
) -> None:
    url = server.put("/f", Answer(CONTENT, cut_at=HALF), Answer(CONTENT, ranges=ranges), WHOLE)  # type: ignore[arg-type]
    assert fetching.file(pinned(url)) == SHA256
    arrived(fetching)
    assert not list(fetching.partial.glob("*.rejected")), "nothing was mixed"


@pytest.mark.fault("ranges-ignored")
@pytest.mark.parametrize("known", [pinned, unpinned])
def test_12_a_file_that_changes_between_two_parts_is_never_mixed(
    server: ArtifactServer, fetching: Fetching, known: object
) -> None:
    url = server.put("/f", Answer(OTHER, cut_at=HALF), WHOLE)
    assert fetching.file(known(url)) == SHA256  # type: ignore[operator]
    arrived(fetching)
    assert len(server.seen) == 2
    assert not list(fetching.partial.glob("*.rejected"))


@pytest.mark.fault("ranges-ignored")
def test_12_a_range_of_another_etag_is_not_taken(server: ArtifactServer, fetching: Fetching) -> None:
    ignores_the_condition = Answer(CONTENT, etag='"t"', headers={"ETag": '"u"'})
    url = server.put("/f", Answer(OTHER, cut_at=HALF, etag='"t"'), ignores_the_condition, WHOLE)
    assert fetching.file(unpinned(url)) == SHA256
    arrived(fetching)


@pytest.mark.fault("ranges-ignored")
def test_12_without_an_etag_only_a_pinned_file_is_continued(server: ArtifactServer, fetching: Fetching) -> None:
    url = server.put("/f", Answer(CONTENT, etag="", cut_at=HALF), Answer(CONTENT, etag=""))
    fetching.file(pinned(url))
    assert server.seen[-1].headers["range"] == f"bytes={HALF}-"
    assert "if-range" not in server.seen[-1].headers
    server.put("/f", Answer(CONTENT, etag="", cut_at=HALF), Answer(CONTENT, etag='W/"weak"', cut_at=HALF), WHOLE)
    server.seen.clear()
    assert fetching.file(unpinned(url)) == SHA256
    assert [seen.headers.get("range") for seen in server.seen] == [None, None, None]


# 13: one address after the other


@pytest.mark.fault("mirrors-failing")
def test_13_addresses_are_tried_in_turn_and_each_failure_is_told(server: ArtifactServer, fetching: Fetching) -> None:
    urls = [server.put("/1", failure(404)), server.put("/2", failure(500)), server.put("/3", WHOLE)]
    assert fetching.file(pinned(*(f"{url}?token=hush" for url in urls))) == SHA256
    arrived(fetching)
    assert [("404" in line, "500" in line) for line in fetching.said] == [(True, False), (False, True)]
    assert "hush" not in str(fetching.said)
    assert len(server.asked("/1")) == 1, "a clear no is not asked again"
    assert 1 < len(server.asked("/2")) < 10


@pytest.mark.fault("mirrors-failing")
def test_13_when_no_address_has_it_every_reason_is_told(server: ArtifactServer, fetching: Fetching) -> None:
    urls = [server.put("/1", failure(404)), server.put("/2", failure(403)), "http://127.0.0.1:9/3"]
    with pytest.raises(UnreachableError) as told:
        fetching.file(pinned(*urls))
    for word in ("404", "403", "refused"):
        assert word in told.value.message
    assert told.value.exit_code == 69


@pytest.mark.fault("mirrors-failing")
def test_13_a_file_half_from_one_address_goes_on_at_the_next(server: ArtifactServer, fetching: Fetching) -> None:
    urls = [server.put("/1", Answer(CONTENT, cut_at=HALF), failure(404)), server.put("/2", WHOLE)]
    assert fetching.file(pinned(*urls)) == SHA256
    arrived(fetching)
    assert server.asked("/2")[0].headers["range"] == f"bytes={HALF}-"
    assert "if-range" not in server.asked("/2")[0].headers, "it is the tag of another server"


@pytest.mark.fault("mirrors-failing")
def test_13_without_a_pinned_hash_two_addresses_are_never_mixed(server: ArtifactServer, fetching: Fetching) -> None:
    urls = [server.put("/1", Answer(OTHER, cut_at=HALF), failure(404)), server.put("/2", WHOLE)]
    assert fetching.file(unpinned(*urls)) == SHA256
    assert fetching.target.read_bytes() == CONTENT


def test_a_file_without_an_address_is_told(fetching: Fetching) -> None:
    with pytest.raises(UnreachableError, match=r"f\.bin has no address"):
        fetching.file(pinned())


# 15: slow, silent and endless


@pytest.mark.fault("slow-body")
def test_15_a_server_that_falls_silent_is_left(server: ArtifactServer, fetching: Fetching) -> None:
    url = server.put("/f", Answer(CONTENT, stall_at=HALF), WHOLE)
    assert fetching.file(pinned(url), IMPATIENT) == SHA256
    arrived(fetching)
    assert server.seen[1].headers["range"] == f"bytes={HALF}-"


@pytest.mark.fault("slow-body")
@pytest.mark.parametrize("says_length", [True, False])
def test_15_a_byte_now_and_then_is_not_enough(server: ArtifactServer, fetching: Fetching, says_length: bool) -> None:
    url = server.put("/f", Answer(CONTENT, drip_s=0.05, says_length=says_length))
    with pytest.raises(UnreachableError, match="are too few"):
        fetching.file(pinned(url), IMPATIENT)


@pytest.mark.fault("slow-body")
@pytest.mark.parametrize("known", [pinned, unpinned])
def test_15_an_endless_body_ends_at_what_may_be(server: ArtifactServer, fetching: Fetching, known: object) -> None:
    fetching.options["most_bytes"] = 1_000_000
    url = server.put("/f", Answer(CONTENT, endless=True))
    with pytest.raises(RefusedError, match="more than the"):
        fetching.file(known(url))  # type: ignore[operator]
    assert fetching.left == []
    assert max(sum(fetching.counted[: index + 1]) for index in range(len(fetching.counted))) <= 1_000_000


@pytest.mark.fault("slow-body")
def test_15_a_size_beyond_all_reason_is_not_begun(server: ArtifactServer, fetching: Fetching) -> None:
    fetching.options["most_bytes"] = SIZE - 1
    with pytest.raises(RefusedError, match="never fetched"):
        fetching.file(unpinned(server.put("/f", WHOLE)))
    assert fetching.file(pinned(f"{server.root}/f")) == SHA256, "whoever pinned the size knows better"


@pytest.mark.fault("slow-body")
@pytest.mark.parametrize("known", [pinned, unpinned])
def test_15_an_encrypted_line_that_is_cut_gives_nothing_but_the_file(
    fetching: Fetching, tmp_path: Path, known: Callable[..., PinnedFile]
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    fetching.env["SSL_CERT_FILE"] = str(tmp_path / "ca.pem")
    content = os.urandom(4 << 20)
    stalls = iter([1.0])  # as a disk does that is busy, or a terminal that is stopped
    with serving(context, "localhost") as server:
        file = known(server.put("/f", Answer(content)), **({"content": content} if known is pinned else {}))
        fetching.fetcher(IMPATIENT).file(file, fetching.target, lambda _: time.sleep(next(stalls, 0)))
        assert fetching.target.read_bytes() == content
        assert len(server.seen) > 1, "the line was cut"
    assert not list(fetching.partial.glob("*.rejected"))


# 16: web pages and compressed answers


@pytest.mark.fault("captive-portal")
@pytest.mark.parametrize("known", [pinned, unpinned])
@pytest.mark.parametrize("says_length", [True, False])
def test_16_a_web_page_is_told_as_what_it_is(
    server: ArtifactServer, fetching: Fetching, known: object, says_length: bool
) -> None:
    url = server.put("/f", page(says_length=says_length))
    with pytest.raises(UnreachableError, match="answers with a web page") as told:
        fetching.file(known(url))  # type: ignore[operator]
    assert told.value.exit_code == 69
    assert fetching.left == []


@pytest.mark.fault("captive-portal")
def test_16_a_web_page_of_just_the_pinned_size_is_told_too(server: ArtifactServer, fetching: Fetching) -> None:
    login = page("x" * 200)
    url = server.put("/f", login)
    with pytest.raises(UnreachableError, match="a web page"):
        fetching.file(pinned(url, content=bytes(len(login.body))))


@pytest.mark.fault("captive-portal")
def test_16_a_web_page_that_is_pinned_is_a_file(server: ArtifactServer, fetching: Fetching) -> None:
    body = page("x" * 5000).body
    url = server.put("/f", Answer(body, cut_at=3000), Answer(body, says_length=False))
    fetching.file(pinned(url, content=body))
    assert fetching.target.read_bytes() == body


@pytest.mark.fault("captive-portal")
@pytest.mark.parametrize("says_length", [True, False])
def test_16_a_web_page_does_not_cost_what_is_here_already(
    server: ArtifactServer, fetching: Fetching, says_length: bool
) -> None:
    interrupted_at(fetching, server, HALF)
    server.put("/f", page(says_length=says_length))
    with pytest.raises(UnreachableError, match="a web page"):
        fetching.file(pinned(f"{server.root}/f"))
    server.put("/f", WHOLE)
    fetching.counted.clear()
    fetching.file(pinned(f"{server.root}/f"))
    arrived(fetching)
    assert server.seen[-1].headers["range"] == f"bytes={HALF}-"


@pytest.mark.fault("captive-portal")
def test_16_a_compressed_answer_is_refused(server: ArtifactServer, fetching: Fetching) -> None:
    with pytest.raises(RefusedError, match="encoded"):
        fetching.file(pinned(server.put("/f", Answer(CONTENT, zipped=True))))


# Parts: stopped, continued, spoilt


def test_a_stopped_transfer_ends_at_once_and_the_next_goes_on(server: ArtifactServer, fetching: Fetching) -> None:
    interrupted_at(fetching, server, HALF)
    assert fetching.left == [f"{SHA256}.part", f"{SHA256}.part.json"]
    server.put("/f", WHOLE)
    fetching.file(pinned(f"{server.root}/f"))
    arrived(fetching)
    assert [seen.headers["range"] for seen in server.seen] == [f"bytes={HALF}-"]


def test_a_part_that_was_spoilt_meanwhile_costs_one_retry(server: ArtifactServer, fetching: Fetching) -> None:
    interrupted_at(fetching, server, HALF)
    with (fetching.partial / f"{SHA256}.part").open("r+b") as file:
        file.write(b"spoilt")
    server.put("/f", WHOLE)
    fetching.file(pinned(f"{server.root}/f"))
    arrived(fetching)
    assert [seen.headers.get("range") for seen in server.seen] == [f"bytes={HALF}-", None]


@pytest.mark.parametrize("sidecar", [b"", b"{", b"[]", b'{"url": 1, "etag": [], "size_bytes": "x"}', None])
def test_a_part_with_a_broken_sidecar_is_of_use_to_a_pinned_file_only(
    server: ArtifactServer, fetching: Fetching, sidecar: bytes | None
) -> None:
    interrupted_at(fetching, server, HALF)
    path = fetching.partial / f"{SHA256}.part.json"
    path.unlink() if sidecar is None else path.write_bytes(sidecar)
    server.put("/f", WHOLE)
    fetching.file(pinned(f"{server.root}/f"))
    arrived(fetching)
    assert server.seen[0].headers["range"] == f"bytes={HALF}-"


def test_a_part_that_is_whole_needs_nobody(server: ArtifactServer, fetching: Fetching) -> None:
    fetching.partial.mkdir()
    (fetching.partial / f"{SHA256}.part").write_bytes(CONTENT)
    assert fetching.file(pinned(f"{server.root}/f")) == SHA256
    arrived(fetching)
    assert server.seen == []


def test_a_part_that_is_too_long_is_thrown_away(server: ArtifactServer, fetching: Fetching) -> None:
    fetching.partial.mkdir()
    (fetching.partial / f"{SHA256}.part").write_bytes(CONTENT + b"x")
    fetching.file(pinned(server.put("/f", WHOLE)))
    arrived(fetching)
    assert "range" not in server.seen[0].headers


def test_what_is_written_about_a_part_holds_no_secret(server: ArtifactServer, fetching: Fetching) -> None:
    url = server.put("/f", Answer(CONTENT, cut_at=10)).replace("://", "://me:hush@") + "?token=hush"
    with pytest.raises(FabricError) as told:
        fetching.file(unpinned(url))
    assert "hush" not in f"{told.value.message}{told.value.hint}{fetching.said}"
    assert all("hush" not in path.name and b"hush" not in path.read_bytes() for path in fetching.partial.iterdir())
    assert len(fetching.left) == 2


@pytest.mark.parametrize("sha256", ["", "../../x", SHA256.upper(), SHA256 + "\n", "0" * 63])
def test_what_is_no_hash_is_refused(fetching: Fetching, sha256: str) -> None:
    with pytest.raises(RefusedError, match="no SHA-256"):
        fetching.file(PinnedFile("f", ("https://example.org/f",), 1, sha256))
    assert not fetching.partial.exists()


@pytest.mark.parametrize("etag", ['"a\tb"', '"\xff"', '""x"', "bare"])
def test_an_etag_that_cannot_be_sent_back_is_none(server: ArtifactServer, fetching: Fetching, etag: str) -> None:
    url = server.put("/f", Answer(CONTENT, etag=etag, cut_at=HALF), WHOLE)
    assert fetching.file(pinned(url)) == SHA256
    assert "if-range" not in server.seen[1].headers


def test_a_redirect_is_followed_and_resumed_by_the_first_address(server: ArtifactServer, fetching: Fetching) -> None:
    url = server.put("/f", redirect("/cdn?signature=1"), redirect("/cdn?signature=2"))
    server.put("/cdn", Answer(CONTENT, cut_at=HALF), WHOLE)
    assert fetching.file(unpinned(url)) == SHA256
    assert [seen.target for seen in server.seen] == ["/f", "/cdn?signature=1", "/f", "/cdn?signature=2"]
    assert server.seen[-1].headers["range"] == f"bytes={HALF}-"


def test_headers_are_sent_where_they_are_wanted(server: ArtifactServer, fetching: Fetching) -> None:
    fetching.options["headers"] = lambda url: {"Authorization": "Bearer t"} if url.endswith("/2") else {}
    fetching.file(pinned(server.put("/1", failure(404)), server.put("/2", WHOLE)))
    assert [seen.headers.get("authorization") for seen in server.seen] == [None, "Bearer t"]
