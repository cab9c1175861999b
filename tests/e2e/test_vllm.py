"""The real vLLM on the processor: what only it does, and what it is refused. The rest is in ``test_conformance.py``."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from provision.client import OpenAICompatibleClient
from tests.e2e.conftest import MODEL, Installed, link_store
from tests.e2e.openai_client import use_with_openai, use_without_a_library
from tests.e2e.our_client import NAMED, call_a_tool
from tests.e2e.traces import Watch
from tests.standin.command import Fabric, eventually

pytestmark = [pytest.mark.engine, pytest.mark.vllm, pytest.mark.timeout(1200)]

WISH = ("--backend", "vllm", "--model", MODEL)
UP = ("up", *WISH, "--context", "2048", "--port", "0")
HOSTS = Path(__file__).parents[1] / "hosts"
# Measured with a cache of 2048 tokens on two cores: see profiles/fit.yaml. More cores take more.
TOO_LITTLE, TOO_MUCH = -0.15, 0.30


@pytest.fixture(scope="module")
def fabric(vllm_installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """One prefix for all of this file: a start takes half a minute. Each test says with ``up`` what it needs."""
    place = tmp_path_factory.mktemp("vllm-served")
    (place / "home").mkdir()
    link_store(vllm_installed.fabric.prefix, place / "prefix")
    command = Fabric(place / "prefix", place / "home", vllm_installed.fabric.index_url)
    watch = Watch(place / "home")
    yield command
    command.cleanup()
    watch.assert_nothing_left()


def by_resource(document: Any) -> dict[str, str]:
    return {change["resource"]: change["action"] for change in document["changes"]}


def children(pid: int) -> list[psutil.Process]:
    """Return the supervisor of a server and all that it has started."""
    supervisor = psutil.Process(pid).parent()
    assert supervisor is not None
    return [supervisor, *supervisor.children(recursive=True)]


def told(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


def test_a_gguf_is_converted_when_it_is_installed_and_not_again(vllm_installed: Installed, fabric: Fabric) -> None:
    assert vllm_installed.up["timings_s"]["convert"] > 0
    outcome = fabric(*UP, "--json")
    assert outcome.returncode == 0, outcome.said
    changes = by_resource(outcome.json)
    assert (changes["engine/vllm"], changes[f"model/{MODEL}"]) == ("none", "none")
    assert "Converting" not in outcome.said
    state = json.loads((fabric.prefix / "state.json").read_text(encoding="utf-8"))
    converted = {key: entry for key, entry in state["entries"].items() if key.endswith(".safetensors")}
    assert len(converted) == 1
    assert converted.keys() <= set(state["in_use"])
    rows = {row["name"]: row for row in fabric.succeed("models", "list")["models"]}
    assert (rows[MODEL]["installed"], rows[MODEL]["served"]) == (True, True)


def test_a_tool_that_is_named_is_called(fabric: Fabric) -> None:
    fabric.succeed(*UP)
    base_url = fabric.succeed("status")["base_url"]

    async def ask() -> None:
        async with OpenAICompatibleClient(base_url) as client:
            await call_a_tool(client, MODEL, "What is the weather in Paris?", NAMED)

    asyncio.run(ask())


def test_its_log_is_shown(fabric: Fabric) -> None:
    fabric.succeed(*UP)
    assert fabric.succeed("status")["state"] == "ready"
    logs = fabric("logs", "-n", "400")
    assert logs.returncode == 0, logs.said
    assert "Application startup complete" in logs.stdout


def test_the_predicted_memory_is_what_all_processes_take(fabric: Fabric) -> None:
    up = fabric.succeed(*UP)
    long = [{"role": "user", "content": "a b " * 800}]
    assert use_without_a_library(up["base_url"], MODEL, messages=long)["usage"]["prompt_tokens"] > 1000
    fit = fabric.succeed("plan", *UP[1:])["fit"]
    taken = sum(int(process.memory_full_info().pss) for process in children(up["pid"]))
    error = fit["need_bytes"] / taken - 1
    assert TOO_LITTLE < error < TOO_MUCH, f"predicted {fit['need_bytes']}, measured {taken}, error {error:+.1%}"


def test_a_changed_context_restarts_the_server_and_nothing_else(fabric: Fabric) -> None:
    first = fabric.succeed(*UP)
    second = fabric.succeed("up", *WISH, "--context", "1024", "--parallel", "2")
    assert by_resource(second) == {
        "engine/vllm": "none",
        f"model/{MODEL}": "none",
        "config/vllm": "update",
        f"server/{MODEL}": "restart",
    }
    assert not psutil.pid_exists(first["pid"])
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: use_without_a_library(second["base_url"], MODEL), range(2)))
    assert all(answer["usage"]["completion_tokens"] > 0 for answer in answers)


def test_down_leaves_no_child_no_port_and_no_shared_memory(fabric: Fabric) -> None:
    watch = Watch(fabric.prefix)
    up = fabric.succeed(*UP)
    watch.note()
    assert len(children(up["pid"])) >= 4, "supervisor, watcher, server, engine core"
    assert fabric.succeed("down")["stopped"] is True
    watch.assert_nothing_left(but_files=True)
    assert not list((fabric.prefix / "var" / "vllm").glob("work*")), "its sockets and temporary files"
    assert fabric.succeed("status")["state"] == "stopped"


def watcher(pid: int) -> psutil.Process:
    return psutil.Process(pid)


def supervisor(pid: int) -> psutil.Process:
    return children(pid)[0]


def api_server(pid: int) -> psutil.Process:
    return next(each for each in psutil.Process(pid).children() if told(each).endswith(" server"))


def engine_core(pid: int) -> psutil.Process:
    """The process that computes: the one below the server with the most memory."""
    return max(api_server(pid).children(recursive=True), key=lambda each: each.memory_info().rss)


@pytest.mark.parametrize("victim", [watcher, api_server, engine_core, supervisor])
def test_whichever_process_is_killed_the_next_up_serves_again(
    fabric: Fabric, victim: Callable[[int], psutil.Process]
) -> None:
    watch = Watch(fabric.prefix)
    first = fabric.succeed(*UP)
    watch.note()
    were = children(first["pid"])
    killed = victim(first["pid"])
    killed.send_signal(signal.SIGKILL)
    below = [each for each in were if each.pid not in (were[0].pid, killed.pid)]
    assert eventually(lambda: not any(each.is_running() for each in below), timeout_s=20), below
    if victim is supervisor:
        assert fabric.succeed("status")["state"] == "failed"
    again = fabric.succeed(*UP)
    assert again["pid"] != first["pid"]
    assert again["smoke"]["ok"] is True
    assert len(children(again["pid"])) == len(were)
    assert len(fabric.processes()) <= len(were)
    fabric.succeed("down")
    watch.assert_nothing_left(but_files=True)


def test_a_start_that_stands_still_for_a_while_is_waited_for(fabric: Fabric) -> None:
    fabric.succeed("down")
    running = fabric.start(*UP, "--json")
    loading = eventually(lambda: [each for each in fabric.processes() if told(each).endswith(" server")], timeout_s=60)
    (server,) = loading
    server.suspend()
    assert not eventually(lambda: running.child.poll() is not None, timeout_s=5), "it does not give up"
    server.resume()
    outcome = running.finish(300)
    assert outcome.returncode == 0, outcome.said


def test_all_of_its_processes_listen_on_loopback_only(fabric: Fabric) -> None:
    """Else torch's processes meet at whatever address the machine's name has."""
    up = fabric.succeed(*UP, "--no-smoke")
    sockets = [
        each.laddr
        for process in children(up["pid"])
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
    assert {each.ip for each in sockets} == {"127.0.0.1"}
    checks = {check["code"]: check for check in fabric.succeed("doctor")["security"]}
    assert {code: check["outcome"] for code, check in checks.items() if check["outcome"] != "ok"} == {
        "foreign-names": "warning"
    }
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    with closing(http.client.HTTPConnection(up["base_url"].split("/")[2], timeout=10)) as connection:
        connection.request("OPTIONS", "/v1/chat/completions", headers=headers)
        allowed = connection.getresponse().headers.get("Access-Control-Allow-Origin")
    assert allowed not in ("*", "http://evil.example")


def test_without_its_key_nobody_is_answered_and_no_process_shows_it(fabric: Fabric) -> None:
    key = "k-0a1b2c3d4e5f"
    up = fabric.succeed(*UP, "--api-key-env", "MY_KEY", env={"MY_KEY": key})
    assert up["smoke"]["ok"] is True
    use_with_openai(up["base_url"], MODEL, key)
    for wrong in (None, "k-wrong"):
        assert status_without(up["base_url"], wrong) == 401
    checks = {check["code"]: check["outcome"] for check in fabric.succeed("doctor")["security"]}
    assert checks["foreign-names"] == "ok", "its own guard leaves /invocations open, and that generates"
    for process in fabric.processes():
        assert key not in told(process)
        assert key not in str(process.environ())
    assert key not in (fabric.prefix / "logs" / "server.log").read_text(encoding="utf-8", errors="replace")


def status_without(base_url: str, key: str | None) -> int:
    from provision.host.endpoint import EndpointClient

    return EndpointClient(base_url, key).get("/v1/models").status


def test_a_port_of_others_is_named_and_the_server_goes_on(fabric: Fabric) -> None:
    first = fabric.succeed(*UP)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        refused = fabric("up", *WISH, "--context", "2048", "--port", str(other.getsockname()[1]), "--json")
    assert refused.returncode == 1, refused.said
    assert refused.json["error"]["code"] == "port-taken"
    assert f"process {os.getpid()}" in refused.json["error"]["message"]
    assert fabric.server_pid() == first["pid"]


def test_a_context_beyond_the_models_is_refused_and_the_server_goes_on(fabric: Fabric) -> None:
    first = fabric.succeed(*UP)
    refused = fabric("up", *WISH, "--context", "9000", "--json")
    assert refused.returncode == 64, refused.said
    assert "8192" in refused.json["error"]["message"]
    assert fabric.server_pid() == first["pid"]


def test_a_machine_with_too_little_memory_is_refused(fabric: Fabric) -> None:
    small = str(HOSTS / "linux-ubuntu24.04-container-2g")
    refused = fabric("plan", *WISH, "--replay", small, "--json")
    assert refused.returncode == 1, refused.said
    assert "of memory" in refused.json["error"]["message"]
