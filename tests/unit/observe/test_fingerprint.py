"""Each engine is told by what it answers, and nothing that looks alike is taken for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.domain.fingerprint import Fingerprint
from provision.facts.fingerprint import MAX_MODELS, identify
from provision.host import ports
from provision.host.answer import Response
from provision.host.endpoint import EndpointClient
from provision.observe.fingerprint import fingerprint
from tests.standin import engine_sites as sites
from tests.standin.engine_sites import json_answer, listing, site
from tests.standin.web_server import Answer, Request, Site, WebServer, serving_site

NO_ENV: dict[str, str] = {}


def look(at: Site, key: str | None = None, base: str = "/v1") -> tuple[Fingerprint, WebServer]:
    with serving_site(at) as server:
        client = EndpointClient(f"http://127.0.0.1:{server.port}{base}", key, env=NO_ENV)
        return fingerprint(client), server


@dataclass(frozen=True)
class Known:
    site: Site
    kind: str
    version: str | None = None
    models: tuple[str, ...] = ()
    contexts: Mapping[str, int] | None = None
    needs_key: bool = False
    loading: bool = False


LLAMACPP = Known(
    site(sites.LLAMACPP, headers=sites.BY_LLAMACPP), "llamacpp", "b11434-0123abcd", ("smollm2",), {"smollm2": 4096}
)
ENGINES = {
    "ollama": Known(site(sites.OLLAMA), "ollama", "0.32.15", ("qwen3:4b", "hf.co/a/b:Q4_K_M"), {"qwen3:4b": 8192}),
    "ollama without a model": Known(site(sites.EMPTY_OLLAMA), "ollama", "0.32.15"),
    "llama.cpp": LLAMACPP,
    "llama.cpp behind a proxy that hides its name": Known(
        site(sites.LLAMACPP), "llamacpp", "b11434-0123abcd", ("smollm2",), {"smollm2": 4096}
    ),
    "llama.cpp that is loading": Known(
        site({}, missing=sites.LOADING, headers=sites.BY_LLAMACPP), "llamacpp", loading=True
    ),
    "llama.cpp that lists the model that it is loading": Known(
        site({"/v1/models": sites.LLAMACPP_LIST}, missing=sites.LOADING, headers=sites.BY_LLAMACPP),
        *("llamacpp", None, ("smollm2",)),
        loading=True,
    ),
    "llama.cpp with a key that leaves its list open": Known(
        site(sites.LLAMACPP, headers=sites.BY_LLAMACPP, guards="/props"),
        *("llamacpp", None, ("smollm2",), {"smollm2": 16384}),
        needs_key=True,
    ),
    "llama.cpp without its build": Known(
        site({**sites.LLAMACPP, "/props": {"build_info": "b0-unknown", "default_generation_settings": {}}}),
        *("llamacpp", None, ("smollm2",), {"smollm2": 16384}),
    ),
    "vllm": Known(
        site(sites.VLLM, headers=sites.BY_UVICORN),
        *("vllm", "0.33.0", ("Qwen/Qwen3-4B",), {"Qwen/Qwen3-4B": 32768}),
    ),
    "vllm with a key": Known(site(sites.VLLM, guards="/v1"), "vllm", "0.33.0", needs_key=True),
    "lm studio": Known(
        site(sites.LMSTUDIO, missing=sites.UNEXPECTED),
        *("lmstudio", None, ("qwen/qwen3-4b", "text-embedding-nomic"), {"qwen/qwen3-4b": 4096}),
    ),
    "lm studio before 0.4": Known(
        site(sites.OLDER_LMSTUDIO, missing=sites.UNEXPECTED), "lmstudio", None, ("qwen3-4b",), {"qwen3-4b": 8192}
    ),
    "a hosted service": Known(
        site(sites.HOSTED),
        *("openai-compatible", None, ("gpt-oss-120b", "llama-4"), {"gpt-oss-120b": 131_072, "llama-4": 131_072}),
    ),
    "a hosted service that wants a key": Known(site(sites.HOSTED, guards="/"), "openai-compatible", needs_key=True),
    "koboldcpp": Known(site(sites.KOBOLDCPP), "openai-compatible", None, ("koboldcpp/tiny",)),
    "sglang": Known(site(sites.SGLANG), "openai-compatible", None, ("Qwen/Qwen3-4B",)),
    "llama.cpp that answers like ollama as well": Known(
        site({**sites.LLAMACPP, "/api/version": {"version": "0.32.15"}, "/": sites.OLLAMA["/"]}),
        *("llamacpp", "b11434-0123abcd", ("smollm2",), {"smollm2": 4096}),
    ),
    "a web page for everything": Known(lambda _: sites.WEB_PAGE, "unknown"),
    "200 and an error for everything": Known(lambda _: sites.UNEXPECTED, "unknown"),
    "a login for people": Known(lambda _: Answer(401, b"<html>", sites.HTML), "unknown"),
    "a login by the browser": Known(
        lambda _: json_answer({}, 401, {"WWW-Authenticate": 'Basic realm="router"'}), "unknown"
    ),
    "nothing there": Known(site({}), "unknown"),
    "a redirect": Known(lambda _: Answer(301, headers={"Location": "https://elsewhere.example/"}), "unknown"),
    "an error": Known(lambda _: Answer(500), "unknown"),
    "a gateway with nothing behind it": Known(lambda _: Answer(503), "unknown"),
}


@pytest.mark.parametrize("name", ENGINES)
def test_a_server_is_told_by_its_answers(name: str) -> None:
    known = ENGINES[name]
    found, server = look(known.site)
    assert found.kind == known.kind, found
    assert (found.version, found.models, found.needs_key) == (known.version, known.models, known.needs_key)
    assert found.loading is known.loading
    assert found.contexts == (known.contexts or {}) or known.contexts is None
    assert found.detail
    assert found.speaks_openai is (known.kind != "unknown")
    assert {request.method for request in server.requests} == {"GET"}
    assert len(server.requests) <= 9


def test_a_prefix_goes_before_every_path() -> None:
    routes = {f"/engines/one{path}": answer for path, answer in sites.OLLAMA.items()}
    found, server = look(site(routes), base="/engines/one/v1")
    assert found.kind == "ollama"
    assert all(path.startswith("/engines/one/") for path in server.paths)


def test_the_key_stays_at_home_until_it_is_asked_for() -> None:
    for name in ("ollama", "llama.cpp", "vllm", "lm studio", "a hosted service"):
        _, server = look(ENGINES[name].site, sites.KEY)
        assert [each for each in server.requests if "Authorization" in each.headers] == [], name


def test_with_its_key_a_guarded_server_tells_all() -> None:
    found, server = look(site(sites.VLLM, guards="/v1"), sites.KEY)
    assert (found.kind, found.models, found.needs_key) == ("vllm", ("Qwen/Qwen3-4B",), True)
    assert "Authorization" not in server.requests[0].headers
    found, _ = look(site(sites.OLLAMA, guards="/"), sites.KEY)
    assert (found.kind, found.needs_key) == ("ollama", True)


def test_a_wrong_key_leaves_it_a_server_that_wants_one() -> None:
    found, _ = look(site(sites.HOSTED, guards="/"), "sk-wrong-key")
    assert (found.kind, found.models, found.needs_key) == ("openai-compatible", (), True)
    assert "401" in found.detail


def test_nobody_there() -> None:
    found = fingerprint(EndpointClient(f"http://127.0.0.1:{ports.pick_free('127.0.0.1')}/v1", env=NO_ENV))
    assert (found.kind, found.speaks_openai) == ("unreachable", False)
    assert "refused" in found.detail


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\n\r\n[")
    while True:
        connection.sendall(b"0," * (1 << 15))


def silent(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.recv(1)


@pytest.mark.parametrize("raw", [endless, silent])
def test_a_server_that_never_ends_or_never_begins_is_left(raw: Callable[[socket.socket], None]) -> None:
    with serving_site(lambda _: Answer(raw=raw)) as server:
        client = EndpointClient(f"http://127.0.0.1:{server.port}/v1", env=NO_ENV)
        assert fingerprint(client, timeout_s=0.3 if raw is silent else 10).kind == "unreachable"


def test_all_questions_together_have_an_end() -> None:
    def slow(_: Request) -> Answer:
        time.sleep(0.2)
        return json_answer(listing("x"))

    with serving_site(slow) as server:
        client = EndpointClient(f"http://127.0.0.1:{server.port}/v1", env=NO_ENV)
        found = fingerprint(client, timeout_s=1.0, budget_s=0.5)
    assert len(server.requests) <= 3
    assert (found.kind, found.models) == ("openai-compatible", ("x",))


def test_a_huge_list_is_cut_and_names_that_no_request_could_hold_are_left_out() -> None:
    names = ["good", "good", "", "a\nb", "\x1b[31mred", "x" * 1000, "größe"]
    found = identify(lambda _: answered(listing(*names, *map(str, range(MAX_MODELS)))))
    assert found.models[:3] == ("good", "größe", "0")
    assert len(found.models) <= MAX_MODELS


def answered(document: Any, status: int = 200) -> Response:
    answer = json_answer(document, status)
    return Response(answer.status, answer.body, headers={name.lower(): value for name, value in answer.headers.items()})


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["vllm", "llamacpp"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "data",
                        "models",
                        "version",
                        "id",
                        "owned_by",
                        "meta",
                        "n_ctx",
                        "name",
                        "key",
                        "loaded_instances",
                    ),
                    *(
                        "config",
                        "context_length",
                        "max_model_len",
                        "build_info",
                        "default_generation_settings",
                        "state",
                    ),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)
BODIES = ODD.map(lambda document: answered(document).body) | st.binary(max_size=40) | st.just(b"[" * 100_000)
HEADERS = st.dictionaries(
    st.sampled_from(["server", "content-type", "location", "www-authenticate"]), st.text(max_size=400), max_size=3
)
ANSWERS = st.builds(
    lambda status, body, headers: Response(status, body, headers=headers),
    st.sampled_from([0, 200, 200, 200, 301, 401, 403, 404, 500, 999]),
    BODIES,
    HEADERS,
)


@settings(max_examples=300)
@given(st.lists(ANSWERS, min_size=12, max_size=12))
def test_whatever_a_server_answers_gives_a_sane_fingerprint(answers: list[Response]) -> None:
    waiting = iter(answers)
    found = identify(lambda _: next(waiting), lambda _: next(waiting))
    assert all(name.isprintable() and len(name) <= 300 for name in (*found.models, *found.contexts))
    assert all(0 < context < 1 << 31 for context in found.contexts.values())
    assert found.detail.isprintable()
    assert len(found.detail) < 500
    assert found.version is None or (found.version.isprintable() and 0 < len(found.version) <= 60)


def test_a_deeply_nested_owner_is_no_owner() -> None:
    nested = b'{"data": [{"id": "x", "owned_by": ' + b"[" * 900 + b"]" * 900 + b"}]}"
    assert identify(lambda _: Response(200, nested)).kind in ("openai-compatible", "unknown")
