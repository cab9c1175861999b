"""What a server inherits of the user's environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.facts.gpu.gpu_env import NAMES
from provision.host.layout import Layout
from provision.serve.environment import child_environment

LAYOUT = Layout(Path("/p"))


@pytest.mark.parametrize("name", [*NAMES, "HSA_OVERRIDE_GFX_VERSION", "HSA_OVERRIDE_GFX_VERSION_1", "PATH", "TZ"])
def test_what_says_which_gpus_there_are_reaches_the_server_also_where_it_is_empty(name: str) -> None:
    assert child_environment(LAYOUT, {name: "1"})[name] == "1"
    assert child_environment(LAYOUT, {name: ""})[name] == ""


@pytest.mark.parametrize(
    "name",
    ["OPENAI_API_KEY", "HF_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "OLLAMA_HOST",
     "OLLAMA_MODELS", "HTTP_PROXY", "HSA_OVERRIDE_GFX_VERSION_TOKEN", "MY_CUDA_VISIBLE_DEVICES"],
)  # fmt: skip
def test_nothing_else_does(name: str) -> None:
    assert name not in child_environment(LAYOUT, {name: "secret"})


def test_home_caches_and_temporary_files_are_inside_the_prefix() -> None:
    env = child_environment(LAYOUT, {"HOME": "/home/me", "TMPDIR": "/scratch", "XDG_CACHE_HOME": "/home/me/.cache"})
    assert all(env[name].startswith("/p/") for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME"))
