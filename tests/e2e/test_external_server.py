"""The real llama.cpp, as somebody who did not start it finds it."""

from __future__ import annotations

from urllib.parse import urlsplit

import psutil
import pytest

from provision.domain.endpoint import normalize
from provision.facts import servers
from provision.host.endpoint import EndpointClient
from provision.host.machine import LocalMachine
from provision.observe.fingerprint import fingerprint
from tests.e2e.conftest import Served
from tests.standin.command import Fabric

pytestmark = pytest.mark.engine


def test_the_real_llama_cpp_is_told_by_its_answers(served: Served) -> None:
    assert normalize(served.base_url) == served.base_url
    found = fingerprint(EndpointClient(served.base_url, env={}))
    assert (found.kind, found.models, found.needs_key) == ("llamacpp", (served.model,), False), found
    assert found.contexts[served.model] > 0


def test_a_server_that_a_fabric_started_is_found_running(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    port = urlsplit(served.base_url).port
    monkeypatch.setattr(servers, "PORTS", (port,))
    (found,) = servers.read_servers(LocalMachine())
    assert (found.port, found.kind, found.models, found.ours) == (port, "llamacpp", (served.model,), True)
    assert f"(process {served.pid})" in (found.owner or "")


def test_it_is_served_through_by_another_prefix_and_lives_on(served: Served, fabric: Fabric) -> None:
    up = fabric.succeed("up", "--backend", "external", "--base-url", served.base_url)
    assert (up["engine"], up["model"], up["pid"]) == ("llamacpp", served.model, None)
    assert up["smoke"]["ok"] is True
    assert fabric.succeed("status")["state"] == "ready"
    assert fabric.succeed("down")["left_running"] == served.base_url
    fabric.succeed("destroy", "--yes")
    assert psutil.Process(served.pid).is_running()
    assert served.fabric.succeed("status")["pid"] == served.pid
