"""What doctor finds out of a server by asking as a page from elsewhere does; the servers are scripted."""

from __future__ import annotations

import pytest

from provision.domain.security_check import Outcome, SecurityCheck
from provision.security.foreign_pages import CHAT, GENERATING, check_names, check_origins
from provision.serve.observation import MODELS
from tests.standin.web_server import Answer, Request, Site, serving_site

NOBODY = "http://127.0.0.1:1/v1"


def origins_of(site: Site) -> SecurityCheck:
    with serving_site(site) as server:
        return check_origins(f"http://127.0.0.1:{server.port}/v1")


def names_of(site: Site, *, has_key: bool = False) -> SecurityCheck:
    with serving_site(site) as server:
        return check_names(f"http://127.0.0.1:{server.port}/v1", has_key=has_key)


def permitting(origin: str, method: str) -> Site:
    """Return a server that permits ``origin`` to read what it answers to ``method`` alone."""

    def site(request: Request) -> Answer:
        permits = request.method == method and request.headers["Origin"] == origin
        return Answer(headers={"Access-Control-Allow-Origin": origin} if permits else {})

    return site


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
@pytest.mark.parametrize("origin", ["http://page.invalid", "null"])
def test_one_permission_is_enough(origin: str, method: str) -> None:
    found = origins_of(permitting(origin, method))
    assert found.outcome is Outcome.FAILED
    assert origin in found.evidence
    assert found.fix


def test_a_permission_for_everybody_is_one_for_each() -> None:
    assert origins_of(lambda _: Answer(headers={"Access-Control-Allow-Origin": "*"})).outcome is Outcome.FAILED


@pytest.mark.parametrize("headers", [{}, {"Access-Control-Allow-Origin": "http://localhost"}])
def test_a_permission_for_another_origin_is_none(headers: dict[str, str]) -> None:
    assert origins_of(lambda _: Answer(405, headers=headers)).outcome is Outcome.OK


def test_of_who_does_not_answer_nothing_is_known() -> None:
    for found in (check_origins(NOBODY), check_names(NOBODY, has_key=False)):
        assert found.outcome is Outcome.UNKNOWN
        assert "it does not answer" in found.evidence


@pytest.mark.parametrize("silent", [CHAT, MODELS, GENERATING[-1]])
def test_half_an_answer_is_no_proof(silent: str) -> None:
    def site(request: Request) -> Answer:
        return Answer(401, raw=(lambda connection: connection.close()) if request.path == silent else None)

    assert names_of(site).outcome is Outcome.UNKNOWN
    if silent in (CHAT, MODELS):
        assert origins_of(site).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("status", [400, 403, 421])
def test_who_looks_at_the_name_lets_no_such_page_in(status: int) -> None:
    def site(request: Request) -> Answer:
        return Answer(200 if request.headers["Host"].startswith("127.0.0.1:") else status)

    assert names_of(site).outcome is Outcome.OK


def test_without_a_key_every_page_is_let_in_which_is_a_warning() -> None:
    found = names_of(lambda request: Answer(400 if request.path == CHAT else 200 if request.path == MODELS else 404))
    assert found.outcome is Outcome.WARNING
    assert found.fix == "fabric up --api-key-env NAME"


def test_with_a_key_that_is_wanted_everywhere_none_is() -> None:
    def site(request: Request) -> Answer:
        return Answer(200 if request.path == MODELS else 401 if request.path == CHAT else 404)

    assert names_of(site, has_key=True).outcome is Outcome.OK


@pytest.mark.parametrize("path", GENERATING)
def test_one_way_around_the_key_is_a_failure(path: str) -> None:
    def site(request: Request) -> Answer:
        if request.path == path:
            return Answer(400)
        return Answer(401) if request.path == MODELS else Answer(raw=lambda connection: connection.close())

    found = names_of(site, has_key=True)
    assert found.outcome is Outcome.FAILED
    assert path in found.evidence


def test_what_is_asked_for_generates_nothing_and_has_no_key() -> None:
    asked: list[Request] = []

    def site(request: Request) -> Answer:
        asked.append(request)
        return Answer(401)

    origins_of(site)
    names_of(site)
    assert [each.path for each in asked if each.method == "POST"] == [*GENERATING]
    assert {each.body for each in asked if each.method == "POST"} == {b"{"}
    assert not any("authorization" in {name.lower() for name in each.headers} for each in asked)
