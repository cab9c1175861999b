"""``--json``: every command prints one document with its schema and the keys of the contract."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import Any

import psutil
import pytest
import yaml

from tests.e2e.conftest import Served

pytestmark = pytest.mark.engine

KEYS: dict[tuple[str, ...], set[str]] = {
    ("status",): {
        "state", "pid", "base_url", "model", "backend", "engine_version", "uptime_s", "drift",
    },
    ("plan",): {
        "backend", "acceleration", "model", "endpoint", "fit", "why", "why_not", "changes", "summary", "digest",
    },
    ("facts",): {"os", "cpu", "memory", "disk", "gpus", "findings", "probes", "servers"},
    ("doctor",): {"facts", "findings", "recommendation"},
    ("models", "list"): {"models"},
    ("smoke",): {"ok", "checks"},
    ("config",): {"text"},
    ("route", "smollm2-135m"): {
        "model", "model_id", "backend", "base_url", "api_key_env", "api_key_set", "rule", "hint",
    },
    ("logs",): {"lines"},
}  # fmt: skip
NESTED: dict[tuple[str, ...], dict[str, set[str]]] = {
    ("plan",): {
        "model": {"reference", "format", "size_bytes", "quantization"},
        "endpoint": {"base_url", "model"},
        "fit": {"verdict", "need_bytes", "budget_bytes", "weights_bytes", "kv_cache_bytes", "context_length"},
        "summary": {"create", "update", "replace", "delete", "restart", "none"},
    },
    ("facts",): {
        "os": {"system", "distribution", "version", "arch", "libc", "kernel", "container", "wsl", "init"},
        "cpu": {"vendor", "model", "cores_physical", "cores_logical", "cores_usable", "isa"},
        "memory": {"total_bytes", "available_bytes", "limit_bytes"},
        "disk": {"path", "free_bytes"},
    },
}


@pytest.mark.parametrize("command", list(KEYS), ids=" ".join)
def test_the_document_has_its_schema_and_keys(served: Served, command: tuple[str, ...]) -> None:
    document = served.fabric.succeed(*command)
    assert document["schema"] == f"fabric.{command[0]}/v1"
    assert document.keys() >= KEYS[command]
    for name, keys in NESTED.get(command, {}).items():
        assert document[name].keys() >= keys, name


def test_status_of_a_server_that_runs(served: Served) -> None:
    status = served.fabric.succeed("status")
    assert status["state"] == "ready"
    assert status["pid"] == served.pid
    assert status["base_url"] == served.base_url
    assert status["model"] == served.model == "smollm2-135m"
    assert status["drift"] == []
    assert status["uptime_s"] > 0


def test_nothing_is_planned_while_nothing_differs(served: Served) -> None:
    plan = served.fabric.succeed("plan")
    assert plan["summary"] == {"create": 0, "update": 0, "replace": 0, "delete": 0, "restart": 0, "none": 4}


def test_the_smoke_test_tells_each_surface(served: Served) -> None:
    smoke = served.fabric.succeed("smoke")
    assert smoke["ok"] is True
    assert len(smoke["checks"]) >= 4, "models, chat, stream, JSON schema"
    assert all(check.keys() >= {"name", "ok", "detail", "duration_ms"} for check in smoke["checks"])
    assert all(check["ok"] for check in smoke["checks"])


def test_every_format_of_the_config_says_the_same(served: Served) -> None:
    as_json: Any = json.loads(served.fabric("config", "json").stdout)
    as_yaml: Any = yaml.safe_load(served.fabric("config", "yaml").stdout)
    assert as_json == as_yaml
    assert as_json["base_url"] == served.base_url
    assert as_json["base_url"].endswith("/v1")
    assert as_json["model"] == served.model
    assert as_json["local_llm_ensure_available"] is True
    assert "api_key" not in as_json


def test_the_log_is_the_engines(served: Served) -> None:
    lines = served.fabric.succeed("logs", "-n", "5")["lines"]
    assert 0 < len(lines) <= 5
    everything = "\n".join(served.fabric.succeed("logs", "-n", "100000")["lines"])
    assert "launcher: listening on" in everything or "slot print_timing" in everything, "the start may be rotated away"


def test_every_command_without_json_writes_for_people(served: Served) -> None:
    for command in ("status", "plan", "facts", "doctor", "models", "logs"):
        outcome = served.fabric(command)
        assert outcome.returncode == 0, outcome.said
        assert outcome.stdout.strip()
        assert not outcome.stdout.lstrip().startswith("{")
        assert "\033[" not in outcome.stdout, "no colours in a pipe"


def test_the_server_listens_on_loopback_only(served: Served) -> None:
    listening = [c for c in psutil.Process(served.pid).net_connections("tcp") if c.status == "LISTEN"]
    assert [c.laddr.ip for c in listening] == ["127.0.0.1"]


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/chat/completions"])
def test_a_web_page_from_elsewhere_is_not_let_in(served: Served, path: str) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    with closing(http.client.HTTPConnection(served.base_url.split("/")[2], timeout=10)) as connection:
        connection.request("OPTIONS", path, headers=headers)
        allowed = connection.getresponse().headers.get("Access-Control-Allow-Origin")
    assert allowed not in ("*", "http://evil.example")


def test_the_private_parts_of_the_prefix_are_private(served: Served) -> None:
    for name in ("", "run", "logs", "engines", "models", "gen"):
        path = served.prefix / name
        assert path.stat().st_mode & 0o077 == 0, path
    for name in ("state.json", "run/server.json", "logs/server.log"):
        assert (served.prefix / name).stat().st_mode & 0o077 == 0, name
