from __future__ import annotations

from collections.abc import Iterator

import pytest

from provision.errors import RefusedError
from provision.host.download import Transport
from provision.host.site import get, get_range
from tests.standin.hub_server import Answer, HubServer, serving_hub

SECRETS = {"Authorization": "Bearer secret", "cookie": "a=b", "X-Plain": "1"}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving_hub() as running:
        yield running


def test_an_answer_has_its_status_and_headers_whatever_they_are(hub: HubServer) -> None:
    hub.scripted["/x"] = Answer(418, b"tea", {"X-Error-Code": "Teapot"})
    got = get(f"{hub.root}/x", Transport({}), {}, 10)
    assert (got.status, got.headers["x-error-code"], got.body) == (418, "Teapot", b"")


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


def test_a_site_elsewhere_cannot_send_us_to_this_machine(hub: HubServer) -> None:
    through_the_standin = Transport({"http_proxy": hub.root}, trusted_hosts=("a.example",))
    hub.scripted["http://a.example/x"] = Answer(302, headers={"Location": f"{hub.cdn}/private"})
    with pytest.raises(RefusedError, match="this machine"):
        get("http://a.example/x", through_the_standin, {}, 10)
    assert not [seen for seen in hub.seen if seen.site == "cdn"]


@pytest.mark.parametrize("location", ["http://192.0.2.1/", "file:///etc/passwd", "ftp://127.0.0.1/", "http://[::1"])
def test_a_redirect_to_what_may_not_be_fetched_is_refused(hub: HubServer, location: str) -> None:
    hub.scripted["/x"] = Answer(302, headers={"Location": location})
    with pytest.raises(RefusedError):
        get(f"{hub.root}/x", Transport({}), {}, 10)
