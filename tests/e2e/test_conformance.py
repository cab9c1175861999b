"""Every way to serve, held to the same: one wish, one client, one way back, and nothing left. No caller can tell which.

What cannot be here is skipped with the reason. ``FABRIC_TEST_LLAMA_SERVER`` and ``FABRIC_TEST_OLLAMA`` name programs
to serve with, where PATH has none; ``native_build.py`` makes the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e import native_build
from tests.e2e.anthropic_client import use_with_anthropic
from tests.e2e.conftest import MODEL, Served
from tests.e2e.official_packages import tokens_from_env, tokens_from_json
from tests.e2e.openai_client import use_with_openai, use_without_a_library
from tests.e2e.our_client import use_with_our_client
from tests.e2e.traces import Watch
from tests.standin.command import Fabric
from tests.standin.hub_server import serving_hub
from tests.standin.ollama_archive import ARCHIVE, SUMS, make_archive, real_ollama

pytestmark = pytest.mark.engine

WISH = f"version: 1\nmodel: {MODEL}\ncontext: 2048\n"
BENCH = ("--concurrency", "1", "--repeats", "3", "--prompt-tokens", "16", "--output-tokens", "4")
BENCH_S = 240.0  # six samples at most, each of which takes its time where a compiler runs beside
CONFIG_KEYS = {"base_url", "model", "local_llm_start_cmd", "local_llm_ensure_available"}
OLLAMA = "ollama-real" if real_ollama() else "ollama-standin"
WAYS = (
    pytest.param("llamacpp-wheel"),
    pytest.param("llamacpp-native", marks=pytest.mark.timeout(native_build.TIMEOUT_S)),
    pytest.param(OLLAMA),
    pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.timeout(1200)]),
    pytest.param("external"),
)


@dataclass
class Way:
    """One way to serve: the command, and the options by which it is asked for."""

    fabric: Fabric
    options: tuple[str, ...]
    backend: str
    env: dict[str, str | None] = field(default_factory=dict)
    answers_messages: bool = True

    @property
    def packages(self) -> list[str]:
        """The official packages whose API the server answers."""
        others = {"anthropic": self.answers_messages, "ollama": self.backend == "ollama"}
        return ["openai", *(name for name, answers in others.items() if answers)]

    @property
    def place(self) -> Path:
        """The directory that everything is under."""
        return self.fabric.home.parent

    def up(self) -> Any:
        """Run ``fabric up`` with the wish in the working directory."""
        return self.fabric.succeed("up", *self.options, env=self.env)


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Way:
    """The way that the test's parameter names."""
    name = request.param
    if name == "vllm":
        return Way(request.getfixturevalue("vllm"), ("--backend", "vllm", "--port", "0"), "vllm")
    if name == "external":
        server: Served = request.getfixturevalue("served")
        address = ("--backend", "external", "--base-url", server.base_url)
        return Way(request.getfixturevalue("fabric"), address, "external")
    if name == OLLAMA:
        return _ollama(request)
    source = ("wheel",) if name == "llamacpp-wheel" else _native(request)
    options = ("--backend", "llamacpp", "--port", "0", "--source", *source)
    return Way(request.getfixturevalue("fabric"), options, "llamacpp")


def _native(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """A program that is there: one that was compiled here, unless there is another."""
    return ("existing", "--program", str(request.getfixturevalue("llama_server")))


def _ollama(request: pytest.FixtureRequest) -> Way:
    """Ollama from a release archive; its model comes from the package index."""
    root = request.getfixturevalue("ollama_releases")
    sites = dict.fromkeys(("FABRIC_MIRROR_GITHUB", "FABRIC_MIRROR_GITHUB_API"), root)
    options, real = ("--backend", "ollama", "--port", "0"), OLLAMA == "ollama-real"
    return Way(request.getfixturevalue("fabric"), options, "ollama", sites, answers_messages=real)


@pytest.fixture
def ollama_releases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A release page that has an archive laid out as Ollama's."""
    archive = make_archive(tmp_path_factory.mktemp("ollama"))
    with serving_hub() as hub:
        sums = archive.with_name(SUMS).read_bytes()
        hub.add_release("ollama/ollama", "v0.32.15", {ARCHIVE: archive.read_bytes(), SUMS: sums}, prerelease=False)
        yield hub.root


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_it_is_served_alike_whatever_serves_it(way: Way) -> None:
    fabric = way.fabric
    (way.place / "tmp").mkdir()
    fabric.variables["TMPDIR"] = str(way.place / "tmp")
    watch = Watch(way.place)
    (fabric.home / "fabric.yaml").write_text(WISH, encoding="utf-8")

    first = way.up()
    watch.note()
    assert first["backend"] == way.backend
    assert first["model"] == MODEL
    assert first["smoke"]["ok"] is True, first["smoke"]
    told = fabric.succeed("config", "json")
    config = json.loads(told["text"])
    assert config.keys() == CONFIG_KEYS
    assert (config["base_url"], config["model"]) == (first["base_url"], MODEL)
    assert config["base_url"].startswith("http://127.0.0.1:")
    assert config["base_url"].endswith("/v1")

    use_with_openai(config["base_url"], config["model"])
    use_with_our_client(config["base_url"], config["model"])
    if way.answers_messages:
        use_with_anthropic(config["base_url"], config["model"])
    for package in way.packages:
        assert 0 < tokens_from_env(package, fabric.succeed("config", "env")["text"]) <= 8
        assert 0 < tokens_from_json(package, told["text"]) <= 8
    assert use_without_a_library(config["base_url"], config["model"])["choices"]
    check_verbs(fabric)

    second = way.up()
    watch.note()
    assert second["changed"] is False, second["changes"]
    assert (second["pid"], second["base_url"]) == (first["pid"], first["base_url"])
    assert second["smoke"]["ok"] is True

    check_way_back(way, first["pid"], watch)


def check_verbs(fabric: Fabric) -> None:
    """What proves and measures asks any server alike."""
    status = fabric.succeed("status")
    assert (status["state"], status["drift"]) == ("ready", [])
    smoke = fabric.succeed("smoke")
    assert [check["name"] for check in smoke["checks"]] == ["models", "chat", "stream", "json_schema"]
    assert smoke["ok"] is True, smoke
    benched = fabric.start("bench", *BENCH, "--json").finish(BENCH_S)
    assert benched.returncode == 0, benched.said
    (level,) = benched.json["levels"]
    assert level["errors"] == 0, level
    assert level["output_tokens_per_s"] > 0
    assert level["ttft_ms"]["p50"] > 0


def check_way_back(way: Way, pid: int | None, watch: Watch) -> None:
    """``down`` stops what was started, ``destroy`` removes what was made; a server of others stays as it is."""
    fabric, started = way.fabric, way.backend != "external"
    stranger = None if started else fabric.succeed("config")["base_url"]
    assert fabric.succeed("down")["stopped"] is started
    assert pid is None or not psutil.pid_exists(pid)
    watch.assert_nothing_left(but_files=True)
    fabric.succeed("destroy", "--yes")
    (fabric.home / "fabric.yaml").unlink()
    watch.assert_nothing_left()
    if stranger:
        use_with_openai(stranger, MODEL)
