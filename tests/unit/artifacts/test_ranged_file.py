from __future__ import annotations

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provision.artifacts import ranged_file
from provision.artifacts.ranged_file import open_ranged
from provision.errors import RefusedError, UnreachableError
from provision.host.transport import Transport
from tests.standin.hub_server import Answer, HubServer

DATA = bytes(range(256)) * 40
OTHER = DATA[::-1]


def offered(hub: HubServer, data: bytes, name: str) -> str:
    hub.blobs[name] = data
    return f"{hub.cdn}/{name}"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 9000)), max_size=8))
def test_it_reads_as_the_file_itself_does(
    hub: HubServer, transport: Transport, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[bool, int]]
) -> None:
    monkeypatch.setattr(ranged_file, "FIRST_WINDOW_BYTES", 700)
    monkeypatch.setattr(ranged_file, "CHUNK_BYTES", 300)
    monkeypatch.setattr(ranged_file, "TAIL_BYTES", 100)
    there = open_ranged(offered(hub, DATA, "a"), len(DATA), transport, {})
    here = io.BytesIO(DATA)
    for is_seek, count in steps:
        if is_seek:
            assert there.seek(count) == here.seek(count)
        else:
            assert there.read(count) == here.read(count)
        assert there.tell() == here.tell()


def test_a_file_that_changes_meanwhile_is_refused(
    hub: HubServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranged_file, "FIRST_WINDOW_BYTES", 700)
    monkeypatch.setattr(ranged_file, "CHUNK_BYTES", 300)
    monkeypatch.setattr(ranged_file, "TAIL_BYTES", 100)
    hub.scripted["/file"] = Answer(302, headers={"Location": offered(hub, DATA, "a")})
    with open_ranged(f"{hub.root}/file", len(DATA), transport, {}) as opened:
        assert opened.read(600) == DATA[:600]
        hub.scripted["/file"] = Answer(302, headers={"Location": offered(hub, OTHER, "b")})
        with pytest.raises(RefusedError, match="changes meanwhile"):
            opened.read(600)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(206, DATA[:10], {"Content-Range": "bytes 0-9/10240"}),
        Answer(206, DATA, {"Content-Range": "bytes 5-10244/10240"}),
        Answer(206, DATA, {"Content-Range": "bytes 0-10239/99999"}),
        Answer(206, DATA),
    ],
    ids=["short", "shifted", "another size", "no range told"],
)
def test_other_bytes_than_asked_for_are_refused(hub: HubServer, transport: Transport, answer: Answer) -> None:
    hub.scripted["/file"] = answer
    with open_ranged(f"{hub.root}/file", len(DATA), transport, {}) as opened, pytest.raises(RefusedError):
        opened.read(1)


def test_a_server_without_ranges_is_told_from_a_broken_one(hub: HubServer, transport: Transport) -> None:
    hub.sends_ranges = False
    with open_ranged(offered(hub, DATA, "a"), len(DATA), transport, {}) as opened:
        with pytest.raises(UnreachableError, match="only as a whole"):
            opened.read(1)
        hub.scripted["/a"] = Answer(410)
        with pytest.raises(UnreachableError, match="410"):
            opened.read(1)
