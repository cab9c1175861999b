"""What a page in a browser on this machine can have of the running server.

Two ways lead there: the server permits other origins to read its answers (CORS, in the Fetch standard), or the page has
its own name lead to this machine, which makes the server one of its own origin (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.domain.security_check import Outcome, SecurityCheck
from provision.domain.selection import Selection
from provision.domain.server import ServerState
from provision.host.answer import Response
from provision.host.endpoint import EndpointClient
from provision.host.layout import Layout
from provision.serve.observation import MODELS, Server

ORIGINS, NAMES = "foreign-origins", "foreign-names"
CHAT = "/v1/chat/completions"
PAGE = "page.invalid"  # a name that nobody can have (RFC 6761)
ORIGIN = f"http://{PAGE}"
REFUSED = (401, 403, 421)  # no key, not for you, not my name
TIMEOUT_S = 5.0


def check(layout: Layout, selection: Selection | None) -> Iterator[SecurityCheck]:
    """Ask the server as such pages do. Nothing is generated: what is posted is no question."""
    if selection is None or selection.is_remote or Server(layout, selection).observe().state is not ServerState.READY:
        for code in (ORIGINS, NAMES):
            yield SecurityCheck(code, Outcome.UNKNOWN, "no server of fabric's is ready")
        return
    page = EndpointClient(selection.base_url, timeout_s=TIMEOUT_S)  # a page has no key
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    yield judge_origins(
        page.request("OPTIONS", CHAT, headers=preflight), page.request("GET", MODELS, headers={"Origin": ORIGIN})
    )
    renamed = {"Host": f"{PAGE}:{selection.port}", "Origin": f"{ORIGIN}:{selection.port}"}
    yield judge_names(page.request("POST", CHAT, b"{}", headers=renamed))


def judge_origins(*answers: Response) -> SecurityCheck:
    """Tell whether a page of another origin may read answers."""
    if any(answer.headers.get("access-control-allow-origin") in ("*", ORIGIN) for answer in answers):
        said = "every web page may read what the server answers: it permits other origins"
        return SecurityCheck(
            ORIGINS, Outcome.FAILED, said, "fabric up --refresh, for an engine that can be told not to"
        )
    if all(answer.status == 0 for answer in answers):
        return SecurityCheck(ORIGINS, Outcome.UNKNOWN, f"it does not answer: {answers[0].error}")
    return SecurityCheck(ORIGINS, Outcome.OK, "no page of another origin may read what the server answers")


def judge_names(answer: Response) -> SecurityCheck:
    """Tell whether the server answers under any name that leads to it."""
    if answer.status == 0:
        return SecurityCheck(NAMES, Outcome.UNKNOWN, f"it does not answer: {answer.error}")
    if answer.status in REFUSED:
        said = f"a page whose name leads to this machine is refused ({answer.status})"
        return SecurityCheck(NAMES, Outcome.OK, said)
    said = "a page whose name leads to this machine may use the server: it answers under any name, and wants no key"
    return SecurityCheck(NAMES, Outcome.WARNING, said, "fabric up --api-key-env NAME")
