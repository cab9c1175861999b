"""What a page in a browser on this machine can have of the running server.

Two ways lead there: the server permits other origins to read its answers (CORS, in the Fetch standard), or the page has
its own name lead to this machine, which makes the server one of its own origin (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from provision.domain.security_check import Outcome, SecurityCheck
from provision.domain.selection import Selection
from provision.domain.server import ServerState
from provision.errors import FabricError
from provision.host.answer import Response
from provision.host.endpoint import EndpointClient
from provision.host.layout import Layout
from provision.serve.observation import MODELS, Server

ORIGINS, NAMES = "foreign-origins", "foreign-names"
CHAT = "/v1/chat/completions"
GENERATING = (
    *(CHAT, "/v1/completions", "/v1/messages", "/v1/responses"),
    *("/completion", "/infill"),  # of llama.cpp
    "/invocations",  # of vLLM
    *("/api/generate", "/api/chat"),  # of Ollama
)
NO_JSON = b"{"  # so that nothing is generated where it is let in
PAGE = "page.invalid"  # a name that nobody can have (RFC 6761)
FOREIGN_ORIGINS = (f"http://{PAGE}", "null")  # the second is that of a page in a sandbox
REFUSED, NOT_THERE = (401, 403, 421), (404, 405)
TIMEOUT_S = 5.0


def check(layout: Layout, selection: Selection | None) -> Iterator[SecurityCheck]:
    """Ask the server as such pages do, where it is fabric's and ready."""
    why = "no server of fabric's is ready"
    try:
        is_asked = selection is not None and not selection.is_remote
        is_asked = is_asked and Server(layout, selection).observe().state is ServerState.READY
    except FabricError as error:  # its key cannot be read
        is_asked, why = False, error.message
    if selection is None or not is_asked:
        yield from (SecurityCheck(code, Outcome.UNKNOWN, why) for code in (ORIGINS, NAMES))
        return
    yield check_origins(selection.base_url)
    yield check_names(selection.base_url, has_key=bool(selection.spec.api_key_env))


def check_origins(base_url: str) -> SecurityCheck:
    """Tell whether a page of another origin may read answers: a preflight and a GET for each of two origins."""
    page = EndpointClient(base_url, timeout_s=TIMEOUT_S)  # a page has no key
    for origin in FOREIGN_ORIGINS:
        preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answers = (
            page.request("OPTIONS", CHAT, headers=preflight),
            page.request("GET", MODELS, headers={"Origin": origin}),
        )
        if any(answer.headers.get("access-control-allow-origin") in ("*", origin) for answer in answers):
            said = f"a web page from elsewhere may read what the server answers: it permits the origin {origin}"
            fix = "fabric up --refresh, for an engine that can be told not to"
            return SecurityCheck(ORIGINS, Outcome.FAILED, said, fix)
        if silent := _silent(answers):
            return SecurityCheck(ORIGINS, Outcome.UNKNOWN, silent)
    return SecurityCheck(ORIGINS, Outcome.OK, "no page of another origin may read what the server answers")


def check_names(base_url: str, *, has_key: bool) -> SecurityCheck:
    """Tell whether who has no key is let in under a name that is not the server's own."""
    page = EndpointClient(base_url, timeout_s=TIMEOUT_S)
    own, renamed = page.request("GET", MODELS), _renamed(base_url)
    foreign = page.request("GET", MODELS, headers=renamed)
    posted = {path: page.request("POST", path, NO_JSON, headers=renamed) for path in GENERATING}
    if own.status == 200 and foreign.status in (400, *REFUSED):
        said = f"a page whose name leads to this machine is refused by its name ({foreign.status})"
        return SecurityCheck(NAMES, Outcome.OK, said)
    let_in = [path for path, answer in posted.items() if answer.status not in (0, *REFUSED, *NOT_THERE)]
    if let_in and has_key:
        said = f"who has no key is let in all the same: {' and '.join(let_in)}"
        return SecurityCheck(NAMES, Outcome.FAILED, said, "fabric up; where that changes nothing, fabric up --refresh")
    if let_in:
        said = "a page whose name leads to this machine may use the server: it looks at no name, and wants no key"
        return SecurityCheck(NAMES, Outcome.WARNING, said, "fabric up --api-key-env NAME")
    if silent := _silent((own, foreign, *posted.values())):
        return SecurityCheck(NAMES, Outcome.UNKNOWN, silent)
    return SecurityCheck(NAMES, Outcome.OK, "who has no key is refused under any name")


def _renamed(base_url: str) -> Mapping[str, str]:
    """Return the headers of a request of a page that the browser takes for the server's own."""
    authority = f"{PAGE}:{urlsplit(base_url).port}"
    return {"Host": authority, "Origin": f"http://{authority}"}


def _silent(answers: Sequence[Response]) -> str:
    """Return why one of the answers did not come; empty where all did."""
    return next((f"it does not answer: {answer.error}" for answer in answers if answer.status == 0), "")
