"""What programs that are neither ours nor a server get of the user's environment."""

from __future__ import annotations

import pytest

from provision.host.environment import without_secrets
from provision.host.machine import LocalMachine
from provision.host.program import Command


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "GITHUB_TOKEN", "OPENAI_API_KEY", "APIKEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
     "PGPASSWORD", "DB_PASSWD", "GOOGLE_APPLICATION_CREDENTIALS", "MY_KEY", "GH_PAT", "UV_INDEX_MINE_PASSWORD",
     "npm_config__auth", "AZURE_STORAGE_ACCOUNT_KEY"],
)  # fmt: skip
def test_what_looks_like_a_secret_stays_here(name: str) -> None:
    assert without_secrets({name: "x", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize("value", ["http://me:pw@proxy:3128", "postgres://u:p@h/db", "https://token@host/x"])
def test_an_address_with_a_login_stays_here(value: str) -> None:
    assert without_secrets({"SOMETHING": value}) == {}


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "LD_LIBRARY_PATH", "CC", "CXXFLAGS", "CUDA_HOME", "CUDACXX", "CMAKE_PREFIX_PATH", "HSA_OVERRIDE",
     "ROCM_PATH", "XAUTHORITY", "DISPLAY", "KEYBOARD", "SSH_AUTH_SOCK", "MONKEY", "CUDA_VISIBLE_DEVICES"],
)  # fmt: skip
def test_what_a_compiler_or_a_driver_needs_reaches_it(name: str) -> None:
    assert without_secrets({name: "/usr/lib"}) == {name: "/usr/lib"}


def test_a_probe_gets_none() -> None:
    machine = LocalMachine({"PATH": "/usr/bin:/bin", "HF_TOKEN": "hf_x", "KEPT": "1"})
    told = machine.run(Command(("env",))).stdout.splitlines()
    assert "KEPT=1" in told
    assert not [line for line in told if line.startswith("HF_TOKEN")]
