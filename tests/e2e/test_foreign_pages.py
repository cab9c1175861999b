"""A page whose own name leads to this machine: the browser takes the server for the page's own, and asks no CORS."""

from __future__ import annotations

import http.client
import json
from contextlib import closing

import pytest

from tests.e2e.conftest import MODEL
from tests.standin.command import Fabric

pytestmark = pytest.mark.engine

KEY = "sk-4711-of-a-page"
CHAT = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1})


def asked(base_url: str, key: str | None) -> int:
    """Return the status for a request as such a page sends it: the name is its own, and so is the origin."""
    headers = {"Host": "evil.example:8080", "Origin": "http://evil.example:8080", "Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    with closing(http.client.HTTPConnection(base_url.split("/")[2], timeout=60)) as connection:
        connection.request("POST", "/v1/chat/completions", CHAT, headers)
        answer = connection.getresponse()
        assert answer.headers.get("Access-Control-Allow-Origin") not in ("*", "http://evil.example:8080")
        return answer.status


def doctors_word(fabric: Fabric) -> dict[str, str]:
    """Return what doctor says of pages, and that asking has left the server as it was."""
    checks = {each["code"]: each["outcome"] for each in fabric.succeed("doctor")["security"]}
    status = fabric.succeed("status")
    assert (status["state"], status["drift"]) == ("ready", [])
    return {code: checks[code] for code in ("foreign-origins", "foreign-names", "server-environment")}


def test_without_a_key_doctor_warns_of_pages_under_any_name(fabric: Fabric) -> None:
    up = fabric.succeed("up", "--model", MODEL, "--source", "wheel", "--port", "0", "--no-smoke")
    assert doctors_word(fabric) == {"foreign-origins": "ok", "foreign-names": "warning", "server-environment": "ok"}
    assert asked(up["base_url"], None) == 200
    said = fabric("doctor").stdout
    assert "1 warning" in said
    assert "fabric up --api-key-env NAME" in said


def test_with_a_key_a_page_under_any_name_gets_nothing(fabric: Fabric) -> None:
    wish = ("--model", MODEL, "--source", "wheel", "--port", "0", "--no-smoke")
    up = fabric.succeed("up", *wish, "--api-key-env", "MY_KEY", env={"MY_KEY": KEY})
    assert doctors_word(fabric) == {"foreign-origins": "ok", "foreign-names": "ok", "server-environment": "ok"}
    assert asked(up["base_url"], None) == 401
    assert asked(up["base_url"], "sk-guessed") == 401
    assert asked(up["base_url"], KEY) == 200, "the name decides nothing: docs/security.md says so"
