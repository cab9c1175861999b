from __future__ import annotations

from collections.abc import Iterator

import pytest

from provision.errors import RefusedError, UnreachableError
from provision.host.transport import QUICK, Patience, Transport
from provision.host.web import read_json, read_small
from provision.host.web_errors import StatusError
from tests.standin.artifact_server import Answer, ArtifactServer, document, failure, page, redirect, serving
from tests.unit.artifacts.fetching import HASTY, IMPATIENT

HASTY_TRANSPORT = Transport({}, patience=HASTY)


@pytest.fixture
def server() -> Iterator[ArtifactServer]:
    with serving() as running:
        yield running


def test_a_document_is_read_with_the_headers_that_are_given(server: ArtifactServer) -> None:
    url = server.put("/api", redirect("/v2"))
    server.put("/v2", document({"a": [1, "ü"]}))
    assert read_json(url, HASTY_TRANSPORT, headers={"Authorization": "Bearer t"}) == {"a": [1, "ü"]}
    assert server.seen[1].headers["authorization"] == "Bearer t"
    assert server.seen[1].headers["accept"] == "application/json"


def test_an_answer_without_a_length_is_read_to_its_end(server: ArtifactServer) -> None:
    assert read_small(server.put("/f", Answer(b"x" * 100_000, says_length=False)), HASTY_TRANSPORT) == b"x" * 100_000


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_clear_no_is_told_with_its_status_at_once(server: ArtifactServer, status: int) -> None:
    with pytest.raises(StatusError) as told:
        read_json(server.put("/f", failure(status)), HASTY_TRANSPORT)
    assert told.value.status == status
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer(b"{"), UnreachableError, "not JSON"),
        (Answer(b"[" * 60_000), UnreachableError, "not JSON"),
        (Answer(b"\xff\xfe\xff"), UnreachableError, "not JSON"),
        (page(), UnreachableError, "an HTML page"),
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
        read_json(server.put("/f", answer), transport, max_bytes=70_000)


def test_an_api_is_waited_for_about_ten_seconds_at_most() -> None:
    assert (QUICK.connect_timeout_s + QUICK.backoff_s) * QUICK.connections <= 10
    assert QUICK.idle_timeout_s * QUICK.connections <= 10
    assert QUICK.answer_timeout_s <= 10


@pytest.mark.parametrize(("patience", "used"), [(Patience(), QUICK), (HASTY, HASTY)], ids=["usual", "own"])
def test_only_the_usual_patience_is_cut_short(
    server: ArtifactServer, monkeypatch: pytest.MonkeyPatch, patience: Patience, used: Patience
) -> None:
    waits: list[Patience] = []
    monkeypatch.setattr(Transport, "wait", lambda self, _: waits.append(self.patience))
    with pytest.raises(UnreachableError, match="503"):
        read_small(server.put("/f", failure(503)), Transport({}, patience=patience))
    assert waits == [used] * (used.attempts - 1)
