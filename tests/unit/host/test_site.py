from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from provision.errors import RefusedError, UnreachableError
from provision.host.site import get, get_range
from provision.host.transport import QUICK, Patience, Transport
from tests.standin import artifact_server
from tests.standin.artifact_server import ArtifactServer, failure
from tests.standin.hub_server import Answer, HubServer, serving_hub
from tests.unit.artifacts.fetching import HASTY

HASTY_TRANSPORT = Transport({}, patience=HASTY)
SECRETS = {"Authorization": "Bearer secret", "cookie": "a=b", "X-Plain": "1"}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving_hub() as running:
        yield running


def test_an_answer_has_its_status_and_headers_whatever_they_are(hub: HubServer) -> None:
    hub.scripted["/x"] = Answer(418, b"tea", {"X-Error-Code": "Teapot"})
    got = get(f"{hub.root}/x", Transport({}), {}, 10)
    assert (got.status, got.headers["x-error-code"], got.body) == (418, "Teapot", b"")


@pytest.mark.fault("bad-redirect")
def test_secrets_go_along_on_their_own_site_and_no_further(hub: HubServer) -> None:
    hub.scripted["/one"] = Answer(302, headers={"Location": "/two"})
    hub.scripted["/two"] = Answer(307, headers={"Location": f"{hub.cdn}/three"})
    hub.scripted["/three"] = Answer(301, headers={"Location": f"{hub.root}/four"})
    hub.scripted["/four"] = Answer(200, b"here")
    got = get(f"{hub.root}/one", Transport({}), SECRETS, 10)
    assert got.body == b"here"
    shown = {each.path: {"authorization", "cookie", "x-plain"} & each.headers.keys() for each in hub.seen}
    everything, nothing = {"authorization", "cookie", "x-plain"}, {"x-plain"}
    assert shown == {"/one": everything, "/two": everything, "/three": nothing, "/four": nothing}


def test_a_body_that_is_too_large_is_not_read_to_its_end(hub: HubServer) -> None:
    hub.scripted["/x"] = Answer(200, bytes(11))
    assert get(f"{hub.root}/x", Transport({}), {}, 11).body == bytes(11)
    with pytest.raises(RefusedError, match="10 bytes"):
        get(f"{hub.root}/x", Transport({}), {}, 10)


def test_a_server_without_ranges_sends_all_and_none_of_it_is_read(hub: HubServer) -> None:
    hub.scripted["/x"] = Answer(200, bytes(1 << 20))
    assert get_range(f"{hub.root}/x", Transport({}), {}, 0, 1).body == b""
    assert hub.seen[0].headers["range"] == "bytes=0-0"


@pytest.mark.fault("bad-redirect")
def test_a_site_elsewhere_cannot_send_us_to_this_machine(hub: HubServer) -> None:
    through_the_standin = Transport({"http_proxy": hub.root}, trusted_hosts=("a.example",))
    hub.scripted["http://a.example/x"] = Answer(302, headers={"Location": f"{hub.cdn}/private"})
    with pytest.raises(RefusedError, match="this machine"):
        get("http://a.example/x", through_the_standin, {}, 10)
    assert not [seen for seen in hub.seen if seen.site == "cdn"]


@pytest.mark.fault("bad-redirect")
@pytest.mark.parametrize("location", ["http://192.0.2.1/", "file:///etc/passwd", "ftp://127.0.0.1/", "http://[::1"])
def test_a_redirect_to_what_may_not_be_fetched_is_refused(hub: HubServer, location: str) -> None:
    hub.scripted["/x"] = Answer(302, headers={"Location": location})
    with pytest.raises(RefusedError):
        get(f"{hub.root}/x", Transport({}), {}, 10)


@pytest.fixture
def server() -> Iterator[ArtifactServer]:
    with artifact_server.serving() as running:
        yield running


def test_an_answer_without_a_length_is_read_to_its_end(server: ArtifactServer) -> None:
    url = server.put("/f", artifact_server.Answer(b"x" * 100_000, says_length=False))
    assert get(url, HASTY_TRANSPORT, {}, 100_000).body == b"x" * 100_000


@pytest.mark.parametrize("length", ["9" * 5000, "abc", "-1", "1²", "1e3", ""])
def test_a_length_that_is_no_size_is_told(server: ArtifactServer, length: str) -> None:
    url = server.put("/f", artifact_server.Answer(b"abc", says_length=False, headers={"Content-Length": length}))
    with pytest.raises(UnreachableError, match="a length that is no size"):
        get(url, HASTY_TRANSPORT, {}, 10)
    with pytest.raises(UnreachableError, match="a length that is no size"):
        get_range(url, HASTY_TRANSPORT, {}, 0, 3)


def test_an_api_is_waited_for_about_ten_seconds_at_most() -> None:
    assert (QUICK.connect_timeout_s + QUICK.backoff_s) * QUICK.connections <= 10
    assert QUICK.idle_timeout_s * QUICK.connections <= 10
    assert QUICK.answer_timeout_s <= 10


@pytest.mark.fault("slow-body")
def test_an_answer_that_never_ends_is_given_up_though_it_is_fast_enough(server: ArtifactServer) -> None:
    patience = replace(HASTY, window_s=0.2, min_bytes_per_s=10, total_s=0.5)
    url = server.put("/f", artifact_server.Answer(b"x" * 300, drip_s=0.01))
    with pytest.raises(UnreachableError, match=r"not whole after 0\.5 s"):
        get(url, Transport({}, patience=patience), {}, 1000)


@pytest.mark.parametrize(("patience", "used"), [(Patience(), QUICK), (HASTY, HASTY)], ids=["usual", "own"])
def test_only_the_usual_patience_is_cut_short(
    server: ArtifactServer, monkeypatch: pytest.MonkeyPatch, patience: Patience, used: Patience
) -> None:
    waits: list[Patience] = []
    monkeypatch.setattr(Transport, "wait", lambda self, _: waits.append(self.patience))
    assert get(server.put("/f", failure(503)), Transport({}, patience=patience), {}, 10).status == 503
    assert waits == [used] * (used.attempts - 1)
