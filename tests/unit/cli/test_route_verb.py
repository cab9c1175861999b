"""``fabric route``: where a model goes, without asking anybody and without showing a key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from provision.knowledge.routes import load_routes
from tests.standin.command import Fabric, Outcome
from tests.standin.own_models import HOUSE, REPOSITORY, TAG

SECRET = "sk-very-secret-0123456789"
NOTHING_SET = dict.fromkeys(
    [
        *("HARNESS_ENDPOINTS", "VLLM_MODEL_MAP", "INFERENCE_BACKEND"),
        *(name for row in load_routes().backends for name in (row.base_url_env, row.api_key_env)),
    ]
)


def asked(fabric: Fabric, *arguments: str, **env: str) -> Outcome:
    return fabric("route", *arguments, env={**NOTHING_SET, **env})


def test_where_a_model_goes(fabric: Fabric) -> None:
    found = asked(fabric, "vllm/qwen3.5:4b", "--json", VLLM_API_KEY=SECRET, VLLM_BASE_URL="https://gpu.example/")
    assert found.returncode == 0
    assert found.json == {
        "schema": "fabric.route/v1",
        "model": "vllm/qwen3.5:4b",
        "model_id": "Qwen/Qwen3.5-4B",
        "backend": "vllm",
        "base_url": "https://gpu.example/v1",
        "api_key_env": "VLLM_API_KEY",
        "api_key_set": True,
        "rule": "The prefix vllm/ names the backend. The catalogue has its name there.",
        "hint": None,
    }
    assert not fabric.prefix.exists()


def test_it_is_told_in_words_and_the_key_is_not(fabric: Fabric) -> None:
    said = asked(fabric, "some-model", INFERENCE_BACKEND="vllm", VLLM_API_KEY=SECRET).stdout
    assert "VLLM_API_KEY (set)" in said
    assert "INFERENCE_BACKEND names the backend." in said
    assert SECRET not in said
    assert "OLLAMA_API_KEY (not set: a harmless key is sent)" in asked(fabric, "some-model").stdout


def test_a_prefix_that_is_almost_one_is_told(fabric: Fabric) -> None:
    found = asked(fabric, "olama/qwen3:4b", "--json")
    assert found.json["hint"] == "olama/ is no prefix of a backend. Did you mean 'ollama'?"
    assert found.json["model_id"] == "olama/qwen3:4b"
    assert "Did you mean 'ollama'?" in asked(fabric, "olama/qwen3:4b").stdout
    assert asked(fabric, "openai/gpt-oss-20b", "--json").json["hint"] is None


def test_a_variable_that_cannot_be_read(fabric: Fabric) -> None:
    failed = asked(fabric, "m", "--json", VLLM_MODEL_MAP="qwen3=Qwen")
    assert failed.returncode == 65
    assert failed.json["error"]["message"].startswith("VLLM_MODEL_MAP cannot be used: it is no JSON")
    assert asked(fabric, "m", OLLAMA_BASE_URL="http://169.254.169.254").returncode == 77


def test_the_users_own_models_count(fabric: Fabric) -> None:
    (fabric.home / "fabric.models.yaml").write_text(HOUSE, encoding="utf-8")
    assert asked(fabric, f"vllm/{TAG}", "--json").json["model_id"] == REPOSITORY
    place = fabric.home / "elsewhere"
    place.mkdir()
    (place / "spec.yaml").write_text("version: 1\n", encoding="utf-8")
    assert asked(fabric, f"vllm/{TAG}", "--json", "-f", str(place / "spec.yaml")).json["model_id"] == TAG


def test_no_http_library_is_loaded(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['fabric', 'route', 'm', '--json']; from provision.cli.main import main; main()"
    code += "; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    loaded = set(done.stderr.split())
    assert "provision.client.routing" in loaded
    assert not loaded & {"aiohttp", "urllib3", "http.client", "jinja2", "rich.table", "provision.app"}
