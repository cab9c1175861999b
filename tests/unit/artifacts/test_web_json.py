from __future__ import annotations

import pytest

from provision.artifacts.web_json import read_json, read_text
from provision.errors import RefusedError, UnreachableError
from provision.host.transport import Transport
from tests.standin.artifact_server import Answer, ArtifactServer, document, failure, page, redirect
from tests.unit.artifacts.fetching import HASTY, IMPATIENT

HASTY_TRANSPORT = Transport({}, patience=HASTY)


def test_a_document_is_read_with_the_headers_that_are_given(server: ArtifactServer) -> None:
    url = server.put("/api", redirect("/v2"))
    server.put("/v2", document({"a": [1, "ü"]}))
    _, read = read_json(url, HASTY_TRANSPORT, {"Authorization": "Bearer t"})
    assert read == {"a": [1, "ü"]}
    assert server.seen[1].headers["authorization"] == "Bearer t"
    assert server.seen[1].headers["accept"] == "application/json"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_clear_no_is_told_with_its_status_at_once(server: ArtifactServer, status: int) -> None:
    answer, read = read_json(server.put("/f", failure(status)), HASTY_TRANSPORT, {})
    assert (answer.status, read) == (status, None)
    with pytest.raises(UnreachableError, match=str(status)):
        read_text(f"{server.root}/f", HASTY_TRANSPORT, {})
    server.seen.pop()
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer(b"{"), UnreachableError, "not JSON"),
        (Answer(b"[" * 60_000), UnreachableError, "not JSON"),
        (Answer(b"\xff\xfe\xff"), UnreachableError, "not JSON"),
        (page(), UnreachableError, "a web page"),
        (Answer(b"{}" * 100, cut_at=5), UnreachableError, "ended too early"),
        (Answer(b"{}" * 100, stall_at=5), UnreachableError, "breaks off"),
        (Answer(b"{}" * 100, drip_s=0.05, says_length=False), UnreachableError, "too few"),
        (Answer(b"{}", zipped=True), RefusedError, "encoded"),
        (Answer(b"{}", endless=True), RefusedError, "more than the 70000 bytes"),
        (Answer(b"1" * 70_001), RefusedError, "more than the 70000 bytes"),
    ],
    ids=["cut", "deep", "binary", "page", "early", "silent", "drip", "gzip", "endless", "large"],
)
def test_what_is_no_document_is_told(
    server: ArtifactServer, answer: Answer, error: type[Exception], words: str
) -> None:
    is_slow = answer.stall_at is not None or answer.drip_s is not None
    transport = Transport({}, patience=IMPATIENT) if is_slow else HASTY_TRANSPORT
    with pytest.raises(error, match=words):
        read_json(server.put("/f", answer), transport, {}, max_bytes=70_000)
