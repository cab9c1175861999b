"""llama.cpp compiled here, from sources that are compiled within seconds: the stand-in for its server."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import RUNNER
from tests.e2e.test_llamacpp_sources import PROVEN
from tests.standin import llama_release
from tests.standin.command import Fabric, eventually
from tests.standin.engine import StandIn
from tests.standin.index_server import serving

BUILD = (*PROVEN, "--source", "build")
NEEDED = ("cmake", "c++", "as", "ld", "ar", "ranlib")


@pytest.fixture
def source(prefix: Path, home: Path, standin: StandIn, tmp_path: Path) -> Iterator[Fabric]:
    """The command with a source distribution in the index."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or not (shutil.which("ninja") or shutil.which("make")):
        pytest.skip(f"no toolchain: {', '.join(missing) or 'neither ninja nor make'}")
    assets = tmp_path / "assets"
    shutil.copytree(standin.assets, assets)
    profile = assets / "profiles" / "engines" / "llamacpp.yaml"
    document = yaml.safe_load(profile.read_text(encoding="utf-8"))
    releases = [release for release in document["releases"] if "sdist" in release]
    sdist = llama_release.make_sdist(tmp_path, releases[0]["version"])
    data = sdist.read_bytes()
    for release in releases:
        release["sdist"] |= {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    profile.write_text(yaml.safe_dump(document), encoding="utf-8")
    with serving({**standin.wheels, sdist.name: sdist}) as index:
        runner = (sys.executable, str(RUNNER))
        command = Fabric(prefix, home, index.index_url, runner, {"STANDIN_ASSETS": str(assets)})
        yield command
        command.cleanup()


def test_it_is_compiled_tried_and_serves_and_nothing_is_left(source: Fabric) -> None:
    up = source(*BUILD, "--json")
    assert up.returncode == 0, up.said
    assert up.json["smoke"]["ok"] is True
    assert "Compiling llama.cpp for this processor" in up.stderr
    assert "compiling: 100 %" in up.stderr
    (engine,) = (source.prefix / "engines").iterdir()
    assert {"llama-server", "LICENSE", "help.txt"} <= {path.name for path in engine.iterdir()}
    assert "main.cpp" in (source.prefix / "logs" / "build.log").read_text(encoding="utf-8")
    assert source.succeed(*BUILD)["changed"] is False


def test_a_build_that_was_interrupted_goes_on(source: Fabric, tmp_path: Path) -> None:
    note, slow = tmp_path / "pid", tmp_path / "slow" / "c++"
    slow.parent.mkdir()
    some = f"[ $(find {shlex.quote(str(source.prefix / 'builds'))} -name 'part*.o' | wc -l) -ge 2 ]"
    waits = f"[ -e {note} ] || ! {some} || {{ echo $$ > {note}; exec sleep 60; }}"
    slow.write_text(f'#!/bin/sh\n{waits}\nexec {shutil.which("c++")} "$@"\n', encoding="utf-8")
    slow.chmod(0o755)
    source.variables["CXX"] = str(slow)
    running = source.start(*BUILD)
    assert eventually(note.exists, timeout_s=100)
    running.child.send_signal(signal.SIGINT)
    interrupted = running.finish()
    assert interrupted.returncode == 130, interrupted.said
    assert eventually(lambda: not Path(f"/proc/{note.read_text().strip()}").exists())
    objects = {path: path.stat().st_mtime_ns for path in (source.prefix / "builds").rglob("part*.o")}
    assert objects
    assert not (source.prefix / "staging").exists()
    up = source.succeed(*BUILD)
    assert up["smoke"]["ok"] is True
    assert {path: path.stat().st_mtime_ns for path in objects} == objects


def test_without_a_compiler_it_is_said_what_is_missing(source: Fabric, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sh", "cmake", "uv"):
        if found := shutil.which(name):
            (tmp_path / "bin" / name).symlink_to(found)
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}"
    up = source(*BUILD, "--json", env={"PATH": path, "CC": None, "CXX": None})
    assert up.returncode == 1
    assert up.json["error"]["code"] == "no-compiler"
    assert "a C and C++ compiler" in up.json["error"]["message"]
    assert "Fetching llama_cpp_python" not in up.stderr
    other = source(*BUILD, "--source", "wheel", "--no-smoke", "--json", env={"PATH": path, "CC": None, "CXX": None})
    assert other.returncode == 0, other.said
    assert "a C and C++ compiler" in other.stderr
    assert "Trying the next source" in other.stderr


def test_what_was_built_for_this_machine_and_does_not_run_is_not_built_upon(source: Fabric) -> None:
    source.variables["LDFLAGS"] = "-nostartfiles"
    up = source(*BUILD, "--json")
    assert up.json["error"]["code"] == "engine-unfit", up.said
    assert list((source.prefix / "builds").iterdir()) == []
    del source.variables["LDFLAGS"]
    assert source.succeed(*BUILD, "--refresh")["smoke"]["ok"] is True
