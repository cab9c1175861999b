"""What of vLLM's server is open to who has no key. The real one is asked in ``tests/e2e/test_vllm.py``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from provision.engines.vllm_launcher import NothingWithoutKey

KEY = "sk-4711"


def status_of(
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    *,
    kind: str = "http",
    method: str = "POST",
    key: str = KEY,
    **headers: str,
) -> Any:
    """Return the status, or what else ends it; 200 is vLLM's own answer."""
    monkeypatch.setattr(NothingWithoutKey, "key", key)
    sent: list[dict[str, Any]] = []

    async def vllm(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "path": path, "method": method, "headers": pairs}
    asyncio.run(NothingWithoutKey(vllm)(scope, None, send))
    if len(sent) == 2:
        assert json.loads(sent[1]["body"])["error"]["code"] == sent[0]["status"]
    return sent[0].get("status", sent[0].get("code"))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/invocations", "/tokenize", "/", "//health", "/health/x"])
def test_all_paths_want_the_key(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    assert status_of(monkeypatch, path) == 401
    for wrong in ("Bearer", f"Bearer {KEY}x", f"Bearer  {KEY}", f"Basic {KEY}", KEY, "Bearer sk-471"):
        assert status_of(monkeypatch, path, authorization=wrong) == 401
    assert status_of(monkeypatch, path, authorization=f"Bearer {KEY}") == 200
    assert status_of(monkeypatch, path, authorization=f"bearer {KEY}") == 200, "the scheme has no case: RFC 9110"


def test_what_tells_of_the_server_and_preflights_need_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in NothingWithoutKey.OPEN:
        assert status_of(monkeypatch, path, method="GET") == 200
    asked = {"origin": "http://page.invalid", "access-control-request-method": "POST"}
    assert status_of(monkeypatch, "/v1/chat/completions", method="OPTIONS", **asked) == 200
    for lacking in asked:
        rest = {name: value for name, value in asked.items() if name != lacking}
        assert status_of(monkeypatch, "/metrics", method="OPTIONS", **rest) == 401, "no preflight reaches a path"
    assert status_of(monkeypatch, "", kind="lifespan") == 200


def test_where_it_knows_no_key_nobody_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("Bearer ", "Bearer"):
        assert status_of(monkeypatch, "/v1/models", key="", authorization=wrong) == 401


def test_a_web_socket_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert status_of(monkeypatch, "/v1/realtime", kind="websocket") == 1008
    assert status_of(monkeypatch, "/v1/realtime", kind="websocket", authorization=f"Bearer {KEY}") == 200
