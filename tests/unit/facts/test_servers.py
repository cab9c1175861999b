"""Model servers that run already: seen, named, and taken along in a capture."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from provision.domain.fingerprint import RunningServer
from provision.facts import servers
from provision.facts.detect import detect
from provision.facts.replayed import read_replay
from provision.host import ports
from provision.host.answer import Response
from provision.host.capture import CapturingMachine
from provision.host.capture_files import encode, write
from provision.host.machine import Listener, LocalMachine
from tests.standin import engine_sites as sites
from tests.standin.engine_sites import Routes, json_answer, site
from tests.standin.web_server import Answer, WebServer, serving_site
from tests.unit.facts.conftest import Imagine

MANY = {"/v1/models": sites.listing(*(f"m{number}" for number in range(500)))}


def answers(routes: Routes) -> Mapping[str, Response]:
    told = {path: each if isinstance(each, Answer) else json_answer(each) for path, each in routes.items()}
    return {
        path: Response(each.status, each.body, headers={name.lower(): text for name, text in each.headers.items()})
        for path, each in told.items()
    }


def test_every_server_is_told_by_its_port(imagine: Imagine) -> None:
    machine = imagine(
        servers={
            Listener(11434, "ollama (process 812)"): answers(sites.OLLAMA),
            Listener(8080, "python3 (process 9)", ours=True): answers(sites.LLAMACPP),
            Listener(8000): answers(sites.VLLM),
            Listener(1234): answers(sites.LMSTUDIO),
            Listener(5000): answers({}),
            Listener(30000): answers(MANY),
            Listener(22, "sshd (process 1)"): {},
        }
    )
    *first, last = servers.read_servers(machine)
    assert first == [
        RunningServer(11434, "ollama", "0.32.15", ("qwen3:4b", "hf.co/a/b:Q4_K_M"), "ollama (process 812)"),
        RunningServer(8080, "llamacpp", "b11434-0123abcd", ("smollm2",), "python3 (process 9)", ours=True),
        RunningServer(8000, "vllm", "0.33.0", ("Qwen/Qwen3-4B",)),
        RunningServer(1234, "lmstudio", None, ("qwen/qwen3-4b", "text-embedding-nomic")),
        RunningServer(5000, "unknown"),
    ]
    assert (last.kind, len(last.models)) == ("openai-compatible", servers.MAX_MODELS)


def test_one_that_has_just_ended_is_none_and_one_that_is_silent_is_told(imagine: Imagine) -> None:
    gone, silent = Response(0, error="[Errno 111] Connection refused"), Response(0, error="timed out")
    listening = {Listener(8080): {"/v1/models": gone}, Listener(8000): {"/v1/models": silent}}
    assert servers.read_servers(imagine(servers=listening)) == (RunningServer(8000, "unreachable"),)


def test_a_running_ollama_is_a_fact_and_a_finding(imagine: Imagine) -> None:
    facts = detect(imagine(servers={Listener(11434): answers(sites.OLLAMA)}), "/p")
    (told,) = asdict(facts)["servers"]
    assert told.keys() >= {"port", "kind", "version", "models", "owner"}
    (finding,) = [each for each in facts.findings if each.code == "OLLAMA-RUNNING"]
    assert "fabric up --backend external --base-url http://127.0.0.1:11434" in finding.fix.split("\n")


def test_where_nobody_listens_nothing_is_asked_and_nothing_heavy_is_loaded() -> None:
    code = f"""import sys
from provision.facts import servers
from provision.host.machine import LocalMachine
servers.PORTS = ({ports.pick_free("127.0.0.1")},)
assert servers.read_servers(LocalMachine()) == ()
heavy = ("psutil", "json", "socket", "provision.host.endpoint", "concurrent.futures")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A stand-in on a port of its own, and one port where nobody listens."""
    with serving_site(site(sites.OLLAMA)) as server:
        monkeypatch.setattr(servers, "PORTS", (server.port, ports.pick_free("127.0.0.1")))
        yield server


def test_a_server_on_this_machine_is_found_and_its_process_named(ollama: WebServer) -> None:
    facts = detect(LocalMachine(), "/")
    (found,) = facts.servers
    assert (found.port, found.kind, found.version) == (ollama.port, "ollama", "0.32.15")
    assert found.owner is not None
    assert "(process " in found.owner
    assert {request.method for request in ollama.requests} == {"GET"}
    assert not any("Authorization" in request.headers for request in ollama.requests)


def test_a_capture_of_it_replays_as_it_was(ollama: WebServer, tmp_path: Path) -> None:
    machine = CapturingMachine(LocalMachine())
    facts = detect(machine, "/")
    write(encode(machine.capture("/")), tmp_path / "capture")
    ollama.requests.clear()
    again = read_replay(tmp_path / "capture")
    assert again.servers == facts.servers
    assert len(again.servers) == 1
    assert [each.code for each in again.findings].count("OLLAMA-RUNNING") == 1
    assert ollama.requests == []
    (kept,) = json.loads((tmp_path / "capture" / "servers.json").read_text(encoding="utf-8"))
    assert kept["port"] == ollama.port
