"""The real ``llama-server``, compiled here: from a release, where it lies, and by fabric itself.

``FABRIC_TEST_LLAMA_SERVER`` names one. ``FABRIC_TEST_NATIVE_BUILD=1`` has one compiled, which takes minutes; it and
what was compiled are kept beside the wheels, so that later sessions use it, and compile what has changed.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.domain.spec import Install, Spec
from provision.host.lock import exclusive
from tests.e2e.test_llamacpp_sources import GLIBC, OLDEST_GLIBC, PROVEN
from tests.e2e.wheel_cache import cache_directory, fetch_wheels
from tests.standin.command import Fabric
from tests.standin.hub_server import HubServer
from tests.standin.index_server import serving
from tests.standin.llama_release import REPOSITORY, TAG, asset, pack, tree

BUILD = Spec(backend="llamacpp", model="smollm2-135m", install=Install(("build",)))
BUILD_TIMEOUT_S = 3600.0

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(platform.system() != "Linux", reason="the native build is for Linux"),
]


def kept(name: str) -> Path:
    return cache_directory() / "native" / name


@pytest.fixture(scope="module")
def real() -> Path:
    """A real program."""
    named = os.environ.get("FABRIC_TEST_LLAMA_SERVER")
    program = Path(named) if named else kept("llama-server")
    if not program.is_file():
        pytest.skip("no real llama-server: FABRIC_TEST_LLAMA_SERVER names none, and none was compiled by these tests")
    return program


@pytest.fixture
def native() -> Iterator[Fabric]:
    """The command with a prefix that is always at the same place, in which the last build goes on."""
    if not kept("builds").is_dir() and not os.environ.get("FABRIC_TEST_NATIVE_BUILD"):
        pytest.skip("nothing is compiled yet, and that takes minutes: FABRIC_TEST_NATIVE_BUILD=1 does it")
    home = kept("home")
    home.mkdir(parents=True, exist_ok=True)
    with (
        exclusive(kept("lock"), kept("lock.holder"), "test", BUILD_TIMEOUT_S, lambda _: None),
        serving(fetch_wheels(BUILD)) as index,
    ):
        command = Fabric(kept("prefix"), home, index.index_url)
        command("destroy", "--yes")
        command("up", "--offline", *BUILD.options())  # makes the prefix, and nothing else
        if kept("builds").is_dir():
            kept("builds").rename(command.prefix / "builds")
        yield command
        if (command.prefix / "builds").is_dir():
            (command.prefix / "builds").rename(kept("builds"))
        command.cleanup()


@pytest.mark.timeout(BUILD_TIMEOUT_S)
def test_fabric_compiles_llama_cpp_and_serves_with_it(native: Fabric) -> None:
    up = native.start("up", *BUILD.options(), "--port", "0", "--json").finish(BUILD_TIMEOUT_S)
    assert up.returncode == 0, up.said
    assert up.json["smoke"]["ok"] is True
    (engine,) = (native.prefix / "engines").iterdir()
    assert "--ctx-size" in (engine / "help.txt").read_text(encoding="utf-8")
    assert (native.prefix / "logs" / "build.log").stat().st_size > 0
    shutil.copy2(engine / "llama-server", kept("llama-server"))


@pytest.mark.skipif(GLIBC < OLDEST_GLIBC, reason=f"the releases need glibc {OLDEST_GLIBC}")
def test_a_release_with_the_real_program_serves_the_real_model(fabric: Fabric, releases: HubServer, real: Path) -> None:
    releases.add_release(REPOSITORY, TAG, {asset(): pack(tree(real.read_bytes()))})
    fabric.variables |= {"FABRIC_MIRROR_GITHUB": releases.root, "FABRIC_MIRROR_GITHUB_API": releases.root}
    up = fabric.succeed(*PROVEN, "--source", "archive", "--parallel", "2", "--context", "1024")
    assert (up["engine_version"], up["smoke"]["ok"]) == (TAG, True)
    (engine,) = (fabric.prefix / "engines").iterdir()
    assert "--ctx-size" in (engine / "help.txt").read_text(encoding="utf-8")
    server = json.loads((fabric.prefix / "current" / "server.json").read_text(encoding="utf-8"))
    assert server["argv"][server["argv"].index("--ctx-size") + 1] == "2048"
    fabric.succeed("down")
    assert fabric.processes() == []


def test_the_real_program_serves_where_it_lies(fabric: Fabric, real: Path) -> None:
    before = real.stat()
    up = fabric.succeed(*PROVEN, "--program", str(real))
    assert up["smoke"]["ok"] is True
    said = subprocess.run([real, "--version"], capture_output=True, text=True, check=True).stderr
    assert up["engine_version"].removeprefix("b") in said
    fabric.succeed("destroy", "--yes")
    assert real.stat().st_mtime_ns == before.st_mtime_ns


def test_the_real_program_takes_its_key_from_a_file(fabric: Fabric, real: Path) -> None:
    up = fabric(*PROVEN, "--program", str(real), "--api-key-env", "MY_KEY", "--json", env={"MY_KEY": "s3cret-of-mine"})
    assert up.returncode == 0, up.said
    assert up.json["smoke"]["ok"] is True
    for process in fabric.processes():
        assert "s3cret-of-mine" not in " ".join(process.cmdline())
