"""The real ``llama-server``: compiled by fabric itself, from a release, and where it lies.

Which one that is tells the fixture ``llama_server``.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e import native_build
from tests.e2e.native_build import Compiled
from tests.e2e.test_llamacpp_sources import GLIBC, OLDEST_GLIBC, PROVEN
from tests.standin.command import Fabric
from tests.standin.hub_server import HubServer
from tests.standin.llama_release import REPOSITORY, TAG, asset, pack, tree

pytestmark = [pytest.mark.engine, pytest.mark.timeout(native_build.TIMEOUT_S)]


def said(program: Path, option: str) -> str:
    """Return what the program prints by itself, away from where it was made."""
    done = subprocess.run([program, option], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_fabric_compiles_llama_cpp_and_serves_with_it(compiled: Compiled) -> None:
    assert compiled.up["smoke"]["ok"] is True
    assert said(compiled.program, "--version").startswith("version: ")
    assert "Available devices" in said(compiled.program, "--list-devices")
    assert "llama-server" in compiled.log, "the compiler and the linker are told of"


@pytest.mark.skipif(GLIBC < OLDEST_GLIBC, reason=f"the releases need glibc {OLDEST_GLIBC}")
def test_a_release_with_the_real_program_serves_the_real_model(
    fabric: Fabric, releases: HubServer, llama_server: Path
) -> None:
    releases.add_release(REPOSITORY, TAG, {asset(): pack(tree(llama_server.read_bytes()))})
    fabric.variables |= {"FABRIC_MIRROR_GITHUB": releases.root, "FABRIC_MIRROR_GITHUB_API": releases.root}
    up = fabric.succeed(*PROVEN, "--source", "archive", "--parallel", "2", "--context", "1024")
    assert (up["engine_version"], up["smoke"]["ok"]) == (TAG, True)
    (engine,) = (fabric.prefix / "engines").iterdir()
    assert said(engine / "llama-server", "--version").startswith("version: ")
    server = json.loads((fabric.prefix / "current" / "server.json").read_text(encoding="utf-8"))
    assert server["argv"][server["argv"].index("--ctx-size") + 1] == "2048"
    fabric.succeed("down")
    assert fabric.processes() == []


def test_the_real_program_serves_where_it_lies(fabric: Fabric, llama_server: Path) -> None:
    before = llama_server.stat()
    up = fabric.succeed(*PROVEN, "--program", str(llama_server))
    assert (up["engine_version"], up["smoke"]["ok"]) == ("existing", True)
    fabric.succeed("destroy", "--yes")
    assert llama_server.stat().st_mtime_ns == before.st_mtime_ns


def test_the_real_program_takes_its_key_from_a_file(fabric: Fabric, llama_server: Path) -> None:
    up = fabric(
        *PROVEN, "--program", str(llama_server), "--api-key-env", "MY_KEY", "--json", env={"MY_KEY": "s3cret-of-mine"}
    )
    assert up.returncode == 0, up.said
    assert up.json["smoke"]["ok"] is True
    for process in fabric.processes():
        assert "s3cret-of-mine" not in " ".join(process.cmdline())
