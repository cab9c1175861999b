"""A project that depends on the client alone: installed where nothing else of fabric is, and used there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from provision.artifacts.pip_settings import read_local, uv_environment, uv_flags
from provision.errors import UnreachableError
from tests.e2e.wheel_cache import needing_index
from tests.standin.client_wheel import build_client_wheel
from tests.standin.openai_answer import WORD
from tests.standin.openai_server import Script, serving

USE = """
import asyncio, os, sys
from importlib.util import find_spec

for name in ("typer", "rich", "jinja2", "psutil", "uv", "provision.cli", "provision.app"):
    assert find_spec(name) is None, f"{name} is here"

from provision.client import OpenAICompatibleClient, RoutedClient, SyncClient
from provision.client.availability import Availability, ensure_available
from provision.client.options import translate_options
from provision.client.routing import route
from provision.client.settings import from_environment
from provision.knowledge.routes import load_routes

base_url = os.environ["OPENAI_BASE_URL"]
found = route("vllm/qwen3.5:4b", {"VLLM_BASE_URL": base_url})
assert (found.model_id, found.base_url) == ("Qwen/Qwen3.5-4B", base_url), found
assert translate_options(load_routes().find("vllm"), {"num_predict": 4}, strict=True) == {"max_tokens": 4}
assert ensure_available(from_environment()) == Availability()


async def chat():
    async with OpenAICompatibleClient(base_url) as client:
        print(await client.chat("Say hello.", "m"))
        async with client.stream("Say hello.", "m") as pieces:
            print("".join([piece.content async for piece in pieces]))
    async with RoutedClient(env={"LLAMACPP_BASE_URL": base_url}) as client:
        print(await client.chat("Say hello.", "llamacpp/m"))


asyncio.run(chat())
with SyncClient(OpenAICompatibleClient(base_url)) as client:
    print(client.chat("Say hello.", "m"))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has the client, and what its wheel asks for, from the package index of this machine."""
    place = tmp_path_factory.mktemp("client")
    settings = read_local(os.environ)
    env = {**os.environ, **uv_environment(settings, os.environ), "UV_CACHE_DIR": str(place / "cache")}
    uv, target = find_uv_bin(), place / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(target)], env=env, check=True, cwd=place)
    wheel = build_client_wheel(place)
    argv = [
        uv,
        "pip",
        "install",
        "--quiet",
        *uv_flags(settings),
        "--python",
        str(target / "bin" / "python"),
        str(wheel),
    ]
    with needing_index():
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, cwd=place)
        if done.returncode:
            raise UnreachableError(done.stderr)
    return target / "bin" / "python"


def test_it_works_without_the_rest(python: Path, tmp_path: Path) -> None:
    with serving(Script(model="m", tokens=3)) as server:
        done = subprocess.run(
            [str(python), "-I", "-W", "error", "-c", USE],
            env={"HOME": str(tmp_path), "OPENAI_BASE_URL": server.base_url, "OPENAI_MODEL": "m"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [WORD.split() * 3] * 4
    assert list(tmp_path.iterdir()) == []
