"""A server that somebody else has just started: what it serves is known only when it has loaded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standin import engine_sites as sites
from tests.standin.command import Fabric
from tests.standin.openai_server import Script, serving
from tests.standin.web_server import Answer, Request, WebServer, serving_site

FILE = "/models/SmolLM2-135M-Instruct.Q4_1.gguf"
CHAT = {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "length"}]}


class LlamaCpp:
    """Answers as llama.cpp does; it is loading for as many looks at its list as are ``left``."""

    def __init__(self) -> None:
        self.left = 0
        routes = {**sites.LLAMACPP, "/v1/models": sites.listing(FILE, owner="llamacpp"), "/v1/chat/completions": CHAT}
        self.loaded = sites.site(routes, headers=sites.BY_LLAMACPP)
        self.loading = sites.site({}, missing=sites.LOADING, headers=sites.BY_LLAMACPP)

    def __call__(self, request: Request) -> Answer:
        now = self.loading if self.left > 0 else self.loaded
        self.left -= request.path == "/v1/models"
        return now(request)


@pytest.fixture
def site() -> LlamaCpp:
    return LlamaCpp()


@pytest.fixture
def theirs(site: LlamaCpp) -> Iterator[WebServer]:
    with serving_site(site) as server:
        yield server


def wish(theirs: WebServer) -> tuple[str, ...]:
    """Name the model as it is called here, not there."""
    return ("--backend", "external", "--base-url", f"http://127.0.0.1:{theirs.port}/v1", "--model", "smollm2-135m")


def test_it_is_waited_for_and_found_by_the_name_that_it_lists_then(
    quick: Fabric, theirs: WebServer, site: LlamaCpp
) -> None:
    site.left = 3
    up = quick("up", "--no-smoke", "--json", "--timeout", "60", *wish(theirs))
    assert up.returncode == 0, up.said
    assert (up.json["model"], up.json["engine"]) == (FILE, "llamacpp")
    assert up.stderr.count("is still loading its model. Waiting for it, 60 s at most") == 1
    assert quick.succeed("status")["state"] == "ready"
    site.left = 3
    assert quick.succeed("up", "--no-smoke", *wish(theirs))["changed"] is False


def test_a_plan_does_not_wait(quick: Fabric, theirs: WebServer, site: LlamaCpp) -> None:
    site.left = 99
    plan = quick("plan", "--json", *wish(theirs))
    assert (plan.returncode, plan.json["error"]["code"]) == (69, "loading"), plan.said
    assert "is still loading its model" in plan.json["error"]["message"]
    assert theirs.paths.count("/v1/models") == 1
    assert not quick.prefix.exists()


def test_a_saved_plan_waits_when_it_is_applied(
    quick: Fabric, theirs: WebServer, site: LlamaCpp, tmp_path: Path
) -> None:
    saved = str(tmp_path / "plan.json")
    quick.succeed("plan", *wish(theirs), "--out", saved)
    site.left = 2
    assert quick.succeed("apply", saved, "--no-smoke")["model"] == FILE


def test_what_serves_goes_on_while_it_is_waited_for(quick: Fabric, theirs: WebServer, site: LlamaCpp) -> None:
    ours = quick.succeed("up", "--no-smoke")
    site.left, began = 9999, time.monotonic()
    late = quick("up", "--no-smoke", "--json", "--timeout", "1", *wish(theirs))
    assert time.monotonic() - began < 10
    assert (late.returncode, late.json["error"]["code"]) == (1, "server-failed"), late.said
    assert "still loading its model after 1 s" in late.json["error"]["message"]
    assert quick.succeed("status")["pid"] == ours["pid"]


def test_the_timeout_holds_for_its_first_token(quick: Fabric) -> None:
    with serving(Script(prompt_s=60)) as silent:
        began = time.monotonic()
        late = quick("up", "--timeout", "1", "--backend", "external", "--base-url", silent.base_url)
    assert (late.returncode, "does not answer: timed out" in late.stderr) == (1, True), late.said
    assert time.monotonic() - began < 10
